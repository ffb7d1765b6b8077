from pathlib import Path

import pytest

from pysr.cli.batch import Job, plan
from pysr.errors import InputError


def test_no_output_is_another_input(tmp_path):
    (tmp_path / "sub").mkdir()
    photos = [tmp_path / "a.png", tmp_path / "a_big.png"]
    with pytest.raises(InputError, match=r"a_big\.png is an input"):
        plan(photos, tmp_path / "sub" / "..", scale=2, suffix="big")


def test_two_inputs_never_become_one_output(tmp_path):
    with pytest.raises(InputError, match=r"a\.png, a\.jpg would all become .*out/a\.webp"):
        plan([Path("a.png"), Path("a.jpg"), Path("b.jpg")], tmp_path / "out", scale=2, extension="webp")


@pytest.mark.parametrize(
    ("source", "output", "extension", "suffix", "target"),
    [
        ("a.png", None, None, None, "a_x3.png"),
        ("a.JPG", None, None, None, "a_x3.JPG"),
        ("a.gif", None, None, None, "a_x3.png"),
        ("a.b.png", None, "webp", None, "a.b_x3.webp"),
        ("a.png", None, ".tif", "out", "a_out.tif"),
        ("a.png", "out", None, None, "out/a.png"),
        ("a.png", "out", "jpg", "big", "out/a_big.jpg"),
        ("a.png", "b.webp", None, None, "b.webp"),
    ],
)
def test_names_of_outputs(source, output, extension, suffix, target):
    jobs = plan([Path(source)], output and Path(output), scale=3, extension=extension, suffix=suffix)
    assert jobs == [Job(Path(source), Path(target))]
