"""The kernels against a reference written for the tests alone, in float64 and one pixel at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.ops.axis import Axis
from pysr.ops.native import is_native
from pysr.ops.patches import blend_patches, extract_patches, from_float, to_float
from pysr.ops.patches_reference import blend_patches_reference, extract_patches_reference

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")

WHITE = {"uint8": 255, "uint16": 65535}
FLOATS = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # relative rounding error
ISAS = _kernels.isas()

many = settings(derandomize=True, deadline=None, max_examples=120)
some = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture(autouse=True)
def fastest_isa_and_two_threads() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    _kernels.isa(ISAS[0])


# ---- reference and strategies ---------------------------------------------------------------------------------------


def mirrored(i: Any, length: Any) -> Any:
    while not 0 <= i < length:
        i = -1 - i if i < 0 else 2 * length - 1 - i
    return i


def widened(image: Any) -> Any:
    return image.astype(np.float64) / WHITE.get(image.dtype.name, 1)


def extracted(image: Any, origins: Any, size: Any) -> Any:
    """What `extract_patches` promises, in float64."""
    planes = widened(image)
    patches = np.empty((len(origins), image.shape[0], *size))
    for n, (top, left) in enumerate(origins):
        rows = [mirrored(top + y, image.shape[1]) for y in range(size[0])]
        columns = [mirrored(left + x, image.shape[2]) for x in range(size[1])]
        patches[n] = planes[:, rows][:, :, columns]
    return patches


def blended(arguments: Any, span: Any, width: Any) -> Any:
    """What `blend_patches` promises, in float64, before it is clipped and rounded."""
    tile_rows, (tops, row_weights), (lefts, column_weights) = arguments
    total = np.zeros((tile_rows[0].shape[1], span[1] - span[0], width))
    for tiles, top, down in zip(tile_rows, tops, row_weights.astype(np.float64), strict=True):
        for tile, left, across in zip(tiles.double().numpy(), lefts, column_weights.astype(np.float64), strict=True):
            for y in range(max(span[0], top), min(span[1], top + len(down))):
                for x in range(max(0, left), min(width, left + len(across))):
                    if weight := down[y - top] * across[x - left]:
                        total[:, y - span[0], x] += weight * tile[:, y - top, x - left]
    return total


def sliced(array: Any) -> Any:
    large = np.zeros([2 * n + 3 for n in array.shape], array.dtype)
    view = large[1 : 1 + 2 * array.shape[0] : 2, 2 : 2 + 2 * array.shape[1] : 2, 3 : 3 + array.shape[2]]
    view[...] = array
    return view


def unaligned(array: Any) -> Any:
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


LAYOUTS = {  # the same values with other strides, offsets and alignment
    "plain": np.ascontiguousarray,
    "hwc": lambda array: np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1),
    "sliced": sliced,
    "reversed": lambda array: np.ascontiguousarray(array[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
    "swapped": lambda array: np.ascontiguousarray(array.transpose(2, 1, 0)).transpose(2, 1, 0),
    "broadcast": lambda array: np.broadcast_to(array[:, :1], array.shape),
    "unaligned": unaligned,
    "read-only": read_only,
}
sides = st.one_of(st.integers(1, 67), st.sampled_from([15, 16, 17, 31, 32, 33, 64]))


@st.composite
def images(draw: Any) -> Any:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([1, 2, 3, 3, 3, 4, 5])), draw(sides), draw(sides)
    dtype = draw(st.sampled_from(["uint8", "uint8", "uint16", "float16", "float32"]))
    if dtype in WHITE:
        array = random.integers(0, WHITE[dtype] + 1, shape, dtype=dtype)
    else:
        array = random.standard_normal(shape).astype(dtype)
    return LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](array)


origins_near = st.lists(st.tuples(st.integers(-90, 90), st.integers(-90, 90)), max_size=4)


@st.composite
def blends(draw: Any, channels: tuple[int, ...] = (1, 2, 3, 4), dtypes: Any = tuple(FLOATS)) -> Any:
    """Tiles of random numbers on random places with random weights, many of them zero or one; and NaN under zeros."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width, planes = draw(sides), draw(sides), draw(st.sampled_from(channels))
    counts = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(dtypes))
    starts = [
        np.sort(random.integers(-n, 2 * n, count)).tolist() for n, count in zip((height, width), counts, strict=True)
    ]
    weights = [axis_weights(random, count, n) for n, count in zip((height, width), counts, strict=True)]
    shape = counts[1], planes, height, width
    tile_rows = [
        torch.from_numpy(random.uniform(-0.2, 1.2, shape).astype(np.float32)).to(dtype) for _ in range(counts[0])
    ]
    for tiles, down in zip(tile_rows, weights[0], strict=True):
        tiles[:, :, torch.from_numpy(down == 0)] = torch.nan
        for tile, across in zip(tiles, weights[1], strict=True):
            tile[:, :, torch.from_numpy(across == 0)] = torch.nan
    if draw(st.booleans()):
        tile_rows = [tiles.to(memory_format=torch.channels_last) for tiles in tile_rows]
    first = draw(st.integers(-height, height))
    span = first, first + draw(st.integers(1, 60))
    return (tile_rows, Axis(starts[0], weights[0]), Axis(starts[1], weights[1])), span, draw(st.integers(1, 120))


