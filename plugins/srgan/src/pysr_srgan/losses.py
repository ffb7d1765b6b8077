"""The adversarial loss (section 2.2.2): a discriminator that learns beside the network, and what it thinks of it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pysr.errors import InputError, PysrError
from pysr.training.losses import random_shift

from .network import Discriminator

MOVED = 4  # pixels
SATURATED = 500  # steps in a row in which the discriminator is never in doubt


class Adversarial(nn.Module):
    """-ln D(output), mean over the images; `update` teaches D to tell truths from outputs.

    Called with an output and a target, (N, 3, side, side) in [0, 1]; it sees them moved by up to `MOVED` pixels. It
    learns from truths and outputs in one batch and judges with its running statistics, as batch normalisation takes
    away what all images of a batch have in common, such as a grid. Raises InputError for images of another size;
    PysrError when the discriminator has been certain of everything for so long that the network can learn nothing from
    it any more.
    """

    certain: Tensor

    def __init__(self, side: int, rate: float) -> None:
        super().__init__()
        self.discriminator, self.side = Discriminator(side), side
        self.optimizers = [torch.optim.Adam(self.discriminator.parameters(), rate, betas=(0.9, 0.999))]
        self.register_buffer("certain", torch.zeros((), dtype=torch.long))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        (output,) = self._seen(output)
        self.discriminator.eval().requires_grad_(False)  # its own gradients would be computed for nothing
        verdict = self.discriminator(output)
        self.discriminator.train().requires_grad_(True)
        return softplus(-verdict).mean()

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """One step of the discriminator; both are detached. Tells its loss and mean verdicts on truths and outputs."""
        true, made = self.discriminator(torch.cat(self._seen(target, output))).chunk(2)
        loss = softplus(-true).mean() + softplus(made).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        verdicts = true.sigmoid().mean().item(), made.sigmoid().mean().item()
        self._watch(*verdicts)
        return {"discriminator": loss.item(), "of_truths": verdicts[0], "of_outputs": verdicts[1]}

    def _seen(self, *images: Tensor) -> list[Tensor]:
        if images[0].shape[-2:] != (self.side, self.side):
            raise InputError(
                f"adversarial:{self.side} cannot judge {images[0].shape[-2]} x {images[0].shape[-1]} pixels; train with"
                f" patches of {self.side}, or name their side behind the colon"
            )
        return random_shift(images, MOVED)

    def _watch(self, of_truths: float, of_outputs: float) -> None:
        is_certain = of_truths > 0.999 and of_outputs < 0.001
        self.certain.copy_(self.certain + 1 if is_certain else torch.zeros_like(self.certain))
        if self.certain >= SATURATED:
            raise PysrError(
                f"the discriminator has been certain of everything for {SATURATED} steps, so the network learns nothing"
                " from it any more; weights saved earlier stay. Lower the discriminator's rate, or begin from a better"
                " network"
            )


def adversarial(*options: str) -> Adversarial:
    """options: the side of the patches in pixels, 96 by default, and the discriminator's rate, 1e-4 by default."""
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
