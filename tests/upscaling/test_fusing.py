"""Networks whose convolutions also normalise, activate and add: the same numbers, by fewer layers."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pysr
from pysr.upscaling.fusing import FusedConv, fused
from pysr.upscaling.runner import PreparedNetwork

CPU = torch.device("cpu")
PROBE = (3, 16, 12)
DTYPES = [torch.float32, torch.bfloat16]

pytestmark = pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="convolutions are fused on x86 CPUs"
)


class Branches(nn.Module):
    """Everything that can be fused, and what looks like it but cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="replicate"), nn.PReLU())
        self.norm = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.leaky = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.LeakyReLU(0.2))
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.PReLU(16))  # a slope for each channel
        self.narrow, self.twice, self.smaller = (
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 8, 1),
            nn.Conv2d(8, 8, 2, 2),
        )
        self.grouped, self.last = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 3, 5, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        first = self.head(image)
        planes = first + self.leaky(self.norm(first))
        planes = self.narrow(self.wide(planes)) + planes
        planes = torch.add(planes, self.twice(self.twice(planes)).relu(), alpha=0.5)
        small = functional.relu(self.smaller(planes))
        planes = self.grouped(planes) + functional.interpolate(small, size=planes.shape[2:])
        return image + self.last(planes)


class ByShape(nn.Module):
    """A network whose layers depend on the size of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image) if image.shape[2] % 2 else self.conv(self.conv(image))


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build().eval().requires_grad_(False)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)
    return network


def convolutions(network: nn.Module) -> int:
    return sum(isinstance(layer, FusedConv) for layer in network.modules())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_computes_the_same(dtype: torch.dtype) -> None:
    network = seeded(Branches)
    prepared = PreparedNetwork(network, CPU, dtype, PROBE)
    assert convolutions(prepared._fast) == 7  # all but that in groups and that used twice
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in prepared._fast.modules())
    for shape in ((1, 3, 16, 12), (2, 3, 22, 38)):
        image = torch.rand(shape)
        with torch.inference_mode():
            exact = network(image)
        off = (prepared(image) - exact).abs().max()
        assert off < (1e-6 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("another", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_compute_the_same(another: Callable[[PreparedNetwork], PreparedNetwork], dtype: torch.dtype) -> None:
    prepared, image = PreparedNetwork(seeded(Branches), CPU, dtype, PROBE), torch.rand(1, *PROBE)
    expected = prepared(image)
    assert torch.equal(another(prepared)(image), expected)


def test_a_network_that_cannot_be_followed_stays_as_it_is() -> None:
    network, image = seeded(ByShape), torch.rand(1, 3, 16, 15)
    assert fused(network, torch.float32, PROBE) is None
    assert torch.allclose(PreparedNetwork(network, CPU, torch.float32, PROBE)(image), network(image), atol=1e-6)
    assert "forward" not in vars(network.conv)


def test_a_network_that_would_compute_something_else_stays_as_it_is() -> None:
    class Unlike(ByShape):
        def forward(self, image: Tensor) -> Tensor:
            return self.conv(image) * (1 if isinstance(image, Tensor) else 2)

    assert fused(seeded(Unlike), torch.float32, PROBE) is None


def test_networks_in_other_threads_are_not_disturbed() -> None:
    class Busy(ByShape):
        def forward(self, image: Tensor) -> Tensor:
            with ThreadPoolExecutor() as pool:
                outputs.append(pool.submit(nn.Conv2d(3, 3, 1), torch.rand(1, 3, 4, 4)).result())
            return self.conv(image)

    outputs: list[object] = []
    assert fused(seeded(Busy), torch.float32, PROBE) is not None
    assert outputs
    assert all(isinstance(output, Tensor) for output in outputs)


@pytest.mark.parametrize(("model", "count"), [("vdsr", 20), ("srcnn", 3), ("srresnet", 36), ("photo", 36)])
def test_models_are_fused(model: str, count: int) -> None:
    upscaler = pysr.load(model, device="cpu", backend="torch")
    assert convolutions(upscaler._stages[0].stage.runner._fast) == count