def axis_weights(random: Any, count: Any, size: Any) -> Any:
    """Runs of ones and zeros and ramps between, as plans have them, and some noise."""
    weights = np.ones((count, size), np.float32)
    for row in weights:
        for _ in range(random.integers(0, 3)):
            first, last = np.sort(random.integers(0, size + 1, 2))
            row[first:last] = random.choice([0, 1, random.random()])
        if random.random() < 0.3:
            row[:] = random.random(size) * (random.random(size) < 0.7)
    return weights


def same_bits(a: Any, b: Any) -> Any:
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[a.element_size()]
    return a.dtype == b.dtype and a.shape == b.shape and a.view(whole).equal(b.view(whole))


# ---- extract_patches ------------------------------------------------------------------------------------------------


@many
@given(images(), origins_near, st.tuples(sides, sides), st.sampled_from(list(FLOATS)), st.sampled_from(ISAS))
def test_patches_are_the_mirrored_image(image: Any, origins: Any, size: Any, dtype: Any, isa: Any) -> None:
    _kernels.isa(isa)
    patches = extract_patches(image, origins, size, dtype=dtype)
    assert patches.shape == (len(origins), image.shape[0], *size)
    assert patches.dtype == dtype
    expected = extracted(image, origins, size)
    np.testing.assert_allclose(patches.double().numpy(), expected, rtol=FLOATS[dtype], atol=2.0**-25)


@some
@given(images(), origins_near, st.tuples(sides, sides), st.sampled_from(list(FLOATS)))
def test_patches_are_the_same_bits_everywhere(image: Any, origins: Any, size: Any, dtype: Any) -> None:
    tensor = torch.from_numpy(np.array(image))
    flat = [i for origin in origins for i in origin]
    expected = extract_patches_reference(tensor, flat, size[0], size[1], dtype)
    for isa in ISAS:
        _kernels.isa(isa)
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            assert same_bits(extract_patches(image, origins, size, dtype=dtype), expected)
        assert same_bits(extract_patches(tensor, origins, size, dtype=dtype), expected)


@some
@given(images(), origins_near, st.tuples(sides, sides), st.sampled_from(["channels_last", "sliced"]))
def test_patches_go_into_any_tensor(image: Any, origins: Any, size: Any, layout: Any) -> None:
    shape = len(origins), image.shape[0], *size
    if layout == "channels_last":
        out = torch.zeros(shape).to(memory_format=torch.channels_last)
    else:
        out = torch.zeros([n + 3 for n in shape])[1:-2, 2:-1, 3:, :-3]
    assert extract_patches(image, origins, size, out=out) is out
    assert same_bits(out, extract_patches(image, origins, size))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [301, 304])  # rows off and on the cache lines
