from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from pysr.cli import app
from pysr.errors import InputError
from pysr.evaluation.plot import plot
from pysr.evaluation.protocols import Evaluation, ScaleResult
from pysr.testing import photo


def evaluation(model, psnr, ssim, *, data="Set5", scale=4):
    return Evaluation(model, data, "y-shave", (ScaleResult(scale, {"psnr": psnr, "ssim": ssim}, 1.0, ()),))


def dots(picture):
    """Centres (x, y) of the coloured dots, from left to right."""
    rows, columns = np.nonzero((np.asarray(picture) == (10, 125, 56)).all(-1))
    starts = [0, *(np.flatnonzero(np.diff(np.sort(columns)) > 1) + 1), len(columns)]
    order = np.argsort(columns, kind="stable")
    return [(columns[order[a:b]].mean(), rows[order[a:b]].mean()) for a, b in pairwise(starts)]


def test_models_lie_where_their_scores_are():
    picture = plot([evaluation("a", 28.0, 0.8), evaluation("b", 30.0, 0.9), evaluation("c", 31.0, 0.85)])
    (ax, ay), (bx, by), (cx, cy) = dots(picture)
    assert (bx - ax) / (cx - bx) == pytest.approx(2, rel=0.02)  # to the right the first metric
    assert (ay - by) / (cy - by) == pytest.approx(2, rel=0.02)  # upwards the last
    assert by < cy < ay
    assert picture.size == (900, 640)


def test_one_model_and_equal_scores_are_plotted_too():
    assert len(dots(plot([evaluation("a", 28.0, 0.8)]))) == 1
    (ax, ay), (bx, by) = dots(plot([evaluation("a", 28.0, 0.8), evaluation("b" * 20, 30.0, 0.8)]))
    assert ay == by and ax < bx


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([evaluation("b", 1.0, 0.5, data="Set14")], "2 sets, 1 scales and 2 metrics"),
        ([evaluation("b", 1.0, 0.5, scale=2)], "1 sets, 2 scales"),
        ([evaluation("b", float("inf"), 1.0)], "infinite score"),
    ],
)
def test_what_makes_no_plot(others, message):
    with pytest.raises(InputError, match=message):
        plot([evaluation("a", 28.0, 0.8), *others])


def test_the_command_writes_it(tmp_path, capsys, monkeypatch):
    Image.fromarray((photo(40, 40) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    command = ["evaluate", "nearest", "bicubic", "--data", str(tmp_path), "--scale", "2", "--plot"]
    assert app.main([*command, str(tmp_path / "plot.jpg")]) == 0
    with Image.open(tmp_path / "plot.jpg") as picture:
        assert picture.size == (900, 640)
    monkeypatch.setattr("pysr.evaluation.protocols.evaluate", lambda *args, **options: pytest.fail("began the work"))
    for more, message in (([], "plot.xyz"), (["--scale", "3"], "2 scales"), (["--metric", "psnr"], "1 metrics")):
        target = "plot.png" if more else "plot.xyz"
        assert app.main([*command, str(tmp_path / target), *more]) == 2
        assert message in capsys.readouterr().err
