"""The conditioning network, and it and the prior as one: p(y | x) = product of softmax(A(x) + B(earlier y)).

Dahl, Norouzi, Shlens, "Pixel Recursive Super Resolution", ICCV 2017.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pysr.ops.pixelcnn import LEVELS, KnownPixels, PixelCNNSampler, native_device

from .prior import Prior, masked

Progress = Callable[[int, int], None]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation beside the identity; the second begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, planes: Tensor) -> Tensor:
        output: Tensor = planes + self.body(planes)
        return output


class Conditioning(nn.Module):
    """(N, P, h, w) low resolution in [-0.5, 0.5] to (N, F, h * scale, w * scale) features (the paper's appendix).

    Residual blocks, then as often as `scale` is doubled a transposed convolution and as many blocks again. Half
    receptive field at low resolution: 2 * blocks + 1 at the first size, about half that at the second, and so on.
    """

    def __init__(self, planes: int = 3, scale: int = 4, channels: int = 32, blocks: int = 6) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(planes, channels, 1)]
        layers += [ResidualBlock(channels) for _ in range(blocks)]
        for _ in range(scale.bit_length() - 1):
            layers += [nn.ConvTranspose2d(channels, channels, 3, 2, 1, output_padding=1), nn.ReLU(inplace=True)]
            layers += [ResidualBlock(channels) for _ in range(blocks)]
        self.body = nn.Sequential(*layers)

    def forward(self, low: Tensor) -> Tensor:
        features: Tensor = self.body(low)
        return features


class PixelCNN(nn.Module):
    """A conditioning network and a prior, whose logits are added; images are drawn sub-pixel by sub-pixel.

    conditioning: low resolution, (N, P, h, w) in [-0.5, 0.5], to `channels` features at high resolution.
    """

    def __init__(self, conditioning: nn.Module, channels: int, prior: Prior) -> None:
        super().__init__()
        self.planes = prior.planes
        self.conditioning, self.prior = conditioning, prior
        self.condition = nn.Conv2d(channels, prior.planes * LEVELS, 1)
        nn.init.normal_(self.condition.weight, std=0.02)
        nn.init.zeros_(self.condition.bias)  # type: ignore[arg-type]
        self._samplers = Samplers()

    def forward(self, low: Tensor) -> Tensor:
        """(N, P, h, w) in [0, 1] to what `sample` gives first, (N, P, H, W)."""
        return self.sample(low, 1, seed=0)[:, 0]

    def logits(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Those of A and of A + B, (N, H, W, P, 256), for (N, P, h, w) and (N, P, H, W) images in [0, 1]."""
        given = self.condition(self.conditioning(low - 0.5))
        both = given + self.prior(high - 0.5)
        given, both = (planes.permute(0, 2, 3, 1).unflatten(-1, (self.planes, LEVELS)) for planes in (given, both))
        return given, both

    @torch.no_grad()
    def sample(
        self,
        low: Tensor,
        n: int,
        seed: int = 0,
        temperature: float = 1.0,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """``n`` images for each of (N, P, h, w) in [0, 1]: (N, n, P, H, W) in [0, 1], whole numbers of 1 / 255.

        seed, temperature: as in `pysr.upscaler.Upscaler.sample`; image i of every n has the noise of image id i.
        known, mask: (N, P, H, W) uint8 levels and (N, H, W) bool: where the mask is True, the level is kept.
        """
        drawn = []
        for number, features in enumerate(self._features(low)):
            observed = None
            if known is not None and mask is not None:
                levels = known[number].permute(1, 2, 0).expand(n, -1, -1, -1)
                observed = KnownPixels(levels, mask[number].expand(n, -1, -1))
            images = self._samplers.of(self).sample(
                n,
                (features.shape[0], features.shape[1]),
                features=features[None],
                seed=seed,
                temperature=temperature,
                known=observed,
                progress=progress,
            )
            drawn.append(torch.as_tensor(images))
        return torch.stack(drawn).permute(0, 1, 4, 2, 3).float() / 255

    @torch.no_grad()
    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        """ln p(high | low) in nats, (N,) float64, for images in [0, 1]."""
        sampler = self._samplers.of(self)
        nats = [
            sampler.log_likelihood(image[None].to(torch.uint8).cpu(), features[None])[0]
            for image, features in zip(levels(high), self._features(low), strict=True)
        ]
        return torch.tensor(nats, dtype=torch.float64)

    def _features(self, low: Tensor) -> Iterator[Tensor]:
        """Those of each image, (H, W, F) float32; one by one, so that a batch does not change their last bits."""
        for image in low:
            yield self.conditioning(image[None] - 0.5)[0].permute(1, 2, 0).float()


class Samplers:
    """The native sampler of a network's present numbers, made when it is first needed; not copied with the network.

    Sums tell whether numbers have changed: a version counter would miss changes through ``data``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[Any, PixelCNNSampler] | None = None

    def __reduce__(self) -> tuple[type["Samplers"], tuple[()]]:
        return Samplers, ()

    def of(self, network: PixelCNN) -> PixelCNNSampler:
        """On the network's device if there are kernels for it, else on the CPU; there in bfloat16 where torch is."""
        device = network.condition.weight.device
        reduced = torch.is_autocast_enabled(device.type) and native_device(device).type == "cpu"
        options = {"precision": "bfloat16" if reduced else "float32", "device": native_device(device)}
        numbers = [*network.prior.parameters(), *network.condition.parameters()]
        state = options, [(value.data_ptr(), float(value.detach().sum())) for value in numbers]
        with self._lock:
            if self._made is None or self._made[0] != state:
                self._made = state, PixelCNNSampler(exported(network), **options)
            return self._made[1]


def exported(network: PixelCNN) -> dict[str, Tensor]:
    """What the native sampler reads: the prior's numbers and those of the conditioning network's last layer."""
    head = {f"condition.{name}": value.detach() for name, value in network.condition.named_parameters()}
    return masked(network.prior) | head


def levels(image: Tensor) -> Tensor:
    """(N, P, H, W) in [0, 1] to whole numbers 0 to 255, (N, H, W, P)."""
    return (image * 255).round().long().permute(0, 2, 3, 1)


def cross_entropies(network: PixelCNN, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """The training losses: of A + B, and of A alone so that the prior cannot do without it (section 3)."""
    given, both = network.logits(low.clamp(0, 1), high)  # as users' images are
    target = levels(high).flatten()
    return {
        "joint": F.cross_entropy(both.flatten(0, 3).float(), target),
        "conditioning": F.cross_entropy(given.flatten(0, 3).float(), target),
    }


def faces() -> PixelCNN:
    """For faces, 8 x 8 to 32 x 32: a conditioning network of 3 blocks a size, a prior of 10 layers of 32 channels."""
    return PixelCNN(Conditioning(planes=3, scale=4, channels=32, blocks=3), 32, Prior(3, 32, 10, 512))