def test_many_patches_are_written_past_the_caches(isa: Any, width: int) -> None:
    _kernels.isa(isa)
    image = np.random.default_rng(0).integers(0, 256, (300, 2000, 3), dtype=np.uint8).transpose(2, 0, 1)
    origins = [(-3, x) for x in range(-5, 2000, 100)]
    patches = extract_patches(image, origins, (280, width))  # 20 MB
    np.testing.assert_array_equal(patches, extracted(image, origins, (280, width)).astype(np.float32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_come_back_exactly(isa: Any, dtype: str) -> None:
    _kernels.isa(isa)
    values = np.arange(WHITE[dtype] + 1, dtype=dtype).reshape(1, -1, 256).repeat(3, 0)
    for image in (values, LAYOUTS["hwc"](values)):
        patch = extract_patches(image, [(0, 0)], values.shape[1:])
        np.testing.assert_array_equal(patch[0].numpy(), (values / WHITE[dtype]).astype(np.float32))
        back = np.zeros_like(image)
        ones = [np.ones((1, n), np.float32) for n in values.shape[1:]]
        blend_patches([patch], Axis([0], ones[0]), Axis([0], ones[1]), span=(0, values.shape[1]), out=back)
        np.testing.assert_array_equal(back, values)


def test_16_bit_floats_of_every_value() -> None:
    bits = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    patch = extract_patches(bits.view(np.float16), [(0, 0)], (256, 256))
    np.testing.assert_array_equal(patch[0].numpy(), bits.view(np.float16).astype(np.float32))
    brain = torch.from_numpy(bits.copy()).view(torch.bfloat16)
    finite = ~brain.isnan()
    assert extract_patches(brain, [(0, 0)], (256, 256))[0][finite].equal(brain.float()[finite])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_to_16_bits_is_that_of_torch(dtype: Any) -> None:
    bits = torch.arange(0, 2**32, 65521, dtype=torch.int64).to(torch.int32).view(torch.float32)
    near = torch.tensor([65504.0, 65519.9, 65520.0, 65536.0, 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, 2.0**-14, 0.0, -0.0])
    image = torch.cat([bits[~bits.isnan()], near, torch.tensor([torch.inf, -torch.inf])])[None, None]
    patch = extract_patches(image, [(0, 0)], image.shape[1:], dtype=dtype)
    assert same_bits(patch[0], image.to(dtype))
    assert extract_patches(torch.full((1, 1, 1), torch.nan), [(0, 0)], (1, 1), dtype=dtype).isnan().all()


def test_origins_may_be_at_any_distance() -> None:
    image = np.arange(35, dtype=np.uint8).reshape(1, 5, 7)
    patch = extract_patches(image, [(10 * 2**40, -14 * 2**40)], (5, 7))  # whole periods of the mirror
    np.testing.assert_array_equal(patch[0], extract_patches(image, [(0, 0)], (5, 7))[0])


def test_images_beyond_32_bit_offsets() -> None:
    stride = 2**31 + 64
    memory = np.empty(3 * stride, np.uint8)  # of which hardly a page is touched
    image = np.lib.stride_tricks.as_strided(memory, (1, 3, 64), (1, stride, 1))
    image[...] = np.arange(192, dtype=np.uint8).reshape(1, 3, 64)
    patch = extract_patches(image, [(0, 0)], (3, 64))
    np.testing.assert_array_equal(patch[0, 0] * 255, np.arange(192).reshape(3, 64))


# ---- blend_patches --------------------------------------------------------------------------------------------------


@many
@given(blends(), st.sampled_from(ISAS), st.sampled_from(list(FLOATS)))
def test_rows_are_the_weighted_sum(blend: Any, isa: Any, dtype: Any) -> None:
    _kernels.isa(isa)
    arguments, span, width = blend
    expected = blended(arguments, span, width)
    result = blend_patches(*arguments, span=span, width=width, dtype=dtype)
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=FLOATS[dtype], atol=4e-6)
    result = blend_patches(*arguments, span=span, width=width, dtype=dtype, clip=True)
    np.testing.assert_allclose(result.double().numpy(), expected.clip(0, 1), rtol=FLOATS[dtype], atol=4e-6)


@many
@given(
    blends(), st.sampled_from(ISAS), st.sampled_from(["uint8", "uint16"]), st.sampled_from(["plain", "hwc", "sliced"])
)
def test_integer_rows_are_rounded_and_clipped(blend: Any, isa: Any, dtype: Any, layout: Any) -> None:
    _kernels.isa(isa)
    arguments, span, width = blend
    expected = blended(arguments, span, width) * WHITE[dtype]
    out = LAYOUTS[layout](np.zeros(expected.shape, dtype))
    around = out.base.copy() if layout == "sliced" else None
    assert blend_patches(*arguments, span=span, out=out) is out
    error = np.abs(out - expected.clip(0, WHITE[dtype]))
    assert (error <= 0.5 + 2e-6 * WHITE[dtype]).all()
    if around is not None:  # nothing beside the view was written
        out[...] = 0
        np.testing.assert_array_equal(out.base, around)


@many
@given(blends(channels=[3], dtypes=[torch.float32]), st.sampled_from(ISAS), st.integers(0, 5))
def test_rgb_pixels_are_the_same_and_nothing_beside_them_is_written(blend: Any, isa: Any, margin: Any) -> None:
    _kernels.isa(isa)
    arguments, span, width = blend
    expected = blended(arguments, span, width) * 255
    around = np.full((span[1] - span[0], width + margin, 3), 77, np.uint8)
    out = blend_patches(*arguments, span=span, out=around[:, :width].transpose(2, 0, 1))
    assert (np.abs(out - expected.clip(0, 255)) <= 0.5 + 1e-3).all()
    assert (around[:, width:] == 77).all()


@some
@given(blends(), st.sampled_from([torch.uint8, torch.uint16, *FLOATS]))
def test_rows_are_the_same_bits_everywhere(blend: Any, dtype: Any) -> None:
    (tile_rows, *axes), span, width = blend
    tensors = [Axis(starts, torch.from_numpy(weights)) for starts, weights in axes]
    expected = blend_patches_reference(tile_rows, *tensors, span=span, width=width, dtype=dtype)
    for isa in ISAS:
        _kernels.isa(isa)
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            assert same_bits(blend_patches(*blend[0], span=span, width=width, dtype=dtype), expected)
        interleaved = torch.zeros((*expected.shape[1:], len(expected)), dtype=dtype).permute(2, 0, 1)
        assert same_bits(blend_patches(*blend[0], span=span, out=interleaved), expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("dtype", "channels"), [(torch.uint8, 3), (torch.uint8, 1), (torch.uint16, 3)])
def test_halves_round_to_even_and_nan_is_black(isa: Any, dtype: Any, channels: int) -> None:
    _kernels.isa(isa)
    white = 255 if dtype == torch.uint8 else 65535
    halves = (np.arange(200) + 0.5).astype(np.float32)
    exact = (halves / white).astype(np.float32)
    exact = exact[exact * np.float32(white) == halves]
    odd = np.array([np.nan, np.inf, -np.inf, -1, 2, 3e38, -0.0], np.float32)
    values = torch.from_numpy(np.concatenate([exact, odd]))
    expected = [*np.rint(exact * np.float32(white)).astype(int).tolist(), 0, white, 0, 0, white, white, 0]
    for weight in (1.0, 0.5):  # the way for one patch alone, and the sum
        tile = (values / weight).expand(1, channels, 1, -1).contiguous()
        rows, columns = (
            Axis([0], np.full((1, 1), weight, np.float32)),
            Axis([0], np.ones((1, values.numel()), np.float32)),
        )
        out = torch.zeros(1, values.numel(), channels, dtype=dtype).permute(2, 0, 1)
        blend_patches([tile], rows, columns, span=(0, 1), out=out)
        assert len(exact) > 20
        for plane in out:
            assert plane[0].tolist() == expected


def test_more_patches_on_a_pixel_than_the_fast_way_takes() -> None:
    tile_rows = [torch.rand(5, 3, 9, 21) for _ in range(6)]
    down, across = np.full((6, 9), 1 / 6, np.float32), np.full((5, 21), 1 / 5, np.float32)
    arguments = tile_rows, Axis([0] * 6, down), Axis([0, 1, 2, 3, 4], across)
    result = blend_patches(*arguments, span=(0, 9), out=np.zeros((9, 25, 3), np.uint8).transpose(2, 0, 1))
    expected = blended(arguments, (0, 9), 25)
    assert np.abs(result - expected * 255).max() <= 0.5 + 1e-3


def test_tiles_in_any_strides_and_halves_of_rows() -> None:
    half = torch.rand(2, 3, 40, 100)[:, :, ::2, ::2]
    rows, columns = Axis([0], np.ones((1, 20), np.float32)), Axis([0, 50], np.ones((2, 50), np.float32))
    result = blend_patches([half], rows, columns, span=(3, 17))
    assert result.equal(torch.cat([half[0], half[1]], 2)[:, 3:17])


def test_gpus_that_the_kernels_are_not_compiled_for_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.ops.native.devices", ("cpu", "cuda"))
    for capability, works in (((7, 5), False), ((8, 0), True), ((8, 9), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert is_native(torch.device("cuda", 0)) == works
    assert is_native(torch.device("cpu")) and not is_native(torch.device("meta"))


@some
@given(blends(), images())
def test_without_the_extension_plain_torch_gives_the_same(blend: Any, image: Any) -> None:
    arguments, span, width = blend
    native = blend_patches(*arguments, span=span, width=width), extract_patches(image, [(-3, 4)], (5, 6))
    out = np.zeros(native[0].shape, np.uint8)
    blend_patches(*arguments, span=span, out=out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pysr.ops.native.devices", ())
        assert same_bits(blend_patches(*arguments, span=span, width=width), native[0])
        assert same_bits(extract_patches(image, [(-3, 4)], (5, 6)), native[1])
        np.testing.assert_array_equal(blend_patches(*arguments, span=span, out=np.zeros_like(out)), out)


@some
@given(images())
def test_conversion_to_float_and_back_keeps_every_value(image: Any) -> None:
    floats = to_float(image)
    np.testing.assert_array_equal(floats.numpy(), widened(image).astype(np.float32))
    out = np.zeros(image.shape, image.dtype)
    assert from_float(floats, out) is out
    np.testing.assert_array_equal(out, image if image.dtype.name in WHITE else image.clip(0, 1))
