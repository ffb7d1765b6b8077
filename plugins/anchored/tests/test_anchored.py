"""A+: the network against plain NumPy, and the quality of fitted networks."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import pysr
import pysr_anchored.network
from pysr.errors import InputError
from pysr.evaluation.metrics import psnr
from pysr.evaluation.protocols import evaluate
from pysr.imaging.degrade import bicubic
from pysr.plugin import resize
from pysr.testing import measured_receptive_field, photo
from pysr.training import TrainingImage
from pysr_anchored.network import APlus
from pysr_anchored.train import _drawn, _kernel, fit

SET5 = Path(__file__).parents[4] / "shared" / "data" / "bench" / "Set5"
needs_set5 = pytest.mark.skipif(not SET5.is_dir(), reason="the benchmark set Set5 is not beside the project")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_network(scale: int, anchors: int = 12, features: int = 5) -> APlus:
    """A network of random weights, with residuals of a few gray levels."""
    generator = torch.Generator().manual_seed(scale)
    network = APlus(scale, anchors, features)
    network.kernel.normal_(generator=generator).div_(network.kernel[0].numel())
    network.anchors.normal_(generator=generator)
    network.anchors.div_(network.anchors.norm(dim=1, keepdim=True))
    network.regressors.copy_(torch.randn(network.regressors.shape, generator=generator))
    return network.eval()


def image(seed: int, scale: int, planes: int = 1, side: int = 96) -> TrainingImage:
    high = (torch.from_numpy(photo(side, side, seed)).permute(2, 0, 1)[:planes] * 255).round()
    return TrainingImage(high.to(torch.uint8), {scale: bicubic(high / 255, scale)})


def fitted(scale: int, *, seed: int = 0, anchors: int = 8, features: int = 12) -> APlus:
    network = APlus(scale, anchors, features)
    fit(network, [image(i, scale) for i in range(6)], scale, seed, lambda done, total: None)
    return network


def residuals_by_patch(network: APlus, patch: NDArray[np.float64]) -> NDArray[np.float64]:
    """(side + 4, side + 4) -> (side, side): the paper's formula for one patch."""
    features = (network.kernel[:, 0].numpy() * patch).sum((1, 2))
    similarity = np.abs(network.anchors.numpy() @ features)
    weights = np.maximum(similarity / similarity.max() - 0.9, 0)
    regressor = np.tensordot(weights / weights.sum(), network.regressors.numpy().astype(float), 1)
    found: NDArray[np.float64] = (features @ regressor).reshape(network.side, network.side)
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_network_is_the_mean_of_what_each_patch_says(scale: int) -> None:
    network, (rows, columns) = random_network(scale), (4, 3)
    enlarged = np.random.default_rng(0).random((rows * scale, columns * scale))
    around = np.pad(enlarged, 2 * scale + 2, mode="edge")
    total = np.zeros(((rows + 4) * scale, (columns + 4) * scale))
    for top, left in product(range(0, (rows + 2) * scale, scale), range(0, (columns + 2) * scale, scale)):
        patch = around[top : top + network.side + 4, left : left + network.side + 4]
        total[top : top + network.side, left : left + network.side] += residuals_by_patch(network, patch)
    expected = enlarged + total[2 * scale : -2 * scale, 2 * scale : -2 * scale] / 9
    output = network(torch.from_numpy(enlarged).float()[None, None])[0, 0].numpy()
    assert np.abs(expected - enlarged).max() > 1e-3
    np.testing.assert_allclose(output, expected, atol=1e-6)


def gradient_patches(plane: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """(H, W) -> (n, 4 * side * side): the gradients of each patch two pixels from the border, a cell apart."""
    inner = plane[2:-2, 2:-2]
    across, down = plane[2:-2], plane[:, 2:-2]
    gradients = np.stack(
        [
            across[:, 3:-1] - across[:, 1:-3],
            down[3:-1] - down[1:-3],
            across[:, :-4] / 2 - inner + across[:, 4:] / 2,
            down[:-4] / 2 - inner + down[4:] / 2,
        ]
    )
    side = 3 * scale
    height, width = inner.shape
    places = product(range(0, height - side + 1, scale), range(0, width - side + 1, scale))
    return np.stack([gradients[:, y : y + side, x : x + side].ravel() for y, x in places])


def test_features_are_principal_components_of_gradients() -> None:
    scale, truth = 3, image(0, 3)  # the first image is not rotated
    network = APlus(scale, 4, 4)
    network.kernel.copy_(_kernel(network, [truth], torch.Generator().manual_seed(0)))
    plane = resize(truth.low[scale], scale)[0].double().numpy()
    patches = gradient_patches(plane[4:-4, 4:-4], scale)  # two cells from the border, but for the margin
    _, vectors = np.linalg.eigh(patches.T @ patches)
    expected = patches @ vectors[:, ::-1][:, :4]
    found = network.features(torch.from_numpy(plane[4:-4, 4:-4]).float()[None, None])[0].flatten(1).T.numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3 * np.abs(expected).max())


