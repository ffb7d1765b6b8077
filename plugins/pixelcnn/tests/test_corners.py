"""The study of ambiguity and the recipes, on a few made-up digits and faces."""

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pysr.errors import InputError
from pysr.plugin import Recipe
from pysr.training import TrainingOptions, train
from pysr_pixelcnn import corners
from pysr_pixelcnn.digits import CornersSampler, Head, place, read_digits
from pysr_pixelcnn.faces import measured
from pysr_pixelcnn.train import corners_recipe, faces_recipe

CPU = TrainingOptions(device="cpu", precision="float32")


def strokes(count: int, side: int = 28) -> NDArray[np.uint8]:
    """Bright bars in the middle of dark squares."""
    images = np.zeros((count, side, side), np.uint8)
    for number, image in enumerate(images):
        image[6:22, 8 + number % 8 : 13 + number % 8] = 250
    return images


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 12), ("t10k", 6)):
        data = struct.pack(">iiii", 0x803, count, 28, 28) + strokes(count).tobytes()
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
    return folder


def test_digits_are_read_and_damaged_files_refused(mnist: Path) -> None:
    digits = read_digits(mnist, "t10k")
    assert np.array_equal((digits[:, 0] * 255).round().byte().numpy(), strokes(6))
    path = mnist / "t10k-images-idx3-ubyte.gz"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    for data in (bytes(whole), path.read_bytes()[:-40], gzip.compress(b"no digits at all"), b"no gzip"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="give the folder of its four"):
            read_digits(mnist, "t10k")


def test_a_digit_is_placed_in_either_corner_as_often(mnist: Path) -> None:
    digits = read_digits(mnist, "t10k")[:1].expand(400, -1, -1, -1)
    canvases = place(digits, torch.Generator().manual_seed(0))
    found = corners.fractions(canvases, digits)
    assert found["one"] == 1 and 0.4 < found["top_left"] < 0.6
    assert torch.equal(canvases.flatten(1).sum(1), digits.flatten(1).sum(1))


def test_fractions_count_corners_that_are_lit(mnist: Path) -> None:
    digits = read_digits(mnist, "t10k")[:4]
    outputs = torch.zeros(4, 1, 56, 56)
    outputs[0, :, :28, :28] = digits[0]
    outputs[1, :, 28:, 28:] = digits[1] * 0.21
    outputs[2, :, :28, :28] = outputs[2, :, 28:, 28:] = digits[2]
    outputs[3, :, :28, :28] = digits[3] * 0.19
    assert corners.fractions(outputs, digits) == {"one": 0.5, "both": 0.25, "none": 0.25, "top_left": 0.5}


def test_processes_share_the_pairs_of_a_step(mnist: Path) -> None:
    sampler = CornersSampler([mnist], seed=3)
    (whole,), again = sampler.batch(7, {2: 4}), sampler.batch(7, {2: 4})
    assert torch.equal(whole.high, again[0].high)
    for rank in range(2):
        (part,) = sampler.batch(7, {2: 4}, (rank, 2))
        assert torch.equal(part.low, whole.low[rank::2]) and torch.equal(part.high, whole.high[rank::2])
    assert not torch.equal(sampler.batch(8, {2: 4})[0].low, whole.low)


def test_levels_are_drawn_by_their_odds() -> None:
    logits = torch.full((1, 256, 40, 40), -30.0)
    logits[:, 3], logits[:, 200] = 0.0, 1.0
    drawn = corners.sample_independently(logits, torch.Generator().manual_seed(0)) * 255
    assert set(drawn.unique().round().tolist()) == {3.0, 200.0}
    assert float((drawn > 100).float().mean()) == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.05)


@pytest.mark.parametrize("head", ["l2", "cross_entropy"])
def test_the_heads_train_by_their_recipes(
    mnist: Path, tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pysr_pixelcnn import train as recipes

    whole = recipes.head_recipe
    monkeypatch.setattr(recipes, "head_recipe", lambda losses: shortened(whole(losses)))
    weights = corners.retrained(head, mnist, tmp_path / "out")
    network = corners.load_head(head, weights)
    assert isinstance(network, Head) and network(torch.zeros(1, 1, 28, 28)).shape[-2:] == (56, 56)


def shortened(recipe: Recipe) -> Recipe:
    return replace(recipe, steps=2)


def test_the_corners_train_by_their_recipe(mnist: Path, tmp_path: Path) -> None:
    short = replace(corners_recipe(), steps=2)
    best = train("pixelcnn-mnist-corners", [mnist], tmp_path / "out", recipe=short, options=CPU)
    assert best.exists()


def test_faces_train_by_their_recipe_and_are_validated_by_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "faces.npz", train=images, val=images[:2])
    faces = tmp_path / "faces.npz"
    short = replace(faces_recipe(), steps=2)
    best = train("pixelcnn", [faces], tmp_path / "out", recipe=short, validation=faces, options=CPU)
    log = (tmp_path / "out" / "log.csv").read_text().splitlines()
    assert best.exists() and "bits_per_dim" in log[0] and "joint" in log[0]


def test_the_study_writes_its_table_and_image(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["corners", "--data", str(mnist), "--out", str(tmp_path / "study"), "--count", "3"])
    corners.main()
    table = json.loads((tmp_path / "study" / "table.json").read_text())
    assert set(table) == {"pixelcnn", "cross_entropy", "l2"}
    assert all(set(row) == {"one", "both", "none", "top_left"} for row in table.values())
    assert (tmp_path / "study" / "corners.png").stat().st_size > 1000


def test_faces_are_measured(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "faces.npz", val=images)
    facts = list(measured(tmp_path / "faces.npz", 2).values())
    assert facts[0] > 6 and facts[1] > 6 and 0 < facts[2] < 0.1
