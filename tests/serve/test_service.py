"""The service over real sockets, with a worker that needs no torch."""

import json
import re
import socket
from typing import Any

import pytest
from running_service import Answer, Service, running

from pysr.serve.guard import HEADERS
from pysr.serve.limits import Limits

FORM = {"Content-Type": "multipart/form-data; boundary=B"}


def form(image: bytes | None = b"image", **fields: str) -> bytes:
    parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items()]
    if image is not None:
        parts.append(b'Content-Disposition: form-data; name="image"; filename="../../evil.png"\r\n\r\n' + image)
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + b"--B--\r\n"


def asked(answer: Answer) -> Any:
    """What the worker was asked to do, which the fake one sends back as a warning."""
    return json.loads(json.loads(answer.headers["pysr-warnings"])[0])


def is_problem(answer: Answer, status: int, reason: str) -> bool:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert reason in answer.json["detail"]
    assert ";" in answer.json["detail"]  # what is wrong; what to do
    return True


def test_a_body_is_upscaled(service: Service) -> None:
    answer = service.upscale("model=echo&scale=3&strength=0.5&format=jpeg", b"the image")
    assert (answer.status, answer.body) == (200, b"the image")
    assert answer.headers["content-type"] == "image/png"
    facts = [answer.headers[f"pysr-{name}"] for name in ("model", "scale", "size", "seconds")]
    assert facts == ["echo", "3", "20x10", "0.5"]
    request = {name: asked(answer)[name] for name in ("task", "model", "scale", "strength", "format")}
    assert request == {"task": "upscale", "model": "echo", "scale": 3, "strength": 0.5, "format": "jpg"}


def test_a_form_is_upscaled(service: Service) -> None:
    answer = service.upscale("scale=2", form(b"form image", model="echo-alias"), **FORM)
    assert (answer.status, answer.body) == (200, b"form image")
    assert [asked(answer)[name] for name in ("model", "scale")] == ["echo", 2]


def test_samples_are_asked_for(service: Service) -> None:
    answer = service.ask("POST", "/v1/samples?model=large&count=3&seed=18446744073709551615", b"image")
    assert answer.status == 200
    assert [asked(answer)[name] for name in ("task", "count", "seed", "temperature")] == ["sample", 3, 2**64 - 1, 1.0]
    assert is_problem(service.ask("POST", "/v1/samples?model=echo", b"x"), 422, "samples come from large")
    assert is_problem(service.ask("POST", "/v1/samples?model=large&count=99", b"x"), 422, "count is '99'")


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("model=nothing", 422, "there is no model 'nothing'; there are echo, slow"),
        ("model=../../etc/passwd", 422, "there is no model '../../etc/passwd'"),
        ("model=echo&scale=7", 422, "echo has no scale 7; it has 2, 3"),
        ("model=echo&scale=x", 422, "scale is 'x'; give a whole number"),
        ("model=echo&scale=99999999999999999999999", 422, "give a whole number"),
        ("model=echo&strength=nan", 422, "strength is 'nan'; give a number from 0 to 1"),
        ("model=echo&strength=2", 422, "strength is '2'"),
        ("model=echo&format=exe", 422, "format is 'exe'; it can be png, jpg"),
        ("model=echo&colour=red", 422, "there is no field 'colour'"),
        ("model=echo&model=slow", 400, "a field is given twice"),
        ("model=echo&id=a/b", 422, "an id has at most 64 letters and digits"),
        ("model=refuse", 422, "the image is bad; send another"),
        ("model=crash", 500, "the process that worked on the image died"),
    ],
)
def test_what_cannot_be_done_is_refused(service: Service, query: str, status: int, reason: str) -> None:
    assert is_problem(service.upscale(query), status, reason)
    assert service.upscale().status == 200  # and the next request is answered


def test_requests_without_an_image_are_refused(service: Service) -> None:
    assert is_problem(service.upscale(body=b""), 400, "there is no image in the request")
    assert is_problem(service.upscale("", form(None, model="echo"), **FORM), 400, "there is no image")
    two = form().replace(b"--B--\r\n", b"") + form()
    assert is_problem(service.upscale("", two, **FORM), 400, "send one image")
    assert is_problem(service.upscale("", b"--X", **FORM), 400, "")
    bad = form().replace(b'name="image"', b'name="photo"')
    assert is_problem(service.upscale("", bad, **FORM), 400, "called 'photo'; call it 'image'")