def test_eight_copies_of_an_image_show_all_its_directions() -> None:
    truth, seen = image(0, 2), []

    def whole(enlarged: Tensor, residual: Tensor) -> tuple[Tensor]:
        seen.append(enlarged + residual)
        return (torch.zeros(42 * 42),)

    list(_drawn(APlus(2, 8, 12), [truth] * 8, 1, whole, torch.Generator().manual_seed(0)))
    inner = truth.high[:, 2:-2, 2:-2] / 255
    wanted = [planes.rot90(k, (-2, -1)) for planes in (inner, inner.mT) for k in range(4)]
    for planes in wanted:
        assert sum(torch.allclose(planes, found, atol=1e-6) for found in seen) == 1


@pytest.mark.parametrize(("scale", "gain"), [(2, 3.0), (3, 0.8)])  # in dB
def test_fitted_to_a_few_images_it_beats_bicubic_on_others(scale: int, gain: float) -> None:
    network = fitted(scale)
    for seed in (20, 21, 22):
        other = image(seed, scale)
        enlarged = resize(other.low[scale], scale)
        better = network(enlarged[None])[0]
        before, after = (psnr(planes, other.high / 255, shave=scale) for planes in (enlarged, better))
        assert after > before + gain


def test_one_seed_gives_the_same_numbers() -> None:
    one, two, other = (fitted(2, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not torch.equal(one["anchors"], other["anchors"])


def test_progress_ends_at_its_total() -> None:
    seen: list[tuple[int, int]] = []
    fit(APlus(2, 8, 12), [image(i, 2) for i in range(4)], 2, 0, lambda *now: seen.append(now))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert {done[-1]} == set(totals)


def test_images_that_cannot_be_used_are_refused() -> None:
    def refused(*images: TrainingImage) -> None:
        fit(APlus(2, 8, 12), images, 2, 0, lambda done, total: None)

    with pytest.raises(InputError, match="fitted to luma, but an image has 3 channels; give images with one"):
        refused(image(0, 2), image(0, 2, planes=3))
    with pytest.raises(InputError, match=r"give \d{3} patches that are not flat, too few .* more or larger images"):
        refused(image(0, 2, side=40), image(0, 2, side=8))  # the second has no patch at all
    flat = torch.full((1, 300, 300), 128, dtype=torch.uint8)
    with pytest.raises(InputError, match="give 0 patches that are not flat"):
        refused(TrainingImage(flat, {2: bicubic(flat / 255, 2)}))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_give_what_the_whole_image_gives(scale: int) -> None:
    whole, patched = (pysr.load("aplus", scale, device="cpu", tiling=pysr.Tiling(patch)) for patch in ("auto", 1))
    for seed in range(3):
        image = photo(90, 120, seed)
        assert np.abs(whole.upscale(image) - patched.upscale(image)).max() <= 1e-5


def test_rows_in_memory_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, planes = random_network(2), torch.rand(2, 1, 31, 30, generator=torch.Generator().manual_seed(0))
    whole = network(planes)
    monkeypatch.setattr(pysr_anchored.network, "CHUNK", 1)
    torch.testing.assert_close(network(planes), whole, atol=1e-6, rtol=0)


def test_rounding_does_not_choose_the_anchor() -> None:
    network = random_network(2, anchors=3)
    network.anchors[1:] = network.anchors[0]  # equally near, with the opposite residual
    network.regressors[1:] = -network.regressors[0]
    planes = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    expected = network(planes)
    network.anchors[0] *= 1 - 1e-6
    torch.testing.assert_close(network(planes), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_receptive_field_is_two_cells_and_the_gradients(scale: int) -> None:
    reach = 3 * scale + 1
    assert max(measured_receptive_field(random_network(scale), 1, 1, reach + shift) for shift in range(scale)) == reach


def test_it_computes_in_float32_where_bfloat16_is_asked_for() -> None:
    image = photo(20, 24)
    reduced, exact = (pysr.load("aplus", 2, device="cpu", precision=name) for name in ("bfloat16", "float32"))
    assert reduced.precision == "float32"
    assert np.array_equal(reduced.upscale(image), exact.upscale(image))


@needs_set5
def test_set5_is_at_the_level_of_the_paper() -> None:
    (evaluation,) = evaluate(["aplus"], SET5, [2, 3, 4])
    paper = [36.54, 32.59, 30.28]
    assert all(result.psnr >= published for result, published in zip(evaluation.results, paper, strict=True))


@pytest.mark.parametrize("sides", [(24, 36), (17, 31)])
def test_the_form_for_graphs_computes_the_same(monkeypatch: pytest.MonkeyPatch, sides: tuple[int, int]) -> None:
    network, enlarged = random_network(3), torch.from_numpy(photo(*sides))[None, None, :, :, 0]
    wanted = network(enlarged)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert (network(enlarged) - wanted).abs().max() < 1e-5
