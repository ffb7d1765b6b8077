"""Engines: where the files of a run are worked on. That of the tests works on copies, as in another process."""

import json
import os
import pickle
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pysr.cli import app
from pysr.errors import PysrError
from pysr.plugin import Engine, EngineWork
from pysr.upscaling.file_jobs import FileJob, FileResult
from pysr.upscaling.jobs import work_locally


def elsewhere(work: EngineWork) -> Generator[Any]:
    """Work as another machine would: on what has been pickled, in another folder, the last file first."""
    worker = pickle.loads(pickle.dumps(work.worker))
    here = Path.cwd()
    for number in reversed(range(len(work.jobs))):
        job = pickle.loads(pickle.dumps(work.jobs[number]))
        if "lost" in str(job.source):
            yield work.finish(number, work.lost(job, PysrError("the machine is gone")))
            continue
        os.chdir("/")
        try:
            done = pickle.loads(pickle.dumps(worker(job)))
        finally:
            os.chdir(here)
        yield work.finish(number, done)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[..., None]) -> Path:
    """Three images, one of them damaged, in the current folder's sub-folder; the engine "elsewhere" is installed."""
    install(engines=[Engine("elsewhere", elsewhere, "For tests")])
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in ("1.png", "2.png", "lost.png"):
        Image.new("RGB", (6, 4), "red").save(Path("in", name))
    Path("in", "3.png").write_bytes(Path("in", "1.png").read_bytes()[:20])
    return Path("in")


def run(*arguments: Any) -> int:
    return app.main(["upscale", *map(str, arguments), "-m", "nearest"])


def test_files_are_done_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [folder, "-o", "out", "--engine", "elsewhere", "--resume", "--json"]
    assert run(*command) == 3
    lines = {json.loads(line)["input"]: json.loads(line) for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == ["in/lost.png", "in/3.png", "in/2.png", "in/1.png"]
    assert (lines["in/1.png"]["output"], lines["in/1.png"]["model"]) == ("out/1.png", "nearest")
    assert lines["in/lost.png"]["error"] == "the machine is gone"
    assert sorted(os.listdir("out")) == ["1.png", "2.png", "pysr-manifest.jsonl"]
    (folder / "3.png").unlink()
    (folder / "lost.png").rename(folder / "found.png")
    assert run(*command) == 0
    assert ["skipped" in json.loads(line) for line in capsys.readouterr().out.splitlines()] == [False, True, True]


def test_a_limit_on_memory_holds_for_network_calls_and_files_together(
    folder: Path, install: Callable[..., None]
) -> None:
    """As many files as fit are begun at the same time: what they take beside network calls must fit into the rest."""
    limit, given = 8 * 2**20, []

    def measured(work: EngineWork) -> Generator[Any]:
        given.append((work.max_memory, [work.weight(number) for number in range(len(work.jobs))]))
        return work_locally(work)

    for number, side in enumerate((100, 400)):
        Image.new("RGB", (side, side)).save(folder / f"{number}.png")
    install(engines=[Engine("measured", measured, "For tests")])
    assert run(folder, "-o", "out", "--engine", "measured", "--max-memory", limit, "--workers", 2) == 3
    assert run(folder, "-o", "out", "--engine", "measured", "--workers", 2) == 3
    (limited, weights), (unlimited, unlimited_weights) = given
    assert (limited, unlimited) == (limit / 2, None)
    rows = [
        round((with_rows - without) / 2**20, 2) for with_rows, without in zip(weights, unlimited_weights, strict=True)
    ]
    assert rows[:2] == [0.46, 2.0]  # floats of the whole result, and the limit's quarter


def test_progress_and_the_first_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "-o", "out", "--engine", "elsewhere", "--progress", "json", "--fail-fast") == 3
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [(event["event"], event["file"]) for event in events] == [("end", "in/lost.png")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "elsewere"], "did you mean 'elsewhere'"),
        (["--engine", "ray"], "pysr-ray"),
        (["--address", "auto"], "add --engine"),
        (["--engine", "elsewhere", "--html", "page.html"], "--html"),
        (["--engine", "elsewhere", "-o", "-"], "a pipe"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_an_engine_cannot_do(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert run("in/1.png", *arguments) == 2
    assert message in capsys.readouterr().err


def test_errors_travel_though_they_cannot_be_pickled() -> None:
    class Local(Exception):
        """Of a function, so that it cannot be imported."""

    result = FileResult(Path("a"), Path("b"), None, 0, Local("why"), upscaler=lambda: None)
    copy = pickle.loads(pickle.dumps(result))
    assert (str(copy.error), copy.upscaler) == ("Local: why", None)
    assert pickle.loads(pickle.dumps(FileJob(Path("a"), Path("b")))).source == Path.cwd() / "a"