def test_bodies_are_limited_before_they_are_read(service: Service) -> None:
    assert is_problem(service.upscale(body=b"x" * 200_000), 413, "has 200000 bytes, and at most 100000")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"POST /v1/upscale HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"POST /v1/upscale HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/static/app.js", "/v1/models", "/healthz", "/v1/progress/a", "/v1/upscale"]
)
def test_every_answer_has_the_security_headers(service: Service, path: str) -> None:
    answer = service.ask("GET", path)
    assert HEADERS.items() <= {name: answer.headers.get(name.lower()) for name in HEADERS}.items()
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/static/../app.py", "/static/%2e%2e/app.py", "//etc/passwd", "/static/", "/v1", "/docs"]
)
def test_no_other_file_can_be_read(service: Service, path: str) -> None:
    assert is_problem(service.ask("GET", path), 404, "see /openapi.json for what there is")


def test_the_page_asks_only_this_service(service: Service) -> None:
    page = service.ask("GET", "/").body.decode()
    used = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert used == ["data:,", "/static/viewer.css", "/static/app.css", "/static/viewer.js", "/static/app.js"]
    for path in used[1:]:
        answer = service.ask("GET", path)
        assert answer.status == 200
        assert b"://" not in answer.body
    assert "<script>" not in page
    assert " style=" not in page


def test_requests_under_a_foreign_name_are_refused(service: Service) -> None:
    assert is_problem(service.ask("GET", "/", headers={"Host": "evil.example"}), 403, "not called 'evil.example'")
    assert is_problem(service.ask("GET", "/", headers={"Host": "[bad"}), 403, "not called")
    assert service.ask("GET", "/", headers={"Host": "127.0.0.1:9999"}).status == 200
    with running(Limits(), hosts={"::1", "a-b.example"}) as other:
        for host, status in {
            "[::1]:80": 200,
            "[::1]": 200,
            "A-B.example": 200,
            "[::2]:80": 403,
            "b.example": 403,
        }.items():
            assert other.ask("GET", "/", headers={"Host": host}).status == status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}],
)
def test_pages_of_other_sites_are_refused(service: Service, headers: dict[str, str]) -> None:
    assert is_problem(service.upscale(**headers), 403, "comes from the page of another site")


def test_the_own_page_and_links_to_it_are_let_in(service: Service) -> None:
    assert service.upscale(Origin=f"http://127.0.0.1:{service.port}").status == 200
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert service.ask("GET", "/", headers=visit).status == 200


def test_models_and_limits_are_listed(service: Service) -> None:
    facts = service.ask("GET", "/v1/models").json
    assert [model["name"] for model in facts["models"]][:2] == ["echo", "slow"]
    assert facts["limits"]["max_bytes"] == 100_000


def test_the_description_names_every_path(service: Service) -> None:
    described = service.ask("GET", "/openapi.json").json
    paths = {"/v1/upscale", "/v1/samples", "/v1/models", "/v1/progress/{id}", "/healthz", "/metrics"}
    assert described["paths"].keys() == paths
    assert described["openapi"] == "3.1.0"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            answer = service.ask(method.upper(), path.replace("{id}", "none"), b"" if method == "post" else None)
            assert str(answer.status) in operation["responses"]
    fields = {parameter["name"] for parameter in described["paths"]["/v1/upscale"]["post"]["parameters"]}
    assert fields == {"model", "scale", "strength", "format", "id"}


