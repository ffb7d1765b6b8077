"""Networks and preprocessors of the core's models. All work on any window of an image."""

from torch import Tensor

from ..imaging.colour import rgb_to_ycbcr, ycbcr_to_rgb
from ..ops.resample import Resampler, enlarged


def bicubic(scale: int, variant: str | None) -> Resampler:
    """Cubic convolution."""
    return Resampler("bicubic", scale)


def nearest(scale: int, variant: str | None) -> Resampler:
    """Every pixel repeated."""
    return Resampler("nearest", scale)


def lanczos(scale: int, variant: str | None) -> Resampler:
    """A windowed sinc."""
    return Resampler("lanczos", scale)


class LumaOnly:
    """Give the network Y, and restore Cb and Cr, enlarged by bicubic, afterwards. Gray windows pass unchanged."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, Tensor | None]:
        if window.shape[1] == 1:
            return window, None
        ycbcr = rgb_to_ycbcr(window)  # (N, 3, h, w)
        return ycbcr[:, :1], ycbcr[:, 1:]

    def postprocess(self, output: Tensor, context: Tensor | None, scale: int) -> Tensor:
        if context is None:
            return output
        height, width = output.shape[-2:]
        merged = output.new_empty(len(output), 3, height, width)
        merged[:, :1] = output
        merged[:, 1:] = enlarged(context, scale)
        return ycbcr_to_rgb(merged)


class Enlarge:
    """Bicubic enlargement before the network, for networks that sharpen at output size (SRCNN, VDSR)."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, None]:
        return enlarged(window, scale), None

    def postprocess(self, output: Tensor, context: None, scale: int) -> Tensor:
        return output
