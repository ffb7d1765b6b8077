"""Fidelity measures of the super-resolution literature, as pure functions on tensors."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

SSIM_WINDOW = 11  # pixels a side


def _checked(output: Tensor, target: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    if shave < 0:
        raise ValueError(f"shave is {shave}; give 0 or more pixels")
    if output.shape != target.shape:
        raise ValueError(f"images differ in shape: {tuple(output.shape)} and {tuple(target.shape)}")
    height, width = target.shape[-2:]
    if min(height, width) <= 2 * shave:
        raise ValueError(f"a {height} x {width} image has nothing left after shaving {shave} pixels from every side")
    inside = (..., slice(shave, height - shave), slice(shave, width - shave))
    return output[inside].double(), target[inside].double()


def psnr(output: Tensor, target: Tensor, *, shave: int = 0, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all values; infinite for equal images.

    output, target: same shape (..., H, W), any real dtype, values in [0, peak]. shave: border pixels left out.
    """
    output, target = _checked(output, target, shave)
    error = (output - target).square().mean()
    return float(10 * torch.log10(peak**2 / error))


def ssim(output: Tensor, target: Tensor, *, shave: int = 0, peak: float = 1.0) -> float:
    """Structural similarity (Wang et al. 2004): 11 x 11 Gaussian window of sigma 1.5, positions inside the image only.

    output, target: same shape (..., H, W), values in [0, peak]; at least 11 x 11 after shaving.
    """
    output, target = _checked(output, target, shave)
    if min(target.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least 11 x 11 pixels, got {tuple(target.shape[-2:])} after shaving")
    position = torch.arange(11, dtype=torch.float64, device=target.device) - 5
    window = torch.exp(-(position**2) / (2 * 1.5**2))
    window /= window.sum()

    def local_mean(planes: Tensor) -> Tensor:
        planes = planes.reshape(-1, 1, *planes.shape[-2:])
        return conv2d(conv2d(planes, window.view(1, 1, 11, 1)), window.view(1, 1, 1, 11))

    mean_o, mean_t = local_mean(output), local_mean(target)
    variance_o = local_mean(output**2) - mean_o**2
    variance_t = local_mean(target**2) - mean_t**2
    covariance = local_mean(output * target) - mean_o * mean_t
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    likeness = (2 * mean_o * mean_t + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_o**2 + mean_t**2 + c1) * (variance_o + variance_t + c2))).mean())
