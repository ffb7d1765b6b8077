"""The native sampler on a CUDA device against the one on the processor."""

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

import pysr
from pysr.errors import InputError
from pysr.ops.pixelcnn import KnownPixels, NoiseSource, PixelCNNSampler

_kernels = pytest.importorskip("pysr._kernels")
prior = pytest.importorskip("pysr_pixelcnn.prior")

needs_cuda = pytest.mark.skipif(
    not (torch.cuda.is_available() and _kernels.cuda), reason="needs a CUDA GPU and a build for it"
)
SIZES = [(3, 64, 20, 1024), (3, 20, 2, 50), (1, 16, 3, 32)]


def samplers(planes: int, channels: int, layers: int, hidden: int) -> tuple[PixelCNNSampler, PixelCNNSampler]:
    """Of the same weights, with logits as far apart as those of a trained prior: on the processor and on CUDA."""
    torch.manual_seed(0)
    network = prior.Prior(planes, channels, layers, hidden)
    network.answer.weight.data.mul_(20)
    weights = prior.masked(network)
    weights |= {"condition.weight": torch.randn(planes * 256, 5, 1, 1), "condition.bias": torch.randn(planes * 256)}
    return PixelCNNSampler(weights), PixelCNNSampler(weights, device="cuda")


def given(sampler: PixelCNNSampler, count: int, height: int, width: int) -> tuple[Any, torch.Tensor]:
    random = np.random.default_rng(height * width)
    images = random.integers(0, 256, (count, height, width, sampler.planes), dtype=np.uint8)
    return images, torch.from_numpy(random.normal(size=(count, height, width, 5)).astype(np.float32))


@pytest.mark.skipif(_kernels.cuda, reason="this build has CUDA kernels")
def test_a_build_without_cuda_refuses() -> None:
    numbers = {name: value.numpy() for name, value in prior.masked(prior.Prior(1, 16, 1, 16)).items()}
    sizes = {"planes": 1, "channels": 16, "layers": 1, "hidden": 16, "features": 0}
    with pytest.raises(InputError, match="no CUDA kernels; draw images with device='cpu'"):
        _kernels.PixelCNN(numbers, **sizes, reduced=False, device=0)


def test_other_devices_are_refused() -> None:
    weights = prior.masked(prior.Prior(1, 16, 1, 16))
    for device in ("meta", "gpu", "cuda:77"):
        with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
            PixelCNNSampler(weights, device=device)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "-".join(map(str, sizes)))
@pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (3, 5, 7), (300, 8, 8), (1, 1, 1), (2, 3, 300)])
def test_cuda_gives_the_processors_logits(sizes: tuple[int, ...], count: int, height: int, width: int) -> None:
    cpu, cuda = samplers(*sizes)
    images, features = given(cpu, count, height, width)
    expected, found = cpu.logits(images, features), cuda.logits(torch.from_numpy(images).cuda(), features.cuda())
    assert isinstance(found, torch.Tensor) and found.is_cuda
    assert np.abs(expected - found.cpu().numpy()).max() < 1e-4
    nats = cpu.log_likelihood(images, features), cuda.log_likelihood(images, features)
    assert np.allclose(*nats, rtol=1e-6, atol=1e-3)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_cuda_draws_what_the_processor_would(temperature: float) -> None:
    """Each sub-pixel by itself: all but one are kept, at random places of many images."""
    cpu, cuda = samplers(*SIZES[1])
    images, features = given(cpu, 4000, 4, 5)
    mask = np.ones(images.shape, bool)
    mask.reshape(4000, -1)[np.arange(4000), np.random.default_rng(0).integers(0, images[0].size, 4000)] = False
    options: dict[str, Any] = {
        "known": KnownPixels(torch.from_numpy(images), torch.from_numpy(mask)),
        "seed": 2**63 + 5,
        "temperature": temperature,
    }
    expected = cpu.sample(4000, (4, 5), features=features, **options)
    found = cuda.sample(4000, (4, 5), features=features.cuda(), **options)
    assert isinstance(found, torch.Tensor) and found.is_cuda
    assert np.array_equal(found.cpu().numpy()[mask], images[mask])
    assert (found.cpu().numpy()[~mask] == expected[~mask]).mean() >= 0.999
    assert (found.cpu().numpy()[~mask] != images[~mask]).mean() > 0.9


@pytest.mark.cuda
@needs_cuda
def test_cuda_images_do_not_depend_on_their_company() -> None:
    cuda = samplers(*SIZES[1])[1]
    features = given(cuda, 1500, 8, 9)[1].cuda()
    together = cuda.sample(1500, (8, 9), features=features, seed=3)
    for order in ([7], [1400, 2, 31], list(range(300, 100, -1))):
        found = cuda.sample(len(order), (8, 9), features=features[order], seed=3, noise=NoiseSource(image_ids=order))
        assert torch.equal(found, together[order]), order


@pytest.mark.cuda
@needs_cuda
def test_cuda_takes_noise_and_shared_features() -> None:
    cpu, cuda = samplers(*SIZES[2])
    features = given(cpu, 1, 6, 6)[1]
    noise = -np.log(-np.log(np.random.default_rng(1).uniform(0.01, 0.99, (4, 36, 256)))).astype(np.float32)
    expected = cpu.sample(4, (6, 6), features=features, noise=NoiseSource(values=noise))
    assert (
        cuda.sample(4, (6, 6), features=features.cuda(), noise=NoiseSource(values=noise)).cpu().numpy() == expected
    ).mean() >= 0.99


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize(("count", "side"), [(5000, 64), (1, 1000)])
def test_ctrl_c_stops_cuda(count: int, side: int) -> None:
    cuda = samplers(*SIZES[0])[1]
    features = torch.zeros(1, side, side, 5, device="cuda")
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.3, press).start()
    with pytest.raises(KeyboardInterrupt):
        cuda.sample(count, (side, side), features=features)
    assert time.perf_counter() - pressed[0] < 1  # 0.2 s where nothing else runs


@pytest.mark.cuda
@needs_cuda
def test_cuda_refuses_what_lies_elsewhere_or_is_no_number() -> None:
    cuda = samplers(*SIZES[2])[1]
    with pytest.raises(InputError, match="features must hold finite floats"):
        cuda.sample(1, (6, 6), features=torch.full((1, 6, 6, 5), torch.inf, device="cuda"))
    with pytest.raises(InputError, match="on a CUDA device the sampler computes in 'float32'"):
        PixelCNNSampler({}, precision="bfloat16", device="cuda")


@pytest.mark.cuda
@needs_cuda
def test_the_model_draws_on_cuda() -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    large = pysr.load("pixelcnn", device="cuda").upscale(small, seed=0)
    assert large.shape == (32, 32, 3) and len(np.unique(large)) > 20
