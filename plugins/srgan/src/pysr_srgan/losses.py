"""The adversarial loss (section 2.2.2): a discriminator trained along with the network judges its output."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pysr.errors import InputError, PysrError
from pysr.training import random_shift

from .network import Discriminator

SHIFT = 4  # pixels: one period of the grid of an enlargement by 4
CERTAIN = 0.001  # probability of an error below which a verdict is certain
SATURATED = 500  # consecutive steps in which the discriminator is certain of everything


class Adversarial(nn.Module):
    """-ln D(output), mean over the images; `update` trains D to tell targets from outputs.

    Called with an output and a target, (N, 3, side, side) in [0, 1], which are shifted by up to `SHIFT` pixels. D
    learns from targets and outputs in one batch and judges with its running statistics, because batch normalisation
    removes what all images of a batch share, such as a grid. Raises InputError for images of another size, and
    PysrError once D has been certain of everything for `SATURATED` steps: the network then learns nothing from it.

    Args:
        side: Side of the images in pixels, a multiple of 16.
        rate: Learning rate of D.
    """

    certain: Tensor

    def __init__(self, side: int, rate: float) -> None:
        super().__init__()
        self.discriminator, self.side = Discriminator(side), side
        self.optimizers = [torch.optim.Adam(self.discriminator.parameters(), rate, betas=(0.9, 0.999))]
        self.register_buffer("certain", torch.zeros((), dtype=torch.long))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        (output,) = self._shifted(output)
        self.discriminator.eval().requires_grad_(False)  # its own gradients are not needed
        verdict = self.discriminator(output)
        self.discriminator.train().requires_grad_(True)
        return softplus(-verdict).mean()

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Take one step of the discriminator on detached images; returns its loss and its mean verdicts."""
        real, generated = self.discriminator(torch.cat(self._shifted(target, output))).chunk(2)
        loss = softplus(-real).mean() + softplus(generated).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        verdicts = real.sigmoid().mean().item(), generated.sigmoid().mean().item()
        self._check_saturation(*verdicts)
        return {"discriminator": loss.item(), "of_truths": verdicts[0], "of_outputs": verdicts[1]}

    def _shifted(self, *images: Tensor) -> list[Tensor]:
        if images[0].shape[-2:] != (self.side, self.side):
            raise InputError(
                f"adversarial:{self.side} takes images of {self.side} x {self.side} pixels, not"
                f" {images[0].shape[-1]} x {images[0].shape[-2]}; train with patches of {self.side}, or give their side"
                " after the colon"
            )
        return random_shift(images, SHIFT)

    def _check_saturation(self, of_truths: float, of_outputs: float) -> None:
        is_certain = of_truths > 1 - CERTAIN and of_outputs < CERTAIN
        self.certain.copy_(self.certain + 1 if is_certain else torch.zeros_like(self.certain))
        if self.certain >= SATURATED:
            raise PysrError(
                f"the discriminator has been certain of everything for {SATURATED} steps, and the network learns"
                " nothing from it any more (weights saved earlier are kept); lower the discriminator's rate, or start"
                " from a better network"
            )


def adversarial(*options: str) -> Adversarial:
    """Build the loss "adversarial".

    Args:
        options: The side of the patches in pixels (default 96), and the discriminator's learning rate (default 1e-4).

    Raises:
        InputError: The side is not a multiple of 16, the rate is not between 0 and 1, or there are more options.
    """
    try:
        side, rate = int(options[0]) if options else 96, float(options[1]) if len(options) > 1 else 1e-4
        if side < 16 or side % 16 or not 0 < rate < 1 or len(options) > 2:
            raise ValueError
    except ValueError:
        raise InputError(
            f"adversarial takes the side of the patches, a multiple of 16, and a rate, as in 'adversarial:96,1e-4'; "
            f"got {', '.join(options)!r}"
        ) from None
    return Adversarial(side, rate)
