"""``pysr serve``: what it passes on, and what it refuses. tests/serve has the service itself."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pysr.serve
from pysr.cli.app import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that the service was started with; it ends at once."""
    server = pytest.importorskip("pysr.serve.server", reason="needs the extra serve", exc_type=ImportError)
    settings: list[Any] = []

    def serve(given: Any, ready: Callable[[str], None]) -> None:
        settings.append(given)
        ready("http://127.0.0.1:1/")

    monkeypatch.setattr(server, "serve", serve)
    return settings


def test_options_become_settings(started: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--port", "0", "--workers", "2", "--device", "cpu", "--models-folder", str(tmp_path)]
    limits = [
        "--max-bytes",
        "2M",
        "--max-pixels",
        "5",
        "--max-output-pixels",
        "6",
        "--max-waiting",
        "7",
        "--timeout",
        "8",
    ]
    assert main(["serve", *options, *limits, "--allow-host", "a.example"]) == 0
    (settings,) = started
    assert (settings.host, settings.port, settings.workers, settings.device) == ("127.0.0.1", 0, 2, "cpu")
    assert (settings.models_folder, settings.allowed_hosts) == (tmp_path, ("a.example",))
    found = [getattr(settings.limits, f"max_{name}") for name in ("bytes", "pixels", "output_pixels", "waiting")]
    assert [*found, settings.limits.seconds] == [2 * 2**20, 5, 6, 7, 8]
    assert capsys.readouterr().err == "pysr serve: http://127.0.0.1:1/ is ready; Ctrl-C stops it\n"


@pytest.mark.parametrize(("host", "warns"), [("0.0.0.0", True), ("::1", False), ("localhost", False), ("::", True)])
def test_who_opens_it_to_others_is_warned(
    started: list[Any], capsys: pytest.CaptureFixture[str], host: str, warns: bool
) -> None:
    assert main(["serve", "--host", host]) == 0
    assert ("asks for no password" in capsys.readouterr().err) == warns


def test_a_missing_folder_of_models_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette", reason="needs the extra serve")
    assert main(["serve", "--port", "0", "--models-folder", str(tmp_path / "none")]) == 2
    assert "of models; check the name" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pysr, "serve", pysr.serve)  # put back afterwards; importing it again sets another one
    for module in [name for name in sys.modules if name.startswith("pysr.serve")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 2
    assert "pip install 'pysr-sdk[serve]'" in capsys.readouterr().err
