"""Networks in low precision: nearly the same numbers, and an input that is never rounded."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from pysr import InputError
from pysr.ops.hardware import PRECISIONS, choose_device, choose_precision
from pysr.upscaling.runner import PreparedNetwork, input_readers
from pysr.upscaling.unrounded import keep_unrounded

CPU = torch.device("cpu")
PROBE = (1, 16, 16)


class Residual(nn.Module):
    """VDSR in small: the input plus what convolutions make of it."""

    def __init__(self, depth: int = 6, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        return planes + 0.1 * self.residual(planes)


class Everything(nn.Module):
    """Layers of many kinds, three planes in, twice the size out."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(
            nn.BatchNorm2d(8), nn.PReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.GroupNorm(2, 8), nn.GELU()
        )
        self.norm, self.mix = nn.LayerNorm(8), nn.Linear(8, 8)
        self.up = nn.ConvTranspose2d(8, 12, 2, stride=2)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, planes: Tensor) -> Tensor:
        x = self.head(planes)
        x = x + self.body(x)
        x = self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return torch.sigmoid(nn.functional.interpolate(planes, scale_factor=2.0) + self.gain * self.up(x)[:, :3])


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def image(channels: int = 1, count: int = 1, side: int = 24) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def difference(network: nn.Module, planes: Tensor, dtype: torch.dtype = torch.bfloat16) -> float:
    with torch.inference_mode():
        expected = copy.deepcopy(network).eval()(planes)
    runner = PreparedNetwork(network, CPU, dtype, (planes.shape[1], 16, 16))
    return float((runner(planes) - expected).abs().max())


@pytest.mark.parametrize(("build", "channels"), [(Residual, 1), (Everything, 3)])
def test_bfloat16_is_close_to_float32(build: Callable[[], nn.Module], channels: int) -> None:
    network = seeded(build)
    assert difference(network, image(channels, 2), torch.float32) <= 1e-6
    assert 0 < difference(network, image(channels, 2)) < 0.02


def test_the_runner_gives_float32() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        output = PreparedNetwork(seeded(Residual), CPU, dtype, PROBE)(image().double())
        assert (output.dtype, output.device, output.requires_grad) == (torch.float32, CPU, False)


def untouched(network: nn.Module, before: nn.Module) -> bool:
    numbers = zip(network.state_dict().values(), before.state_dict().values(), strict=True)
    same = all(torch.equal(a, b) for a, b in numbers)
    kinds = [type(layer) for layer in network.modules()] == [type(layer) for layer in before.modules()]
    states = [(p.dtype, p.requires_grad, p.is_contiguous()) for p in network.parameters()]
    return same and kinds and states == [(p.dtype, p.requires_grad, p.is_contiguous()) for p in before.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_given_network_is_left_unchanged(dtype: torch.dtype) -> None:
    network = seeded(Everything).train()
    before = copy.deepcopy(network)
    PreparedNetwork(network, CPU, dtype, (3, 16, 16))(image(3))
    assert network.training
    assert untouched(network, before)


def test_finding_the_readers_leaves_the_network_unchanged() -> None:
    network = seeded(lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))).train()
    before = copy.deepcopy(network)
    assert input_readers(network, (3, 8, 8)) == ["0"]
    assert network.training
    assert untouched(network, before)  # running means too


def test_the_skip_keeps_what_bfloat16_cannot_hold() -> None:
    network = seeded(Residual)
    nn.init.zeros_(network.residual[-1].weight)
    nn.init.zeros_(network.residual[-1].bias)
    fine = 0.5 + torch.arange(256.0).view(1, 1, 16, 16) / 2**20  # one step of bfloat16 is 1 / 256 here
    assert fine.bfloat16().unique().numel() == 1
    assert torch.equal(PreparedNetwork(network, CPU, torch.bfloat16, PROBE)(fine), fine)


class Edges(nn.Module):
    """The difference of horizontal neighbours, amplified; behind layers without parameters of their own."""

    def __init__(self, *before: nn.Module) -> None:
        super().__init__()
        self.before = nn.Sequential(*before)
        self.edges = nn.Conv2d(1, 1, (1, 2), bias=False)
        self.edges.weight = nn.Parameter(torch.tensor([[[[-4096.0, 4096.0]]]]))
        self.last = nn.Conv2d(1, 1, 1)
        nn.init.dirac_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, planes: Tensor) -> Tensor:
        return self.last(self.edges(self.before(planes)))


@pytest.mark.parametrize(
    "before",
    [[], [nn.Identity()], [nn.ReLU()], [nn.Upsample(scale_factor=2), nn.AvgPool2d(2)]],
    ids=["nothing", "identity", "relu", "resampling"],
)
def test_the_first_convolution_sees_the_unrounded_input(before: list[nn.Module]) -> None:
    fine = 0.5 + torch.arange(16.0).expand(1, 1, 16, 16) / 2**14
    network = Edges(*before).eval()
    expected = network(fine)
    assert (expected == 0.25).all()
    found = PreparedNetwork(network, CPU, torch.bfloat16, PROBE)(fine)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


