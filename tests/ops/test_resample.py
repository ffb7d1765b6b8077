"""The resampling kernel against `resize`, the reference in PyTorch, to the bit; and the path of an image through it."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pysr
from pysr.errors import InputError
from pysr.imaging.resize import resize
from pysr.ops.patches import from_float, to_float
from pysr.ops.resample import enlarge, enlarged
from pysr.testing import photo
from pysr.upscaling import tiling

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")

ISAS = _kernels.isas()
KERNELS = ("nearest", "bicubic", "lanczos")
DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)


@pytest.fixture(autouse=True)
def fastest_isa_and_two_threads() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    _kernels.isa(ISAS[0])


def noise(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    random = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2
    if dtype.is_floating_point:
        return random.to(dtype)
    white = 255 if dtype == torch.uint8 else 65535
    return (random * white).clamp(0, white).to(torch.int32).to(dtype)


def expected(image: Tensor, scale: int, kernel: str, dtype: torch.dtype, *, clip: bool = True) -> Tensor:
    planes = resize(to_float(image), scale, kernel=kernel)
    return from_float(planes, torch.empty(planes.shape, dtype=dtype), clip=clip)


def laid_out(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> Tensor:
    """An empty image in planes, in pixels, or in pixels with a channel more than it uses."""
    channels, height, width = shape
    if layout == "planes":
        return torch.empty(shape, dtype=dtype)
    beside = channels + (layout == "part of pixels")
    return torch.empty(height, width, beside, dtype=dtype).permute(2, 0, 1)[:channels]


def same_bits(a: Tensor, b: Tensor) -> bool:
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[a.element_size()]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(whole), b.contiguous().view(whole))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["planes", "pixels", "part of pixels"])
def test_every_scale_and_kernel_has_the_bits_of_resize(isa: str, dtype: torch.dtype, layout: str) -> None:
    _kernels.isa(isa)
    for kernel, scale, channels in itertools.product(KERNELS, (1, 2, 3, 4, 5, 8), (1, 3)):
        image = laid_out((channels, 5, 43), dtype, layout).copy_(noise((channels, 5, 43), dtype))
        out = laid_out((channels, 5 * scale, 43 * scale), dtype, layout)
        enlarge(image, scale, kernel, out)
        assert same_bits(out, expected(image, scale, kernel, dtype)), (kernel, scale, channels)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    isa=st.sampled_from(ISAS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 700)),
    scale=st.integers(1, 8),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    layouts=st.tuples(*[st.sampled_from(["planes", "pixels", "part of pixels"])] * 2),
    kernel=st.sampled_from(KERNELS),
    clip=st.booleans(),
    threads=st.integers(1, 3),
)
def test_any_image_into_any_other(
    isa: str,
    shape: tuple[int, int, int],
    scale: int,
    dtypes: tuple[torch.dtype, torch.dtype],
    layouts: tuple[str, str],
    kernel: str,
    clip: bool,
    threads: int,
) -> None:
    _kernels.isa(isa)
    torch.set_num_threads(threads)
    image = laid_out(shape, dtypes[0], layouts[0]).copy_(noise(shape, dtypes[0]))
    out = laid_out((shape[0], shape[1] * scale, shape[2] * scale), dtypes[1], layouts[1])
    enlarge(image, scale, kernel, out, clip=clip)
    assert same_bits(out, expected(image, scale, kernel, dtypes[1], clip=clip))


@pytest.mark.parametrize("isa", ISAS)
def test_rows_in_bands_and_views_of_any_strides(isa: str) -> None:
    _kernels.isa(isa)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 4), dtype=np.uint8)
    views = (pixels.transpose(2, 0, 1)[:3, ::-1, ::2], np.broadcast_to(pixels[:1, :, 0], (3, 300, 500)))
    for view in views:
        planes = np.ascontiguousarray(view)
        whole = np.empty((3, 600, 2 * view.shape[2]), np.uint8)
        enlarge(planes, 2, "bicubic", whole)
        result = np.zeros((600, 2 * view.shape[2], 3), np.uint8)
        for first in range(0, 300, 70):
            part = result[2 * first : 2 * (first + 70)].transpose(2, 0, 1)
            enlarge(view, 2, "bicubic", part, first_row=first)
        assert np.array_equal(result.transpose(2, 0, 1), whole)


def test_nan_and_infinity_stay_in_their_neighbourhood() -> None:
    image = torch.full((1, 9, 40), 0.5)
    image[0, 4, 10], image[0, 4, 30] = torch.nan, torch.inf
    out = torch.empty(1, 18, 80)
    enlarge(image, 2, "bicubic", out)
    assert torch.equal(out.isnan(), resize(image, 2).isnan())
    levels = torch.empty(1, 18, 80, dtype=torch.uint8)
    enlarge(image, 2, "bicubic", levels)
    assert levels[out.isnan()].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_and_float64_are_left_to_resize(dtype: torch.dtype) -> None:
    low = torch.rand(2, 3, 6, 7, dtype=dtype, requires_grad=True)
    assert torch.equal(enlarged(low, 3), resize(low, 3))
    enlarged(low, 3).sum().backward()
    assert low.grad is not None
    with torch.no_grad():
        assert torch.equal(enlarged(low, 3), resize(low, 3))


IMAGE = np.zeros((3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": IMAGE[0]}, "channels, height, width"),
        ({"image": IMAGE.astype(np.float64)}, "uint8, uint16, float16 or float32"),
        ({"out": np.zeros((3, 16, 15), np.uint8)}, r"asks for \(3, 2 \* rows, 16\)"),
        ({"out": np.zeros((3, 15, 16), np.uint8)}, r"asks for \(3, 2 \* rows, 16\)"),
        ({"out": np.zeros((1, 16, 16), np.uint8)}, r"asks for \(3, 2 \* rows, 16\)"),
        ({"first_row": 1}, "rows 1 to 9 are asked for; the image has 8"),
        ({"first_row": -1}, "rows -1 to 7"),
        ({"out": np.broadcast_to(IMAGE[:, :1, :1], (3, 16, 16))}, "read-only"),
        ({"weights": torch.ones(2, 9)}, "1 to 16 rows of 1 to 8 taps"),
        ({"weights": torch.ones(2)}, "weights must have shape"),
        ({"weights": torch.ones(2, 2).double()}, "uint8, uint16, float16, bfloat16 or float32"),
        ({"weights": torch.tensor([[1.0, 0], [0, 1]]), "offsets": [0] * 4}, "begin with one other than zero"),
        ({"offsets": [0]}, "offsets must be 2 numbers; got 1"),
        ({"offsets": [0, 9]}, "within 8 pixels; got 9"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_what_cannot_be_enlarged(change: dict[str, Any], message: str) -> None:
    arguments = {
        "image": IMAGE,
        "offsets": [0, 0],
        "weights": torch.ones(2, 1),
        "first_row": 0,
        "clip": True,
        "out": np.zeros((3, 16, 16), np.uint8),
        "threads": 1,
    }
    with pytest.raises(InputError, match=message):
        _kernels.enlarge(**arguments | change)


def test_output_must_not_share_memory_with_the_image() -> None:
    memory = np.zeros((3, 24, 16), np.uint8)
    with pytest.raises(InputError, match="out shares memory with image"):
        enlarge(memory[:, 4:12, :8], 2, "bicubic", memory[:, :16])


# ---- through the upscaler --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["bicubic", "lanczos+nearest"])
def test_an_image_that_is_only_resampled_equals_its_patches(model: str) -> None:
    scale = 4 if "+" in model else 3
    for image in (photo(70, 90), (photo(70, 90, seed=1) * 255).astype(np.uint8), photo(70, 90)[..., 0]):
        by_patches = pysr.load(model, scale, tiling=pysr.Tiling(24)).upscale(image)
        assert np.array_equal(pysr.load(model, scale).upscale(image), by_patches)


def test_it_reports_progress_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "RESAMPLED", 10_000)
    image, seen = photo(50, 60), list[tuple[int, int]]()
    up = pysr.load("bicubic", 2)
    result = up.upscale(image, progress=lambda *now: seen.append(now))
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)] and len(seen) > 3
    assert np.array_equal(result, pysr.load("bicubic", 2, tiling=pysr.Tiling(32)).upscale(image))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        up.upscale(image, progress=stop)
