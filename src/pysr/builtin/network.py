"""The core's networks and preprocessors, as `builtin` describes them. All work on any window of an image."""

from torch import Tensor, nn

from ..imaging.colour import rgb_to_ycbcr, ycbcr_to_rgb
from ..imaging.resize import resize


class Resampler(nn.Module):
    """Classical enlargement: (N, C, h, w) float -> (N, C, h * scale, w * scale), not clipped."""

    def __init__(self, kernel: str, scale: int) -> None:
        super().__init__()
        self.kernel, self.scale = kernel, scale

    def forward(self, low: Tensor) -> Tensor:
        return resize(low, self.scale, kernel=self.kernel)


class LumaOnly:
    """Hand Y on; put Cb and Cr, enlarged by bicubic, back afterwards. A gray window passes as it is."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, Tensor | None]:
        if window.shape[1] == 1:
            return window, None
        ycbcr = rgb_to_ycbcr(window)  # (N, 3, h, w)
        return ycbcr[:, :1], ycbcr[:, 1:]

    def postprocess(self, output: Tensor, memory: Tensor | None, scale: int) -> Tensor:
        if memory is None:
            return output
        height, width = output.shape[-2:]
        merged = output.new_empty(len(output), 3, height, width)
        merged[:, :1] = output
        merged[:, 1:] = resize(memory, scale)
        return ycbcr_to_rgb(merged)


class Enlarge:
    """Bicubic enlargement before the network, for networks that sharpen at output size (SRCNN, VDSR)."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, None]:
        return resize(window, scale), None

    def postprocess(self, output: Tensor, memory: None, scale: int) -> Tensor:
        return output
