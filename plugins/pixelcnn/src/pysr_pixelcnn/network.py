"""The conditioning network A, and PixelCNN, A and the prior B: p(y | x) = product of softmax(A(x) + B(earlier y)).

Dahl, Norouzi, Shlens, "Pixel Recursive Super Resolution", ICCV 2017.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pysr.plugin import KnownPixels, PixelCNNSampler, Progress, native_device

from .prior import LEVELS, Prior, masked


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation beside the identity; the second starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.BatchNorm2d(channels)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            last,
        )
        nn.init.zeros_(last.weight)

    def forward(self, planes: Tensor) -> Tensor:
        output: Tensor = planes + self.body(planes)
        return output


class Conditioning(nn.Module):
    """(N, P, h, w) low resolution in [-0.5, 0.5] to (N, F, h * scale, w * scale) features (the paper's appendix).

    Residual blocks, then for each doubling a transposed convolution and as many blocks again. Half receptive field at
    low resolution: 2 * blocks + 1 at the first size, about half that at the second, and so on.

    Args:
        planes: P, 1 or 3.
        scale: A power of two.
        channels: F.
        blocks: Residual blocks per size.
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

    Args:
        conditioning: Maps low resolution, (N, P, h, w) in [-0.5, 0.5], to ``channels`` features at high resolution.
        channels: Channels of these features.
        prior: The autoregressive network.
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
        """(N, P, h, w) in [0, 1] to the first sample with seed 0, (N, P, H, W)."""
        return self.sample(low, 1, seed=0)[:, 0]

    def logits(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of A and of A + B, (N, H, W, P, 256), for (N, P, h, w) and (N, P, H, W) images in [0, 1]."""
        conditioning = self.condition(self.conditioning(low - 0.5))
        joint = conditioning + self.prior(high - 0.5)
        conditioning, joint = (
            planes.permute(0, 2, 3, 1).unflatten(-1, (self.planes, LEVELS)) for planes in (conditioning, joint)
        )
        return conditioning, joint

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
        """Draw images.

        Args:
            low: (N, P, h, w) in [0, 1].
            n: Samples of each.
            seed: Seed of the noise; sample i of every input has the noise of image id i.
            temperature: Divides the logits; 0 is greedy decoding.
            known: (N, P, H, W) uint8 levels, kept wherever ``mask`` is True.
            mask: (N, H, W) bool.
            progress: Called with the number of pixels drawn so far.

        Returns:
            (N, n, P, H, W) in [0, 1], multiples of 1 / 255.
        """
        kept = [None] * len(low) if known is None or mask is None else list(zip(known, mask, strict=True))
        return torch.stack(self._drawn(list(low), n, kept, seed, temperature, progress))

    @torch.no_grad()
    def sample_each(
        self,
        lows: Sequence[Tensor],
        n: int,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """Draw images for inputs that may differ in size, all of them in one call of the sampler.

        Args:
            lows: (1, P, h, w) each, in [0, 1].
            n: As in `sample`.
            seed: As in `sample`: the result for each input is what `sample` gives for it alone.
            temperature: As in `sample`.
            progress: As in `sample`.

        Returns:
            (1, n, P, H, W) each, as in `sample`.
        """
        nothing = [None] * len(lows)
        drawn = self._drawn([low[0] for low in lows], n, nothing, seed, temperature, progress)
        return [samples[None] for samples in drawn]

    def _drawn(
        self,
        lows: Sequence[Tensor],
        n: int,
        kept: Sequence[tuple[Tensor, Tensor] | None],
        seed: int,
        temperature: float,
        progress: Progress | None,
    ) -> list[Tensor]:
        """Samples for each of some (P, h, w) inputs, (n, P, H, W); kept: known levels and mask of each, or None."""
        sampler, features = self._samplers.of(self), self._features(lows)
        shapes = [(each.shape[0], each.shape[1]) for each in features]
        known = [
            KnownPixels(pair[0].permute(1, 2, 0).expand(n, -1, -1, -1), pair[1].expand(n, -1, -1))
            for pair in kept
            if pair
        ]
        images = sampler.sample_each(
            n,
            shapes,
            features=[each[None] for each in features],
            seed=seed,
            temperature=temperature,
            known=known or None,
            progress=progress,
        )
        return [torch.as_tensor(drawn).permute(0, 3, 1, 2).float() / 255 for drawn in images]

    @torch.no_grad()
    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        """ln p(high | low) in nats, (N,) float64, for images in [0, 1]."""
        sampler = self._samplers.of(self)
        nats = [
            sampler.log_likelihood(image[None].to(torch.uint8).cpu(), features[None])[0]
            for image, features in zip(levels(high), self._features(low), strict=True)
        ]
        return torch.tensor(nats, dtype=torch.float64)

    def _features(self, lows: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Features of each image, (H, W, F) float32; one by one, so that batching does not change their last bits."""
        return [self.conditioning(image[None] - 0.5)[0].permute(1, 2, 0).float() for image in lows]


class Samplers:
    """A cache of the native sampler for a network's current weights; not copied with the network.

    Changed weights are detected by their sums: a version counter would miss changes through ``data``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[Any, PixelCNNSampler] | None = None

    def __reduce__(self) -> tuple[type["Samplers"], tuple[()]]:
        return Samplers, ()

    def of(self, network: PixelCNN) -> PixelCNNSampler:
        """Return the sampler, on the network's device if it has kernels, else on the CPU (bfloat16 under autocast)."""
        device = network.condition.weight.device
        reduced = torch.is_autocast_enabled(device.type) and native_device(device).type == "cpu"
        precision, target = "bfloat16" if reduced else "float32", native_device(device)
        weights = [*network.prior.parameters(), *network.condition.parameters()]
        state = precision, target, [(value.data_ptr(), float(value.detach().sum())) for value in weights]
        with self._lock:
            if self._made is None or self._made[0] != state:
                self._made = state, PixelCNNSampler(exported(network), precision=precision, device=target)
            return self._made[1]


def exported(network: PixelCNN) -> dict[str, Tensor]:
    """Weights for the native sampler: those of the prior and of the conditioning network's last layer."""
    head = {f"condition.{name}": value.detach() for name, value in network.condition.named_parameters()}
    return masked(network.prior) | head


def levels(image: Tensor) -> Tensor:
    """(N, P, H, W) in [0, 1] to levels from 0 to 255, (N, H, W, P) int64."""
    return (image * 255).round().long().permute(0, 2, 3, 1)


def cross_entropies(network: PixelCNN, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """The training losses: of A + B, and of A alone, so that the prior does not learn to ignore A (section 3)."""
    conditioning, joint = network.logits(low.clamp(0, 1), high)  # bicubic downscaling overshoots; users' images do not
    target = levels(high).flatten()
    return {
        "joint": F.cross_entropy(joint.flatten(0, 3).float(), target),
        "conditioning": F.cross_entropy(conditioning.flatten(0, 3).float(), target),
    }


def build_faces(scale: int = 4, variant: str | None = None) -> PixelCNN:
    """Build the network of the model `pixelcnn-faces`: 3 residual blocks per size, and a prior of 10 layers."""
    return PixelCNN(Conditioning(planes=3, scale=scale, channels=32, blocks=3), 32, Prior(3, 32, 10, 512))
