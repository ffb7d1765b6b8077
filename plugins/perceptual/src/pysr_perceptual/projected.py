"""An adversarial loss whose discriminators see features instead of pixels and thus learn within hundreds of steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from pysr.training import random_shift

from .features import Features
from .losses import features_of

LAYERS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_1")
RATE = 4e-4  # of the discriminators' Adam
DRIFT = 0.01  # weight of squared verdicts in the discriminators' loss: without it a common offset would cost nothing
SHIFT = 8  # pixels


class Head(nn.Module):
    """The discriminator of one layer: (N, C, h, w) features to (N, 1, h', w') verdicts, larger for more real.

    Two 3 x 3 convolutions, the first with a stride of two if C is less than 64, and a 1 x 1 convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False, momentum=0.01)
        self.first = nn.Conv2d(channels, 2 * channels if channels < 64 else channels, 3, 2 if channels < 64 else 1, 1)
        self.second = nn.Conv2d(self.first.out_channels, self.first.out_channels, 3, padding=1)
        self.last = nn.Conv2d(self.first.out_channels, 1, 1)

    def measure(self, features: Tensor) -> None:
        """Update the running mean and variance of `norm` from the target's (N, C, h, w) features."""
        self.norm.train()
        with torch.no_grad():
            self.norm(features)
        self.norm.eval()

    def forward(self, features: Tensor) -> Tensor:
        planes = leaky_relu(self.first(self.norm(features)), 0.2)
        verdict: Tensor = self.last(leaky_relu(self.second(planes), 0.2))
        return verdict.float()


class Projected(nn.Module):
    """softplus(D(target) - D(output)), mean over positions and layers; `update` trains each layer's D.

    Discriminators over a frozen feature network learn many times faster than one over pixels (Sauer et al., "Projected
    GANs Converge Faster", NeurIPS 2021, without its random projections). Each verdict is relative to that on the
    target at the same position (Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019): what both show
    cancels. Called with an output and a target, (N, 1 or 3, H, W) float in [0, 1], which are shifted by up to `SHIFT`
    pixels; features are float32. Raises InputError for images too small to be shifted, or for the deepest layer.

    Args:
        features: The feature network and its layers.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        sizes = {layer: planes.shape[1] for layer, planes in features(torch.zeros(1, 3, 64, 64)).items()}
        self.heads = nn.ModuleDict({layer: Head(channels) for layer, channels in sizes.items()})
        self.heads.eval()
        self.optimizers = [torch.optim.Adam(self.heads.parameters(), RATE, betas=(0.5, 0.99))]

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        output, target = random_shift((output, target), SHIFT)
        with torch.no_grad():
            wanted = {layer: self.heads[layer](planes) for layer, planes in self.features(target).items()}
        self.heads.requires_grad_(False)  # their own gradients are not needed
        found = {layer: self.heads[layer](planes) for layer, planes in self.features(output).items()}
        self.heads.requires_grad_(True)
        return torch.stack([softplus(wanted[layer] - found[layer]).mean() for layer in wanted]).mean()

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Take one step of the discriminators, on detached images.

        Args:
            output: As for `forward`.
            target: As for `forward`.

        Returns:
            Their loss, and by layer the fraction of positions at which they rate the target above the output: one half
            if they cannot tell them apart.
        """
        output, target = random_shift((output, target), SHIFT)
        with torch.no_grad():
            real, generated = self.features(target), self.features(output)
        losses, right = [], {}
        for layer, head in self._heads():
            head.measure(real[layer])
            of_real, of_generated = head(real[layer]), head(generated[layer])
            drift = of_real.square().mean() + of_generated.square().mean()
            losses.append(softplus(of_generated - of_real).mean() + DRIFT * drift)
            right[layer] = ((of_real - of_generated).sign() / 2 + 0.5).mean().item()
        loss = torch.stack(losses).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        return {"discriminators": loss.item(), **right}

    def _heads(self) -> Iterator[tuple[str, Head]]:
        for layer, head in self.heads.items():
            assert isinstance(head, Head)
            yield layer, head


def projected(*options: str) -> Projected:
    """Build the loss "projected". options: layers, as `features_of` takes them (default `LAYERS`)."""
    return Projected(features_of(options or LAYERS))
