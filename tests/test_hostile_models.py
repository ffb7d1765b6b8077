"""Model files from anyone: none runs anything or takes much time or memory, and each gets one clear error."""

import json
import resource
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hostile_models import BUSY, make_all

import pysr
from pysr.errors import PysrError, WeightsError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pipes and devices of Linux"),
    pytest.mark.skipif(
        find_spec("pysr_spandrel") is None or find_spec("spandrel") is None or find_spec("ncnn") is None,
        reason="needs pysr-spandrel and pysr-ncnn, with their libraries",
    ),
]


def in_process(files: list[Path], function: str, work: Path, size: int) -> dict[str, Any]:
    """Examine files here, without limits: what is refused must be refused before anything happens."""
    from pysr import isolation

    module, _, name = function.partition(":")
    answer = isolation._answer(getattr(import_module(module), name), work, files)
    if "error" in answer:
        raise isolation._ERRORS[answer["error"]](answer["message"])
    facts: dict[str, Any] = json.loads(json.dumps(answer["facts"]))
    return facts


def test_no_file_does_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))
    trace = tmp_path / "trace"
    made = make_all(tmp_path, trace)
    assert len(made) > 40
    busy = made.pop(BUSY)
    with pytest.raises(WeightsError, match="more time or memory than a model of its size can"):
        pysr.load(busy)  # in a process of its own, which is ended
    monkeypatch.setattr("pysr.isolation._run", in_process)
    monkeypatch.setattr("pysr.isolation._limit", lambda size: None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, path in made.items():
        began = time.process_time()
        with pytest.raises(PysrError) as raised:
            pysr.load(path)
        message = str(raised.value)
        assert path.stem in message or "no model called" in message, what
        assert "\n" not in message and len(message) < 600, what
        assert time.process_time() - began < 5, what
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # 1 GiB, in KiB
    assert not trace.exists()
