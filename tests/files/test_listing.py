from pathlib import Path

import pytest
from image_samples import encoded, make_image

from pysr.errors import InputError
from pysr.evaluation.protocols import evaluate
from pysr.files import folder_images, image_files
from pysr.files.datasets import read_stacks
from pysr.upscaling.folder import Enlargement, plan_files


def test_a_folder_has_its_own_images_and_not_those_of_its_sub_folders(tmp_path: Path) -> None:
    for folder in ("sub", ".thumbnails", "folder.png"):
        (tmp_path / folder).mkdir()
    for name in ("b.JPG", "a.png", "sub/c.tif", "notes.txt", ".hidden.png", ".thumbnails/d.png"):
        (tmp_path / name).touch()
    assert image_files(tmp_path) == [tmp_path / "a.png", tmp_path / "b.JPG"]
    for folder in ("missing", "a.png"):
        with pytest.raises(InputError, match="there is no folder"):
            image_files(tmp_path / folder)


def test_a_folder_without_images_says_whether_it_has_sub_folders(tmp_path: Path) -> None:
    (tmp_path / ".thumbnails").mkdir()
    with pytest.raises(InputError, match=r"has no image in it; pysr reads \.png"):
        image_files(tmp_path)
    for name in ("Set5", "Set14"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"no image of its own, only sub-folders \(Set5, Set14\); name one of them"):
        image_files(tmp_path)
    for name in ("BSD100", "Urban100"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"\(BSD100, Set5, Set14, \.\.\.\)"):
        image_files(tmp_path)


def test_upscale_evaluate_and_train_see_the_same_images_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.png", "sub/c.png", ".hidden.png", "d.pgm"):
        make_image("L", 40, 40).save(tmp_path / name, "PPM" if name.endswith("pgm") else "PNG")
    (tmp_path / "notes.txt").touch()
    upscaled = [job.source for job in plan_files([tmp_path], None, Enlargement(2))]
    (evaluation,) = evaluate(["nearest"], tmp_path, [2])
    trained = [path for path, _ in read_stacks(tmp_path, "train")]
    assert upscaled == trained == [tmp_path / name for name in ("a.png", "b.PNG", "d.pgm")]
    assert [image.name for image in evaluation.results[0].images] == [path.stem for path in upscaled]


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_numbers_in_names_count_by_their_value(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "IMG1.png", "img2b.png", "b.png", "7.png"):
        (tmp_path / name).touch()
    expected = ["7.png", "b.png", "IMG1.png", "img2.png", "img2b.png", "img10.png"]
    assert names(folder_images(tmp_path).images) == expected
    assert names(tuple(image_files(tmp_path))) == sorted(expected)  # what trainings have always drawn from


def test_other_endings_and_no_ending_are_seen_by_what_they_are(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPE", "c.mpo", "d"):
        (tmp_path / name).write_bytes(encoded(make_image(), "JPEG"))
    (tmp_path / "e").write_bytes(encoded(make_image(), "BMP"))
    (tmp_path / "f").write_bytes(encoded(make_image("L"), "PPM"))
    for name, text in {"README": "BMW and others", "P1 notes": "P1 is the first", "LICENSE": "text", "g": ""}.items():
        (tmp_path / name).write_text(text)
    assert names(folder_images(tmp_path).images) == ["a.jfif", "b.JPE", "c.mpo", "d", "e", "f"]


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").touch()
    (tmp_path / "b.psd").touch()
    (tmp_path / "c").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n")
    (tmp_path / "d.jpg~").write_bytes(encoded(make_image(), "JPEG"))
    for name in ("e.txt", "f.mp4", ".g.heic"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42")
    found = folder_images(tmp_path)
    assert (found.images, names(found.left_out)) == ((), ["a.jxl", "b.psd", "c", "d.jpg~"])
    with pytest.raises(InputError, match=r"only images that pysr cannot read \(a\.jxl, b\.psd, c, \.\.\.\); convert"):
        image_files(tmp_path)
