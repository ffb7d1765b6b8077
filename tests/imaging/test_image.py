"""Every kind of image goes through the planes and comes back as what it was."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pysr.errors import InputError, OutOfMemoryError
from pysr.imaging.image import open_image

few = settings(derandomize=True, deadline=None, max_examples=60)
MODES = ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK")
NUMPY = (np.uint8, np.uint16, np.float16, np.float32)
TORCH = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)


def nearest(image: Any, scale: int) -> Any:
    """Upscale by repeating pixels: what every pixel is afterwards can be told exactly."""
    opened = open_image(image)
    for low, high in [*opened.parts(scale), *opened.alphas(scale)]:
        assert high.shape == (low.shape[0], low.shape[1] * scale, low.shape[2] * scale)
        assert type(high) is type(low)
        assert high.dtype == low.dtype
        if isinstance(low, np.ndarray):
            high[...] = low.repeat(scale, 1).repeat(scale, 2)
        else:
            high.copy_(low.repeat_interleave(scale, 1).repeat_interleave(scale, 2))
    return opened.result()


def pixels(shape: tuple[int, ...], dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "u":
        return random.integers(1, np.iinfo(dtype).max + 1, shape, dtype)
    return (random.random(shape) * 0.99 + 0.01).astype(dtype)


def make_image(mode: str, width: int = 7, height: int = 5) -> Image.Image:
    if mode.startswith("I;16"):
        values = pixels((height, width), np.uint16)
        return Image.frombytes(mode, (width, height), values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "P":
        return Image.fromarray(pixels((height, width, 3))).quantize(16)
    channels = {"1": 1, "L": 1, "LA": 2, "RGB": 3}.get(mode, 4)
    if mode == "1":
        return Image.fromarray(pixels((height, width)) > 127)
    values = pixels((height, width, channels))
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode if channels == 4 else None)


def digest(image: Any) -> str:
    values = image.view(torch.uint8).numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


# --- PIL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_pil_modes_come_back(mode: str, size: tuple[int, int]) -> None:
    image = make_image(mode, *size)
    image.info.update(icc_profile=b"profile", exif=b"Exif\0\0", dpi=(300, 300))
    before, info = digest(image), dict(image.info)
    result = nearest(image, 3)
    assert (result.mode, result.size) == (mode, (size[0] * 3, size[1] * 3))
    assert np.array_equal(np.asarray(result)[1::3, 1::3], np.asarray(image))
    assert result.info == image.info == info
    assert result.info is not image.info
    assert digest(image) == before


@pytest.mark.parametrize("mode", ["I;16B", "I;16L"])
def test_every_byte_order_becomes_native(mode: str) -> None:
    result = nearest(make_image(mode), 2)
    assert result.mode == "I;16"
    assert np.array_equal(np.asarray(result)[::2, ::2], np.asarray(make_image(mode)))


@pytest.mark.parametrize("mode", ["I", "F", "HSV", "LAB", "YCbCr", "RGBX", "RGBa", "La", "PA"])
def test_other_pil_modes_are_refused_by_name(mode: str) -> None:
    instead = "asarray.*divided by" if mode == "F" else "convert"  # as convert("RGB") makes floats up to 1 black
    with pytest.raises(InputError, match=rf"'{mode}'.*only 1, L, .*CMYK.*{instead}"):
        open_image(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(("mode", "key", "becomes"), [("L", 7, "LA"), ("RGB", (7, 8, 9), "RGBA"), ("1", 255, "LA")])
def test_a_transparent_colour_becomes_alpha(mode: str, key: Any, becomes: str) -> None:
    image = Image.new(mode, (4, 4))
    image.putpixel((1, 2), 255 if mode == "1" else key)
    image.info["transparency"] = key
    result = nearest(image, 2)
    assert result.mode == becomes
    assert "transparency" not in result.info
    hidden = np.asarray(result)[..., -1] == 0
    assert hidden[4:6, 2:4].all()
    assert hidden.sum() == 4
    assert image.info["transparency"] == key


def test_16_bit_gray_with_a_transparent_colour_is_refused() -> None:
    image = make_image("I;16")
    image.info["transparency"] = 5
    with pytest.raises(InputError, match="transparent colour"):
        open_image(image)


def test_black_and_white_has_its_border_at_one_half() -> None:
    opened = open_image(Image.new("1", (3, 1)))
    ((_, high),) = opened.parts(1)
    high[...] = np.array([127, 128, 255])
    assert np.asarray(opened.result()).tolist() == [[False, True, True]]


def test_cmyk_is_handed_out_as_light_not_as_ink() -> None:
    ink = np.array([[[10, 20, 30, 40]]], np.uint8)
    opened = open_image(Image.fromarray(ink, "CMYK"))
    (colour, out), (black, out_black) = opened.parts(1)
    assert colour.ravel().tolist() == [245, 235, 225]
    assert black.ravel().tolist() == [215]
    out[...], out_black[...] = 255, 0
    assert np.asarray(opened.result()).ravel().tolist() == [0, 0, 0, 255]


def test_a_damaged_file_behind_a_pil_image_is_an_input_error(tmp_path: Any) -> None:
    Image.fromarray(pixels((64, 64, 3))).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    with Image.open(tmp_path / "b.png") as image, pytest.raises(InputError, match="damaged"):
        open_image(image)


# --- palettes --------------------------------------------------------------------------------------------------------

COLOURS = [0, 0, 0, 255, 0, 0, 0, 255, 0, 250, 250, 250]


def palette_image(transparency: int | bytes | None = None) -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8))
    image.putpalette(COLOURS)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


@pytest.mark.parametrize("transparency", [None, 0, 1, 3, b"\x00\x80\xff\x40"])
def test_palette_and_transparent_index_are_kept(transparency: int | bytes | None) -> None:
    image = palette_image(transparency)
    result = nearest(image, 3)
    assert result.mode == "P"
    assert result.getpalette() == COLOURS
    assert result.info.get("transparency") == transparency
    assert np.array_equal(np.asarray(result)[1::3, 1::3], np.asarray(image))


def test_a_palette_that_holds_alpha_itself_is_kept() -> None:
    image = Image.fromarray(pixels((6, 6, 4), seed=1)).quantize(8)
    assert image.palette is not None
    assert image.palette.mode == "RGBA"
    result = nearest(image, 2)
    assert result.getpalette("RGBA") == image.getpalette("RGBA")
    assert np.array_equal(np.asarray(result)[::2, ::2], np.asarray(image))


def test_pixels_of_a_palette_image_beyond_the_palette_are_black() -> None:
    image = palette_image()
    image.putdata([0, 1, 2, 200, 3, 3, 3, 3])
    assert np.asarray(nearest(image, 1))[0, 3] == 0


def test_alpha_below_one_half_is_the_transparent_index_and_else_never() -> None:
    image = palette_image(3)
    opened = open_image(image)
    ((_, colour),), ((_, alpha),) = opened.parts(1), opened.alphas(1)
    colour[...] = np.array([250, 250, 250])[:, None, None]  # the colour of the transparent entry itself
    alpha[0] = [[0, 1, 127, 128], [255, 200, 128, 127]]
    assert (np.asarray(opened.result()) == 3).tolist() == [[True, True, True, False], [False, False, False, True]]


def test_opaque_never_turns_transparent_even_where_the_palette_has_nothing_near() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.info["transparency"] = 1
    opened = open_image(image)
    for _, high in [*opened.parts(1), *opened.alphas(1)]:
        high[...] = 0 if len(high) == 3 else 255  # opaque black
    assert np.asarray(opened.result()).tolist() == [[0, 0]]


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_nearest_palette_colour_is_taken(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (count, 3))
    image = Image.new("P", (6, 4))
    image.putpalette(table.ravel().tolist())
    opened = open_image(image)
    ((_, high),) = opened.parts(2)
    high[...] = random.integers(0, 256, high.shape)
    wanted = ((high.astype(int)[:, None] - table.T[:, :, None, None]) ** 2).sum(0)
    index = np.asarray(opened.result())
    assert np.array_equal(np.take_along_axis(wanted, index[None].astype(int), 0)[0], wanted.min(0))


# --- NumPy and torch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_come_back(dtype: Any, channels: int | None) -> None:
    array = pixels((5, 7) if channels is None else (5, 7, channels), dtype)
    before = digest(array)
    result = nearest(array, 2)
    assert type(result) is np.ndarray
    assert result.dtype == array.dtype
    assert result.flags.c_contiguous
    assert result.shape == (10, 14, *array.shape[2:])
    assert np.array_equal(result[::2, ::2], array)
    assert digest(array) == before


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 5, 7), (3, 5, 7), (4, 5, 7), (2, 1, 5, 7), (3, 4, 5, 7)])
def test_tensors_come_back(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    white = 1 if dtype.is_floating_point else torch.iinfo(dtype).max
    tensor = (torch.from_numpy(pixels(shape, np.float32)) * white).to(dtype)
    before = digest(tensor)
    result = nearest(tensor.requires_grad_() if dtype.is_floating_point else tensor, 3)
    assert result.dtype == dtype
    assert result.is_contiguous()
    assert not result.requires_grad
    assert torch.equal(result[..., 1::3, 1::3], tensor)
    assert digest(tensor.detach()) == before


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", TORCH)
def test_tensors_stay_on_their_device(dtype: torch.dtype) -> None:
    tensor = torch.ones(4, 6, 5, device="cuda").to(dtype)
    tensor[3, 2:] = 0
    result = nearest(tensor, 2)
    assert result.device == tensor.device
    assert torch.equal(result[3, ::2, ::2], tensor[3])


def test_planes_are_views_of_the_users_pixels_and_outputs_of_the_result() -> None:
    array, tensor = pixels((5, 7, 3)), torch.rand(2, 3, 4, 5)
    for image in (array, array[::-1, ::-2], array.transpose(1, 0, 2), np.broadcast_to(array[:1], (5, 7, 3))):
        opened = open_image(image)
        ((low, high),) = opened.parts(2)
        assert np.shares_memory(low, image)
        assert np.shares_memory(high, opened.result())
    opened = open_image(tensor)
    for item, (low, high) in zip(tensor, opened.parts(2), strict=True):
        assert low.data_ptr() == item.data_ptr()
        assert high.stride()[-1] == 1


def test_read_only_and_big_endian_arrays() -> None:
    array = pixels((4, 4), np.uint16).astype(">u2")
    array.flags.writeable = False
    result = nearest(array, 2)
    assert result.dtype == np.uint16
    assert result.dtype.isnative
    assert np.array_equal(result[::2, ::2], array)


def test_one_opened_image_gives_several_results() -> None:
    opened = open_image(pixels((4, 4, 3)))
    results = []
    for value in (1, 2):
        ((_, high),) = opened.parts(2)
        high[...] = value
        results.append(opened.result())
    assert [int(result.max()) for result in results] == [1, 2]
    with pytest.raises(RuntimeError, match="parts"):
        opened.result()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4)), r"float64.*astype\(np\.float32\)"),
        (np.zeros((4, 4), bool), r"bool.*\* 255"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\).*transpose"),
        (np.zeros((2, 4, 5, 3), np.uint8), "one by one"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 0), np.uint8), "empty"),
        (np.ma.masked_array(np.zeros((4, 4), np.uint8)), "filled"),
        (torch.zeros(4, 5), r"image\[None\]"),
        (torch.zeros(9, 5, 3), "permute"),
        (torch.zeros(1, 2, 3, 4, 5), "N, C, H, W"),
        (torch.zeros(5, 9, 9), "C from 1 to 4"),
        (torch.zeros(0, 3, 4, 5), "empty"),
        (torch.zeros(3, 4, 0), "empty"),
        (torch.zeros(3, 4, 5, dtype=torch.float64), r"float64.*image\.float\(\)"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "int64"),
        (torch.zeros(3, 4, 5, dtype=torch.bool), "bool"),
        (torch.zeros(3, 4, 5, device="meta"), "meta"),
        (torch.zeros(3, 4, 5).to_sparse(), "sparse"),
        (Image.new("L", (0, 5)), "empty"),
        ([[1, 2]], "list"),
        (None, "NoneType"),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(image: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_image(image)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_counted_and_located(dtype: Any, tensor: bool, bad: float) -> None:
    image = np.zeros((1, 6, 7), dtype)
    image[0, 2, 3] = image[0, 4, 1] = bad
    with pytest.raises(InputError, match=r"2 values.*\[0, 2, 3\]" if tensor else r"2 values.*\[2, 3\]"):
        open_image(torch.from_numpy(image) if tensor else image[0])


@pytest.mark.parametrize("value", [-0.51, 1.51, 255.0])
def test_floats_far_from_0_and_1_are_refused_and_near_ones_accepted(value: float) -> None:
    for image in (np.full((2, 2), value, np.float32), torch.full((1, 2, 2), value, dtype=torch.bfloat16)):
        with pytest.raises(InputError, match="255"):
            open_image(image)
    open_image(np.array([[-0.5, 1.5]], np.float32))


def test_a_result_without_room_is_out_of_memory() -> None:
    for image in (np.zeros((2, 2), np.uint8), torch.zeros(1, 2, 2)):
        with pytest.raises(OutOfMemoryError, match="smaller scale"):
            open_image(image).parts(2**24)


def test_a_16_bit_gray_image_with_a_transparent_colour_is_not_called_damaged() -> None:
    image = make_image("I;16")
    image.info["transparency"] = 7
    with pytest.raises(InputError, match=r"delete image\.info") as caught:
        open_image(image)
    assert "damaged" not in str(caught.value)
