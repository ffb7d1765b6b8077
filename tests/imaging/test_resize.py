"""Resizing against an independent MATLAB imresize, and the same pixels from every window."""

from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pysr.imaging.resize import resize

SET5 = Path(__file__).parents[3] / "shared" / "data" / "bench" / "Set5"
SIDES = st.integers(1, 40)
SCALES = st.one_of(
    st.integers(1, 8), st.builds(Fraction, st.integers(1, 12), st.integers(1, 12)), st.just(Fraction(1, 50))
)


def cubic(x: NDArray[Any]) -> NDArray[Any]:
    x = np.abs(x)
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x <= 2, outer, 0))


def lanczos(x: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def nearest(x: NDArray[Any]) -> NDArray[Any]:
    return ((x >= -0.5) & (x < 0.5)).astype(float)


KERNELS = {"bicubic": (cubic, 4), "lanczos": (lanczos, 6), "nearest": (nearest, 1)}


def matrix(n_in: int, n_out: int, scale: float, kernel: str) -> NDArray[Any]:
    """The (n_out, n_in) matrix of MATLAB's "contributions": counted from one, as there."""
    function, width = KERNELS[kernel]
    shrink = min(scale, 1.0) if kernel != "nearest" else 1.0
    u = np.arange(1, n_out + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = np.floor(u - width / shrink / 2)[:, None] + np.arange(ceil(width / shrink) + 2)
    weights = function((u[:, None] - taps) * shrink)
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.r_[:n_in, n_in - 1 : -1 : -1][(taps.astype(int) - 1) % (2 * n_in)]
    total = np.zeros((n_out, n_in))
    np.add.at(total, (np.arange(n_out)[:, None], mirrored), weights)
    return total


def imresize(image: NDArray[Any], size: tuple[int, int], scale: tuple[float, float], kernel: str) -> NDArray[Any]:
    rows, columns = (matrix(n, m, s, kernel) for n, m, s in zip(image.shape, size, scale, strict=True))
    return rows @ image @ columns.T


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 1, (height, width))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(height=SIDES, width=SIDES, scale=SCALES, kernel=st.sampled_from(["bicubic", "lanczos"]))
def test_resize_is_imresize(height: int, width: int, scale: int | Fraction, kernel: str) -> None:
    image = noise(height, width)
    size = ceil(height * scale), ceil(width * scale)
    expected = imresize(image, size, (float(scale),) * 2, kernel)
    found = resize(torch.from_numpy(image), scale, kernel=kernel).numpy()
    assert found.shape == size
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(height=SIDES, width=SIDES, size=st.tuples(SIDES, SIDES), kernel=st.sampled_from(["bicubic", "lanczos"]))
def test_resize_to_a_size_is_imresize(height: int, width: int, size: tuple[int, int], kernel: str) -> None:
    image = noise(height, width)
    expected = imresize(image, size, (size[0] / height, size[1] / width), kernel)
    np.testing.assert_allclose(
        resize(torch.from_numpy(image), shape=size, kernel=kernel).numpy(), expected, rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("scale", range(1, 9))
def test_nearest_repeats_every_pixel(scale: int) -> None:
    image = torch.from_numpy(noise(5, 7))
    repeated = image.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    assert torch.equal(resize(image, scale, kernel="nearest"), repeated)
    assert torch.equal(resize(repeated, Fraction(1, scale), kernel="nearest"), image)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    height=SIDES,
    width=st.integers(1, 70),
    scale=st.integers(1, 8),
    kernel=st.sampled_from([("nearest", 0), ("bicubic", 2), ("lanczos", 3)]),
    data=st.data(),
)
def test_every_window_gives_the_same_pixels(
    height: int, width: int, scale: int, kernel: tuple[str, int], data: st.DataObject
) -> None:
    """Bit by bit: the enlarged window is the window of the enlarged image, but for what reaches beyond its sides."""
    name, reach = kernel
    image = torch.from_numpy(noise(height, width)).float()[None]
    rows, columns = (
        sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2).filter(lambda p: p[0] < p[1]))) for n in (height, width)
    )
    whole = resize(image, scale, kernel=name)
    part = resize(image[:, slice(*rows), slice(*columns)], scale, kernel=name)
    inside = [
        (a + (reach if a else 0), b - (reach if b < n else 0)) for (a, b), n in ((rows, height), (columns, width))
    ]
    (top, bottom), (left, right) = inside
    if top < bottom and left < right:
        expected = whole[:, top * scale : bottom * scale, left * scale : right * scale]
        found = part[:, (top - rows[0]) * scale : (bottom - rows[0]) * scale]
        assert torch.equal(found[..., (left - columns[0]) * scale : (right - columns[0]) * scale], expected)


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 4), Fraction(3, 4), Fraction(3, 2), 3])
def test_nearest_is_imresize_where_two_pixels_are_as_near(scale: int | Fraction) -> None:
    image = noise(9, 14)
    size = ceil(9 * scale), ceil(14 * scale)
    expected = imresize(image, size, (float(scale),) * 2, "nearest")
    np.testing.assert_array_equal(resize(torch.from_numpy(image), scale, kernel="nearest").numpy(), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_flat_image_stays_flat(kernel: str) -> None:
    for scale in (3, Fraction(1, 3), Fraction(5, 7)):
        flat = resize(torch.full((9, 11), 0.3, dtype=torch.float64), scale, kernel=kernel)
        torch.testing.assert_close(flat, torch.full_like(flat, 0.3), rtol=0, atol=1e-14)


def test_leading_axes_dtype_and_strides_are_kept() -> None:
    batch = torch.from_numpy(noise(24, 35).reshape(2, 3, 4, 35))
    big = resize(batch, 2)
    assert big.shape == (2, 3, 8, 70)
    assert torch.equal(big[1, 2], resize(batch[1, 2], 2))
    assert torch.equal(resize(batch.transpose(-1, -2), 2), resize(batch.transpose(-1, -2).contiguous(), 2))
    assert resize(batch.float(), 2).dtype == torch.float32
    assert resize(batch, 1).equal(batch)


def test_the_image_given_is_unchanged() -> None:
    image = torch.from_numpy(noise(6, 6))
    before = image.clone()
    resize(image, 1).zero_()
    assert torch.equal(image, before)


def test_resize_carries_gradients() -> None:
    image = torch.from_numpy(noise(4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, 2), (image,))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"scale": 2, "kernel": "sinc"}, "unknown resize kernel 'sinc'; use one of nearest, bicubic, lanczos"),
        ({}, "either scale= or shape="),
        ({"scale": 2, "shape": (8, 8)}, "either scale= or shape="),
        ({"scale": 0}, "resize to 0 x 0 pixels; give a positive"),
        ({"scale": Fraction(-1, 2)}, "resize to -2 x -2 pixels"),
        ({"shape": (0, 4)}, "resize to 4 x 0 pixels"),
        ({"shape": (4, -4)}, "resize to -4 x 4 pixels"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        resize(torch.zeros(4, 4), **arguments)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 0)])
def test_an_empty_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="empty image"):
        resize(torch.zeros(shape), 2)


def test_lanczos_is_pillows_away_from_the_border() -> None:
    image = noise(30, 40).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((120, 90), Image.Resampling.LANCZOS))
    found = resize(torch.from_numpy(image), 3, kernel="lanczos").numpy()
    np.testing.assert_allclose(found[12:-12, 12:-12], expected[12:-12, 12:-12], atol=1e-5)


@pytest.mark.skipif(not SET5.is_dir(), reason="the test images of Set5 are not here")
def test_bicubic_reaches_the_published_figures_on_set5() -> None:
    from pysr import evaluate

    (evaluation,) = evaluate(["bicubic"], SET5, [2, 3, 4])
    assert [result.psnr for result in evaluation.results] == pytest.approx([33.661, 30.392, 28.421], abs=0.005)
