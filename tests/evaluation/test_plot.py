"""Plots of models by two metrics."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pysr.cli import app
from pysr.errors import InputError, PysrError
from pysr.evaluation.plot import check_plot, plot, write_plot
from pysr.evaluation.protocols import Evaluation, ScaleResult
from pysr.plugin import Metric
from pysr.testing import photo

PSNR = Metric("psnr", lambda: None, "", "PSNR in dB")
DISTANCE = Metric("distance", lambda: None, "", "a distance", lower_is_better=True)


def evaluation(model: Any, psnr: Any, distance: Any, *, data: str = "Set5", scale: int = 4) -> Any:
    scores = {"psnr": psnr, "distance": distance}
    return Evaluation(model, data, "y-shave", (PSNR, DISTANCE), (ScaleResult(scale, scores, 1.0, ()),))


@pytest.fixture
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.mark.usefixtures("matplotlib")
def test_models_lie_where_their_scores_are() -> None:
    (axes,) = plot([evaluation("a", 28.0, 0.8), evaluation("b", 30.0, 0.9), evaluation("$c$", 31.0, 0.85)]).axes
    (dots,) = axes.collections
    annotations: list[Any] = list(axes.texts)
    assert dots.get_offsets().tolist() == [[28.0, 0.8], [30.0, 0.9], [31.0, 0.85]]
    assert [(name.get_text(), name.xy) for name in annotations] == [
        ("a", (28.0, 0.8)),
        ("b", (30.0, 0.9)),
        ("$c$", (31.0, 0.85)),
    ]
    assert [name.get_horizontalalignment() for name in annotations] == ["left", "right", "right"]
    assert axes.get_xlabel() == "PSNR in dB (higher is better)"
    assert axes.get_ylabel() == "a distance (lower is better)"
    assert axes.get_title() == "Set5 x4"


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".PDF", b"%PDF"), (".svg", b"<?xml")])
def test_the_ending_names_the_format(tmp_path: Path, ending: str, magic: bytes) -> None:
    target = tmp_path / f"plot{ending}"
    write_plot([evaluation("a" * 30, 28.0, 0.8), evaluation("b" * 30, 28.0, 0.8)], target)  # equal scores, long names
    assert target.read_bytes().startswith(magic)
    if ending == ".png":
        with Image.open(target) as image:
            assert image.size == (900, 640)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([evaluation("b", 1.0, 0.5, data="Set14")], "2 sets, 1 scales and 2 metrics"),
        ([evaluation("b", 1.0, 0.5, scale=2)], "1 sets, 2 scales"),
        ([evaluation("b", float("inf"), 1.0)], "infinite score"),
    ],
)
def test_what_makes_no_plot(others: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plot([evaluation("a", 28.0, 0.8), *others])


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(PysrError, match=r"plots need matplotlib; install it with: pip install 'pysr-sdk\[plot\]'"):
        check_plot(tmp_path / "plot.png", ["Set5"], [4], ["psnr", "ssim"])


@pytest.mark.usefixtures("matplotlib")
def test_the_command_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray((photo(40, 40) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    command = ["evaluate", "nearest", "bicubic", "--data", str(tmp_path), "--scale", "2", "--plot"]
    assert app.main([*command, str(tmp_path / "plot.pdf")]) == 0
    assert (tmp_path / "plot.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr("pysr.evaluation.protocols.evaluate", lambda *args, **options: pytest.fail("began the work"))
    for name, more, message in (
        ("plot.jpg", [], "plot.jpg' does not end like a plot; use one of .png, .pdf, .svg"),
        ("missing/plot.svg", [], "there is no folder"),
        ("plot.png", ["--scale", "3"], "2 scales"),
        ("plot.png", ["--metric", "psnr"], "1 metrics"),
    ):
        assert app.main([*command, str(tmp_path / name), *more]) == 2
        assert message in capsys.readouterr().err