def test_a_network_of_one_layer_sees_the_unrounded_input() -> None:
    network = Edges().edges
    fine = 0.5 + torch.arange(16.0).expand(1, 1, 16, 16) / 2**14
    found = PreparedNetwork(network, CPU, torch.bfloat16, PROBE)(fine)
    torch.testing.assert_close(found, torch.full_like(found, 0.25), rtol=0.02, atol=0)


def test_training_too_keeps_the_input_unrounded() -> None:
    network = Edges(nn.Identity())
    names = list(network.state_dict())
    readers = input_readers(network, PROBE)
    assert readers == ["edges"]
    keep_unrounded(network, readers)
    assert list(network.state_dict()) == names
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(0.5 + torch.arange(16.0).expand(1, 1, 16, 16) / 2**14)
    assert (found == 0.25).all()
    found.float().sum().backward()
    assert network.edges.weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_per_pixel_grow_with_the_network(dtype: torch.dtype) -> None:
    def cost(network: nn.Module) -> float:
        return PreparedNetwork(network, CPU, dtype, PROBE).bytes_per_pixel

    class Nothing(nn.Module):
        def forward(self, planes: Tensor) -> Tensor:
            return planes

    assert 0 < cost(Nothing()) <= cost(Residual(width=8)) < cost(Residual(width=64))
    assert cost(Residual(width=64)) >= 2 * 64 * dtype.itemsize  # input and output of a layer at once


def test_threads_share_one_runner() -> None:
    runner = PreparedNetwork(seeded(Residual), CPU, torch.bfloat16, PROBE)
    images = [image(side=16 + i) for i in range(8)]
    alone = [runner(planes) for planes in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(runner, images))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "auto"])
def test_devices(device: str | torch.device) -> None:
    chosen = choose_device(device)
    assert isinstance(chosen, torch.device)
    if device != "auto" or not torch.accelerator.is_available():
        assert chosen == CPU


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:-2", "mps:7", "xla", "", "cpu:x"])
def test_a_device_that_is_not_here_is_named(device: str) -> None:
    with pytest.raises(InputError, match=f"^device '{device}' cannot be used here \\(.+\\); use 'auto' or 'cpu'$"):
        choose_device(device)


def test_precisions() -> None:
    assert [choose_precision(name, CPU) for name in ("float32", "bfloat16")] == [torch.float32, torch.bfloat16]
    assert choose_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    assert choose_precision("float16", torch.device("cuda")) == torch.float16
    assert choose_precision("auto", torch.device("mps")) == torch.float32


def test_an_unknown_precision_is_named_with_those_allowed() -> None:
    with pytest.raises(InputError, match="'fp16'") as raised:
        choose_precision("fp16", CPU)
    assert all(repr(name) in str(raised.value) for name in ("auto", *PRECISIONS))
    with pytest.raises(InputError, match="'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'"):
        choose_precision("float16", CPU)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02), (torch.float16, 0.005)])
def test_a_gpu_gives_what_the_cpu_gives(dtype: torch.dtype, limit: float) -> None:
    network, planes = seeded(Residual), image(count=2)
    expected = PreparedNetwork(network, CPU, torch.float32, PROBE)(planes)
    found = PreparedNetwork(network, torch.device("cuda"), dtype, PROBE)(planes)
    assert found.device.type == "cuda"
    assert float((found.cpu() - expected).abs().max()) <= limit


class PadsFirst(nn.Module):
    """The input reaches its first layer only after padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        return planes + self.second(self.first(nn.functional.pad(planes, (1, 1, 1, 1))))


class Shifts(nn.Module):
    """A first layer that takes two arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = TwoArguments(), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        return planes + self.second(self.first(planes, shift=0.25))


class TwoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, planes: Tensor, shift: float) -> Tensor:
        return planes * self.gain + shift


@pytest.mark.parametrize("build", [PadsFirst, Shifts])
def test_the_first_layer_keeps_the_input_also_behind_padding_and_with_two_arguments(
    build: Callable[[], nn.Module],
) -> None:
    network = seeded(build)
    readers = input_readers(network, PROBE)
    assert readers == ["first"]
    planes = image()
    reduced = PreparedNetwork(network, CPU, torch.bfloat16, PROBE)(planes)
    assert (reduced - PreparedNetwork(network, CPU, torch.float32, PROBE)(planes)).abs().max() < 0.02


def test_spectral_norm_survives_low_precision() -> None:
    network = seeded(Residual)
    layer = network.residual[2]  # type: ignore[index]
    network.residual[2] = torch.nn.utils.parametrizations.spectral_norm(layer)  # type: ignore[index,operator]
    assert PreparedNetwork(network, CPU, torch.bfloat16, PROBE)(image()).isfinite().all()


def test_a_network_without_parameters_stays_in_float32() -> None:
    planes = image()
    runner = PreparedNetwork(nn.Upsample(scale_factor=2), CPU, torch.bfloat16, PROBE)
    assert runner.dtype == torch.float32
    assert torch.equal(runner(planes), nn.Upsample(scale_factor=2)(planes))
