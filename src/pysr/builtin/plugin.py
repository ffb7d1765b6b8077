"""The core's own models, losses and preprocessors, through the same hooks as everybody else's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InputError
from ..plugin import Loss, Metric, Model, Preprocess, Preprocessor, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

SCALES = (2, 3, 4, 5, 6, 7, 8)


def _resampler(kernel: str) -> Callable[[int, str | None], nn.Module]:
    def build(scale: int, variant: str | None) -> nn.Module:
        from .network import Resampler

        return Resampler(kernel, scale)

    return build


def _luma() -> Preprocess:
    from .network import LumaOnly

    return LumaOnly()


def _bicubic() -> Preprocess:
    from .network import Enlarge

    return Enlarge()


def _l1() -> Callable[[Tensor, Tensor], Tensor]:
    from torch.nn.functional import l1_loss

    return l1_loss


def _mse() -> Callable[[Tensor, Tensor], Tensor]:
    from torch.nn.functional import mse_loss

    return mse_loss


def _charbonnier(epsilon: str = "0.001") -> Callable[[Tensor, Tensor], Tensor]:
    try:
        smooth = float(epsilon)
    except ValueError:
        smooth = 0.0
    if not 0 < smooth < math.inf:
        raise InputError(f"epsilon of charbonnier is {epsilon!r}; give a number above 0, such as charbonnier:0.001")

    def charbonnier(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).square() + smooth**2).sqrt().mean()

    return charbonnier


def _psnr() -> Callable[[Tensor, Tensor], float]:
    from ..evaluation.metrics import psnr

    return psnr


def _ssim() -> Callable[[Tensor, Tensor], float]:
    from ..evaluation.metrics import ssim

    return ssim


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model("bicubic", SCALES, _resampler("bicubic"), "Cubic convolution, as MATLAB's imresize", colour="any",
              receptive_field=2, paper="Keys 1981"),
        Model("nearest", SCALES, _resampler("nearest"), "Every pixel repeated", colour="any", receptive_field=0),
        Model("lanczos", SCALES, _resampler("lanczos"), "Windowed sinc of three lobes", colour="any",
              receptive_field=3, paper="Duchon 1979"),
    ]  # fmt: skip


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss("l1", _l1, "Mean absolute error"),
        Loss("mse", _mse, "Mean squared error"),
        Loss("charbonnier", _charbonnier, "Smooth absolute error, sqrt(d^2 + epsilon^2); charbonnier:0.001"),
    ]


@hookimpl
def pysr_preprocessors() -> list[Preprocessor]:
    return [
        Preprocessor("luma", _luma, "The network gets Y of BT.601; Cb and Cr are enlarged by bicubic", after_reach=2),
        Preprocessor("bicubic", _bicubic, "Bicubic enlargement first: the network works at output size", reach=2,
                     enlarges=True),
    ]  # fmt: skip


@hookimpl
def pysr_metrics() -> list[Metric]:
    return [
        Metric("psnr", _psnr, "Peak signal-to-noise ratio of luma", "PSNR in dB", decimals=2),
        Metric("ssim", _ssim, "Structural similarity of luma (Wang et al. 2004)", "SSIM", smallest=11),
    ]