def test_metrics_count_answers_and_images(service: Service) -> None:
    service.upscale("model=echo")
    service.upscale("model=nothing")
    service.ask("GET", "/no/such/path")
    answer = service.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert re.search(r'^pysr_requests_total\{path="/v1/upscale",status="200"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'^pysr_requests_total\{path="other",status="404"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'^pysr_images_total\{model="echo"\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^pysr_workers [01]$", text, re.MULTILINE)
    assert "/no/such/path" not in text
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [\d.]+', line), line


# --- the queue, time, and clients that misbehave ---------------------------------------------------------------------


def test_a_full_queue_says_when_to_try_again(service: Service) -> None:
    with service.begun("model=slow&id=one"):
        service.wait_for(lambda: service.state("one") == "working")
        with service.begun("model=slow"), service.begun("model=slow"):
            service.wait_for(lambda: service.pool.waiting == 2)
            answer = service.upscale("model=echo")
    assert is_problem(answer, 429, "2 images wait already; try again later")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert service.upscale("model=echo").status == 200


def test_progress_can_be_followed(service: Service) -> None:
    with service.begun("model=slow&id=one"):
        service.wait_for(lambda: service.ask("GET", "/v1/progress/one").json.get("done", 0) > 1)
        with service.begun("model=slow&id=two"):
            service.wait_for(lambda: service.state("two") == "waiting")
            assert service.ask("GET", "/v1/progress/two").json == {"state": "waiting", "ahead": 0}
        assert is_problem(service.upscale("model=echo&id=one"), 409, "another request with this id is running")
    service.wait_for(lambda: service.state("one") == "unknown")


def test_work_is_cancelled_when_the_client_goes_away() -> None:
    with running(Limits()) as service:
        restarts = service.pool.restarts
        with service.begun("model=slow&id=gone"):
            service.wait_for(lambda: service.state("gone") == "working")
        assert service.upscale("model=echo").status == 200  # by the only worker, which would be busy for two minutes
        assert service.pool.restarts == restarts
        service.wait_for(lambda: not list(service.pool._home.iterdir()))


def test_a_worker_that_does_not_stop_is_replaced(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.serve.pool._GRACE_SECONDS", 0.1)
    restarts = service.pool.restarts
    assert is_problem(service.upscale("model=stubborn"), 503, "was not finished within 1 seconds")
    assert service.upscale("model=echo").status == 200
    assert service.pool.restarts == restarts + 1
    assert service.ask("GET", "/healthz").json["status"] == "ok"


def test_slow_senders_time_out(service: Service) -> None:
    head = b"POST /v1/upscale?model=echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        client.sendall(head + b"some")
        assert client.recv(1000).startswith(b"HTTP/1.1 408")
        assert service.pool.waiting == 0


def test_slow_readers_are_cut_off(service: Service) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", service.port))
        client.sendall(b"POST /v1/upscale?model=large HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        service.wait_for(lambda: not list(service.pool._home.iterdir()))  # the 12 MB are not kept for it


def test_heads_of_requests_must_arrive_in_time_and_be_short() -> None:
    with running(Limits(head_seconds=0.3, max_connections=3)) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
            client.sendall(b"GET / HT")
            assert b"408 Request Timeout" in client.recv(1000)
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000)
            assert b"400 Bad Request" in client.recv(1000)
        clients = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(4)]
        answers = [client.recv(1000) for client in clients]
        assert sum(b"503 Service Unavailable" in answer for answer in answers) == 1
        for client in clients:
            client.close()
        assert service.ask("GET", "/healthz", headers={"Host": "any.example"}).status == 200


def test_an_image_waits_only_so_long() -> None:
    with running(Limits(wait_seconds=0.2)) as service, service.begun("model=slow&id=one"):
        service.wait_for(lambda: service.state("one") == "working")
        assert is_problem(service.upscale("model=slow"), 503, "other images took too long; try again later")


def test_several_workers_work_at_the_same_time() -> None:
    with running(Limits(), workers=2) as service:
        service.wait_for(lambda: service.pool.ready == 2)
        with service.begun("model=slow&id=one"), service.begun("model=slow&id=two"):
            service.wait_for(lambda: service.state("one") == service.state("two") == "working")


def test_bytes_of_all_requests_together_are_limited() -> None:
    with running(Limits(max_bytes=100_000, max_total_bytes=70_000)) as service:
        assert service.upscale(body=b"x" * 60_000).status == 200
        assert is_problem(service.upscale(body=b"x" * 80_000), 429, "too many bytes are being sent")
        assert service.upscale(body=b"x" * 60_000).status == 200


def test_stopping_finishes_or_refuses_what_was_accepted() -> None:
    with running(Limits(drain_seconds=0.6)) as service:
        requests = [service.later("model=slow&id=one")]
        service.wait_for(lambda: service.state("one") == "working")
        requests.append(service.later("model=echo"))
        service.wait_for(lambda: service.pool.waiting == 1)
        service.stop()
        for thread, _ in requests:
            thread.join(60)
        answers = [answers[0] for _, answers in requests]
        assert [answer.status for answer in answers] == [503, 503]
        assert is_problem(answers[0], 503, "the service stopped before the image was finished; send it again later")
