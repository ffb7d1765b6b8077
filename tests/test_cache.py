"""The cache folder: where it is, and that losing it costs nothing but time."""

from pathlib import Path

import pytest

from pysr.cache import cache_folder, cached_facts
from pysr.errors import InputError


def test_the_variable_comes_before_the_systems_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "xdg"))
    monkeypatch.delenv("PYSR_CACHE", raising=False)
    assert cache_folder("models") == tmp_path / "xdg" / "pysr" / "models"
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "own"))
    folder = cache_folder("models")
    assert folder == tmp_path / "own" / "models" and folder.is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cache folder cannot be made: .*; set PYSR_CACHE to another"):
        cache_folder("models")


def test_facts_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path))
    assert cached_facts("a", lambda: {"n": 1}) == cached_facts("a", lambda: {"n": 2}) == {"n": 1}
    assert cached_facts("b", lambda: {"n": 3}) == {"n": 3}
    (tmp_path / "facts" / "a.json").write_text("{")
    assert cached_facts("a", lambda: {"n": 4}) == {"n": 4}


def test_an_unusable_cache_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "file"))
    assert cached_facts("a", lambda: {"n": 1}) == {"n": 1}
    assert "not kept" in caplog.text
