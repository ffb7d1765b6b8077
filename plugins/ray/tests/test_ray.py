"""Folders on a cluster of several nodes, all on this machine: `make ray`."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pysr.errors import InputError

ray = pytest.importorskip("ray")
from pysr_ray.engine import groups  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize(
    ("processors", "workers", "expected"),
    [
        ([16, 8], None, (4, 6)),
        ([1, 1, 1], None, (1, 3)),
        ([2, 64], None, (2, 33)),
        ([8], 2, (4, 2)),
        ([3, 2], 2, (2, 2)),
        ([0, 2], None, (2, 1)),
        ([0.5, 1], 1, (1, 1)),
    ],
)
def test_processors_are_divided(processors: list[float], workers: int | None, expected: tuple[int, int]) -> None:
    assert groups(processors, workers) == expected


@pytest.mark.parametrize(("processors", "workers"), [([], None), ([1, 1], 3)])
def test_too_few_processors(processors: list[float], workers: int | None) -> None:
    with pytest.raises(InputError, match="too few"):
        groups(processors, workers)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of three nodes with a processor each, the first of which is the head."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    try:
        yield made, nodes
    finally:
        ray.shutdown()
        made.shutdown()


def test_a_node_that_is_killed_costs_no_file(cluster: Any, tmp_path: Path) -> None:
    from pysr.cli import app

    made, nodes = cluster
    images = tmp_path / "in"
    images.mkdir()
    count = int(os.environ.get("PYSR_RAY_FILES", "30"))
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    ended: list[str] = []

    def watch(self: Any, result: Any) -> None:
        ended.append(result.source.name)
        if len(ended) == count // 4:
            made.remove_node(nodes[0], allow_graceful=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pysr.cli.reports.Report.finished", watch)
        command = ["upscale", images, "-o", tmp_path / "out", "-m", "bicubic", "-s", "2", "--resume", "--engine", "ray"]
        command += ["--address", made.address, "--progress", "none"]
        assert app.main([str(word) for word in command]) == 0
    assert Counter(ended) == Counter(path.name for path in images.iterdir())
    lines = [json.loads(line) for line in (tmp_path / "out" / "pysr-manifest.jsonl").read_text().splitlines()]
    assert sorted(Path(line["input"]).name for line in lines) == sorted(ended)
    assert {line["state"] for line in lines} == {"done"}
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as image:
            assert image.size == (640, 480)


def test_workers_reach_object_storage_by_themselves() -> None:
    moto, s3fs = pytest.importorskip("moto.server", reason="moto is not installed"), pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    settings = {"FSSPEC_S3_KEY": "any", "FSSPEC_S3_SECRET": "any", "FSSPEC_S3_ENDPOINT_URL": url}
    system = s3fs.S3FileSystem(key="any", secret="any", endpoint_url=url)
    system.mkdir("scans")
    for number in range(4):
        file = io.BytesIO()
        Image.new("RGB", (16, 12)).save(file, "PNG")
        system.pipe(f"scans/in/{number % 2}/{number}.png", file.getvalue())
    system.pipe("scans/in/bad.png", b"no image")
    command = ["upscale", "s3://scans/in", "-o", "s3://scans/out", "-m", "nearest", "-s", "2", "--recursive"]
    command = [sys.executable, "-m", "pysr", *command, "--resume", "--engine", "ray", "--progress", "none"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in system.cat("scans/out/pysr-manifest.jsonl").decode().splitlines()]
    found = {path.removeprefix("scans/out/") for path in system.find("scans/out")}
    server.stop()
    assert done.returncode == 3, done.stderr
    assert Counter(line["state"] for line in lines) == {"done": 4, "failed": 1}
    assert found == {"0/0.png", "1/1.png", "0/2.png", "1/3.png", "pysr-manifest.jsonl"}


def test_an_address_without_a_cluster_is_an_error() -> None:
    from pysr.upscaling.jobs import Course
    from pysr_ray import engine

    work = type("Work", (), {"address": "127.0.0.1:1", "course": Course})()
    with pytest.raises(InputError, match="there is no Ray cluster at"):
        next(engine.run(work))
