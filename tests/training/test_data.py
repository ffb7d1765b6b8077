"""Training data: pairs that fit each other, and batches that depend on seed and step only."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pysr import InputError
from pysr.files.datasets import digest, read_planes
from pysr.imaging.degrade import bicubic, crop_to_multiple
from pysr.imaging.resize import resize
from pysr.training.data import Batch, PatchSampler, Prefetcher, TrainingImage, read_images
from pysr.training.degradations import photo


def write(path: Path, height: int, width: int, seed: int = 0, mode: str = "RGB") -> np.ndarray[Any, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return pixels


def picture(height: int, width: int, scales: Sequence[int] = (2, 3), seed: int = 0) -> TrainingImage:
    generator = torch.Generator().manual_seed(seed)
    high = torch.randint(0, 256, (1, height, width), dtype=torch.uint8, generator=generator)
    return TrainingImage(high, {scale: bicubic(high.float() / 255, scale) for scale in scales})


def symmetries(planes: Tensor) -> list[Tensor]:
    turned = [planes.rot90(k, (-2, -1)) for k in range(4)]
    return turned + [planes.flip(-1) for planes in turned]


def equal(one: Any, other: Any) -> bool:
    return all(
        a.scale == b.scale and torch.equal(a.low, b.low) and torch.equal(a.high, b.high)
        for a, b in zip(one, other, strict=True)
    )


def test_luma_is_rounded_to_8_bits(tmp_path: Path) -> None:
    rgb = write(tmp_path / "a.png", 13, 20).astype(float)
    (found,) = read_images([tmp_path], "luma", [2, 3])
    y = 16 + (65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]) / 255
    np.testing.assert_array_equal(found.high[0].numpy(), np.round(y)[:12, :18])
    assert found.high.dtype == torch.uint8
    for scale in (2, 3):  # the low pictures are made from what was rounded, and not rounded themselves
        torch.testing.assert_close(found.low[scale], resize(found.high / 255, Fraction(1, scale)), rtol=0, atol=1e-6)


def test_rgb_stays_as_it_is_and_other_modes_become_rgb(tmp_path: Path) -> None:
    pixels = write(tmp_path / "a.png", 8, 12)
    write(tmp_path / "b.png", 8, 12, mode="L")
    write(tmp_path / "c.png", 8, 12, mode="RGBA")
    write(tmp_path / "d.jpg", 8, 12, mode="CMYK")
    pictures = read_images([tmp_path], "rgb", [2])
    assert len(pictures) == 4
    assert all(p.high.shape == (3, 8, 12) and p.low[2].shape == (3, 4, 6) for p in pictures)
    np.testing.assert_array_equal(pictures[0].high.permute(1, 2, 0).numpy(), pixels)


def test_any_means_one_plane(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 8, 8)
    assert read_images([tmp_path], "any", [2])[0].high.shape == (1, 8, 8)


def test_reduced_copies_and_small_pictures(tmp_path: Path) -> None:
    write(tmp_path / "large.png", 60, 80)
    write(tmp_path / "small.png", 30, 200)
    found = read_images([tmp_path], "luma", [2, 3], rescale_augment=(1.0, 0.5), smallest=30)
    assert [tuple(p.high.shape) for p in found] == [(1, 60, 78), (1, 30, 36), (1, 30, 198)]


def test_images_that_are_too_small_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for side in (8, 12, 40):
        Image.new("RGB", (60, side)).save(tmp_path / f"{side}.png")
    found = read_images([tmp_path], "luma", [2], rescale_augment=(1.0, 0.5), smallest=30)
    assert len(found) == 1
    assert "images left out because a side is shorter than 30 pixels: 2" in caplog.text


def test_several_folders_come_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / name / "x.png", 8, 8 if name == "a" else 10)
    assert [p.high.shape[-1] for p in read_images([tmp_path / "b", tmp_path / "a"], "luma", [2])] == [10, 8]


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_an_array_of_pictures_is_as_good_as_their_files(colour: Any, tmp_path: Path) -> None:
    pixels = np.stack([write(tmp_path / "files" / f"{i:03}.png", 12, 14, seed=i) for i in range(300)])
    np.savez(tmp_path / "set.npz", train=pixels, val=pixels[:1], ages=np.arange(300))
    found = read_images([tmp_path / "set.npz"], colour, [2, 3], rescale_augment=(1.0, 0.5))
    expected = {
        p.high.numpy().tobytes(): p
        for p in read_images([tmp_path / "files"], colour, [2, 3], rescale_augment=(1.0, 0.5))
    }
    assert len(found) == len(expected) == 600
    for p in found:
        other = expected[p.high.numpy().tobytes()]
        assert p.high.shape == other.high.shape
        assert all(torch.equal(p.low[scale], other.low[scale]) for scale in (2, 3))


def test_the_only_array_of_pictures_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "digits.npz", images=np.full((5, 8, 8), 7, np.uint8), labels=np.zeros(5, np.uint8))
    found = read_images([tmp_path / "digits.npz"], "any", [2])
    assert [tuple(p.high.shape) for p in found] == [(1, 8, 8)] * 5
    assert int(found[0].high.min()) == int(found[0].high.max()) == 7


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 8, 8, 3))}, r"no array of images \(a: \(2, 8, 8, 3\) float64\); give one called 'train'"),
        ({"train": np.zeros((2, 8), np.uint8)}, r"no array of images \(train: \(2, 8\) uint8\)"),
        ({"train": np.zeros((0, 8, 8), np.uint8)}, r"no array of images"),
        ({"a": np.zeros((2, 8, 8), np.uint8), "b": np.zeros((2, 8, 8), np.uint8)}, r"several arrays of images"),
        ({"train": np.array([None])}, r"cannot be read \(Object arrays cannot be loaded"),
    ],
)
def test_an_array_that_holds_no_pictures_is_said(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_images([tmp_path / "set.npz"], "any", [2])


def test_a_damaged_array_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with pytest.raises(InputError, match=r"set\.npz' cannot be read \(No such file"):
        read_images([path], "any", [2])
    np.savez(path, train=np.zeros((2, 8, 8), np.uint8))
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:-30], whole[:100] + b"x" + whole[101:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"set\.npz' cannot be read .* give an \.npz file written by numpy\.savez"):
            read_images([path], "any", [2])


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    empty, small = tmp_path / "empty", tmp_path / "small"
    empty.mkdir()
    write(small / "a.png", 9, 40)
    with pytest.raises(InputError, match="empty"):
        read_images([small, empty], "luma", [2])
    with pytest.raises(InputError, match="missing"):
        read_images([tmp_path / "missing"], "luma", [2])
    with pytest.raises(InputError, match="sides of at least 10 pixels"):
        read_images([small], "luma", [2], smallest=10)
    (small / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.png"):
        read_images([small], "luma", [2])


def test_a_digest_tells_contents_and_names_but_not_places(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "a.bmp", 8, 8)
    first = digest(tmp_path / "one")
    assert digest(tmp_path / "two") == first
    (tmp_path / "one").rename(tmp_path / "other")
    assert digest(tmp_path / "other") == first
    write(tmp_path / "two" / "a.bmp", 8, 8, seed=1)  # of the same name and size
    assert digest(tmp_path / "two") != first
    (tmp_path / "other" / "a.bmp").rename(tmp_path / "other" / "b.bmp")
    assert digest(tmp_path / "other") != first
    for name, value in (("a", 0), ("b", 0), ("c", 1)):
        np.savez(tmp_path / f"{name}.npz", np.full((2, 8, 8), value, np.uint8))
    a, b, c = (digest(tmp_path / f"{name}.npz") for name in "abc")
    assert a == b != c


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    pictures = [picture(60, 54), picture(48, 90, seed=1)]
    counts = {2: 3, 3: 2}
    one = PatchSampler(pictures, patch=12, seed=5, margin=1)
    forward = [one.batch(step, counts) for step in range(4)]
    torch.manual_seed(99)  # torch's own random numbers play no part
    backward = [PatchSampler(pictures, patch=12, seed=5, margin=1).batch(step, counts) for step in (3, 2, 1, 0)][::-1]
    assert all(equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not equal(forward[0], forward[1])
    assert not equal(forward[0], PatchSampler(pictures, patch=12, seed=6, margin=1).batch(0, counts))


def test_shapes_and_ranges() -> None:
    sampler = PatchSampler([picture(60, 54)], patch=12, seed=0, margin=2)
    two, three = sampler.batch(0, {2: 5, 3: 1})
    assert (two.scale, two.low.shape, two.high.shape) == (2, (5, 1, 10, 10), (5, 1, 12, 12))
    assert (three.scale, three.low.shape, three.high.shape) == (3, (1, 1, 8, 8), (1, 1, 12, 12))
    assert two.low.dtype == two.high.dtype == torch.float32
    assert torch.equal((two.high * 255).round() / 255, two.high)
    assert two.high.min() >= 0
    assert two.high.max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_low_patch_is_the_reduced_high_patch(scale: int) -> None:
    sampler = PatchSampler([picture(72, 96, (scale,))], patch=24, seed=0, margin=3)
    for step in range(20):
        (pairs,) = sampler.batch(step, {scale: 4})
        low = pairs.low[..., 3:-3, 3:-3]
        expected = bicubic(pairs.high, scale)
        assert low.shape == expected.shape
        torch.testing.assert_close(low[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("margin", [0, 2, 9, 20])
def test_margins_are_mirrored_at_the_pictures_border(margin: int) -> None:
    only = picture(12, 12, (2,))  # the patch is the whole picture
    (pairs,) = PatchSampler([only], patch=12, seed=0, margin=margin).batch(0, {2: 8})
    low = np.pad(only.low[2][0].numpy(), margin, mode="symmetric")
    for i in range(8):
        assert any(
            torch.equal(pairs.low[i, 0], turned_low) and torch.equal(pairs.high[i], turned_high)
            for turned_low, turned_high in zip(
                symmetries(torch.from_numpy(low)), symmetries(only.high / 255), strict=True
            )
        )


def test_margins_inside_the_picture_are_its_pixels() -> None:
    whole = picture(40, 40, (2,))
    (pairs,) = PatchSampler([whole], patch=12, seed=1, margin=3).batch(0, {2: 16})
    padded = np.pad(whole.low[2][0].numpy(), 3, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (12, 12)).reshape(-1, 12, 12)
    for low in pairs.low[:, 0]:
        assert any((windows == turned.numpy()).all((1, 2)).any() for turned in symmetries(low))


def test_all_eight_symmetries_are_used() -> None:
    only = picture(12, 12, (2,))
    (pairs,) = PatchSampler([only], patch=12, seed=0).batch(0, {2: 100})
    counts = [sum(torch.equal(high, turned) for high in pairs.high) for turned in symmetries(only.high / 255)]
    assert sum(counts) == 100
    assert min(counts) >= 4


def test_without_turns_patches_are_mirrored_left_to_right_only() -> None:
    only = picture(12, 12, (2,))
    (pairs,) = PatchSampler([only], patch=12, seed=0, rotate=False).batch(0, {2: 100})
    counts = [sum(torch.equal(high, turned) for high in pairs.high) for turned in symmetries(only.high / 255)]
    assert counts[0] + counts[4] == 100
    assert min(counts[0], counts[4]) >= 30


def test_some_patches_are_plain() -> None:
    sampler = PatchSampler([picture(40, 44)], patch=12, seed=3, margin=2, flat_fraction=0.25)
    (pairs,) = sampler.batch(1, {2: 400})
    assert pairs.low.shape[-2:] == (10, 10) and pairs.high.shape[-2:] == (12, 12)
    plain = (pairs.low == pairs.low[..., :1, :1]).flatten(1).all(1)
    assert 60 < plain.sum() < 140
    colours = pairs.low[plain][..., 0, 0]
    assert torch.equal(pairs.high[plain], colours[..., None, None].expand(-1, -1, 12, 12))
    assert all(5 < (colours == level).all(1).sum() < 40 for level in (0, 1))
    assert torch.equal((colours * 255).round() / 255, colours) and len(colours.unique(dim=0)) > 40


def test_every_place_is_reached() -> None:
    numbers = torch.arange(14 * 16, dtype=torch.uint8).view(1, 14, 16)
    sampler = PatchSampler(
        [TrainingImage(numbers, {2: bicubic(numbers / 255, 2)})], patch=12, seed=0, hard_mining_candidates=1
    )
    (pairs,) = sampler.batch(0, {2: 200})
    corners = {int((high * 255).round().min()) for high in pairs.high}
    assert corners == {0, 2, 4, 32, 34, 36}  # on the grid of low pixels: two rows, three columns


def test_candidates_prefer_detail_and_areas_count() -> None:
    flat, busy = torch.full((1, 40, 40), 128, dtype=torch.uint8), picture(40, 40, (2,)).high
    pictures = [TrainingImage(high, {2: bicubic(high / 255, 2)}) for high in (flat, busy)]

    def share(candidates: int) -> float:
        sampler = PatchSampler(pictures, patch=12, seed=0, hard_mining_candidates=candidates)
        return float(sampler.batch(0, {2: 300})[0].high.std((1, 2, 3)).gt(0.05).float().mean())

    assert 0.4 < share(1) < 0.6
    assert share(4) > 0.85
    narrow = TrainingImage(flat[:, :12, :12], {2: pictures[0].low[2][:, :6, :6]})
    (pairs,) = PatchSampler([narrow, pictures[1]], patch=12, seed=0, hard_mining_candidates=1).batch(0, {2: 100})
    assert (pairs.high.std((1, 2, 3)) > 0.05).float().mean() > 0.95  # one place against 29 x 29


def test_patches_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(InputError, match="no training image is as large as a patch of 64 pixels"):
        PatchSampler([picture(60, 90)], patch=64, seed=0)
    with pytest.raises(
        InputError, match="patch of 14 pixels cannot be downscaled by 3; give a multiple of 6, or other scales"
    ):
        PatchSampler([picture(60, 90)], patch=14, seed=0).batch(0, {2: 1, 3: 1})
    sampler = PatchSampler([picture(12, 90), picture(60, 60, seed=1)], patch=24, seed=0)  # the small one is left out
    assert sampler.batch(0, {2: 20})[0].high.shape == (20, 1, 24, 24)


def test_crop_to_multiple() -> None:
    planes = torch.arange(7 * 9).view(1, 7, 9)
    assert torch.equal(crop_to_multiple(planes, 4), planes[:, :4, :8])
    assert torch.equal(crop_to_multiple(planes, 1), planes)
    with pytest.raises(InputError, match="an image of 9 x 7 pixels is too small for x8"):
        crop_to_multiple(planes, 8)


def test_sixteen_bit_gray_keeps_its_brightness(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 40 * 30).round().astype(np.uint16).reshape(40, 30)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert read_planes(tmp_path / "ramp.png").shape == (1, 40, 30)
    assert float(read_planes(tmp_path / "ramp.png").mean()) == pytest.approx(0.5, abs=1e-3)
    (picture,) = read_images([tmp_path], "luma", [2])
    assert float(picture.high.float().mean()) == pytest.approx(127.5, abs=0.5)


def test_the_shards_of_a_batch_are_the_batch() -> None:
    sampler = PatchSampler(
        [picture(60, 54), picture(48, 90, seed=1)], patch=12, seed=5, margin=1, hard_mining_candidates=2
    )
    counts = {2: 5, 3: 3, 1: 0}
    whole = sampler.batch(4, {2: 5, 3: 3})
    shards = [sampler.batch(4, {2: 5, 3: 3}, (r, 2)) for r in range(2)]
    assert [sum(len(pairs.low) for pairs in shard) for shard in shards] == [4, 4]
    for pairs in whole:
        mine = [high for shard in shards for p in shard if p.scale == pairs.scale for high in p.high]
        assert all(any(torch.equal(high, other) for other in mine) for high in pairs.high)
        assert len(mine) == len(pairs.high) == counts[pairs.scale]
    many = [sampler.batch(4, {2: 1, 3: 1}, (r, 2)) for r in range(2)]
    assert [[pairs.scale for pairs in shard] for shard in many] == [[2], [3]]


def test_the_next_batch_is_made_while_this_one_is_used() -> None:
    made: list[int] = []

    def make(step: int) -> list[Batch]:
        made.append(step)
        return [Batch(step, torch.zeros(1), torch.zeros(1))]

    with Prefetcher(make) as batches:
        assert [batches.get(step)[0].scale for step in (7, 8, 9)] == [7, 8, 9]
        assert batches.get(3)[0].scale == 3  # what nobody foresaw is made at once
    assert made[:4] == [7, 8, 9, 10]
    with Prefetcher(lambda step: 1 / 0) as broken, pytest.raises(ZeroDivisionError):  # type: ignore[arg-type,return-value]
        broken.get(0)


def colourful() -> TrainingImage:
    generator = torch.Generator().manual_seed(0)
    high = torch.randint(0, 256, (3, 96, 120), dtype=torch.uint8, generator=generator)
    return TrainingImage(high, {4: bicubic(high.float() / 255, 4)})


def test_degraded_patches_follow_from_seed_and_step_and_lie_where_the_truth_does() -> None:
    smooth = torch.nn.functional.avg_pool2d(colourful().high.float()[None], 9, 1, 4)[0].round().byte()
    image = TrainingImage(smooth, {4: bicubic(smooth.float() / 255, 4)})
    sampler = PatchSampler([image], patch=48, seed=3, degrade=photo, margin=2)
    (pairs,) = sampler.batch(5, {4: 32})
    assert pairs.low.shape == (32, 3, 16, 16)
    assert pairs.high.shape == (32, 3, 48, 48)
    inner = pairs.low[..., 2:-2, 2:-2]
    errors = (inner - bicubic(pairs.high, 4)).abs().mean((1, 2, 3))
    assert (errors == 0).sum() < 32 / 2 and errors.median() < 0.06
    shifted = (inner - bicubic(pairs.high, 4).roll(1, -1)).abs().mean((1, 2, 3))
    assert errors.median() < shifted.median()
    assert equal([pairs], PatchSampler([image], patch=48, seed=3, degrade=photo, margin=2).batch(5, {4: 32}))
    assert not equal([pairs], sampler.batch(6, {4: 32}))
    shards = [sampler.batch(5, {4: 32}, (rank, 2))[0] for rank in range(2)]
    assert torch.equal(shards[1].low, pairs.low[1::2])


def test_neutral_patches_have_no_colour_and_flat_ones_may_be_degraded() -> None:
    (pairs,) = PatchSampler([colourful()], patch=48, seed=0, neutral_fraction=1.0).batch(0, {4: 16})
    for planes in (pairs.low, pairs.high):
        assert (planes - planes[:, :1]).abs().max() == 0
    assert len(set(pairs.high.std((1, 2, 3)).tolist())) > 8
    torch.testing.assert_close(pairs.low[..., 3:-3, 3:-3], bicubic(pairs.high, 4)[..., 3:-3, 3:-3])
    (pairs,) = PatchSampler([colourful()], patch=48, seed=0, flat_fraction=1.0, degrade=photo).batch(0, {4: 16})
    assert pairs.high.std((2, 3)).max() == 0 < pairs.low.std((2, 3)).max() < 0.2


def test_neutral_patches_leave_the_choice_of_the_others_as_it_is() -> None:
    (plain,) = PatchSampler([colourful()], patch=48, seed=0, flat_fraction=0.5).batch(0, {4: 8})
    (some,) = PatchSampler([colourful()], patch=48, seed=0, flat_fraction=0.5, neutral_fraction=1e-9).batch(0, {4: 8})
    assert torch.equal(plain.low, some.low)
