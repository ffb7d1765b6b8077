"""Fidelity metrics of the super-resolution literature, as pure functions on tensors."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

SSIM_WINDOW = 11  # pixels a side, as are the numbers below from Wang et al. 2004, section III.C
_SSIM_SIGMA = 1.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


def _checked(output: Tensor, target: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    if shave < 0:
        raise ValueError(f"shave is {shave}; give 0 or more pixels")
    if output.shape != target.shape:
        raise ValueError(f"images differ in shape: {tuple(output.shape)} and {tuple(target.shape)}; crop one of them")
    height, width = target.shape[-2:]
    if min(height, width) <= 2 * shave:
        raise ValueError(
            f"a {width} x {height} image has nothing left after shaving {shave} pixels off every side; shave less"
        )
    inside = (..., slice(shave, height - shave), slice(shave, width - shave))
    return output[inside].double(), target[inside].double()


def psnr(output: Tensor, target: Tensor, *, shave: int = 0, peak: float = 1.0) -> float:
    """Compute the peak signal-to-noise ratio over all values.

    Args:
        output: (..., H, W) of any real dtype, with values in [0, peak].
        target: The ground truth, of the same shape.
        shave: How many pixels are left out at every border.
        peak: The value of white.

    Returns:
        PSNR in dB; infinity for equal images.

    Raises:
        ValueError: The shapes differ, ``shave`` is negative, or it leaves nothing of the image.
    """
    output, target = _checked(output, target, shave)
    error = (output - target).square().mean()
    return float(10 * torch.log10(peak**2 / error))


def ssim(output: Tensor, target: Tensor, *, shave: int = 0, peak: float = 1.0) -> float:
    """Compute the mean structural similarity (Wang et al. 2004), over windows that lie within the image.

    Args:
        output: (..., H, W) of any real dtype, with values in [0, peak].
        target: The ground truth, of the same shape.
        shave: How many pixels are left out at every border.
        peak: The value of white.

    Returns:
        SSIM from -1 to 1; 1 for equal images. Planes are averaged.

    Raises:
        ValueError: As for `psnr`, or fewer than 11 x 11 pixels are left after shaving.
    """
    output, target = _checked(output, target, shave)
    if min(target.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, and {tuple(target.shape[-2:])} are left after"
            " shaving; give a larger image"
        )
    position = torch.arange(SSIM_WINDOW, dtype=torch.float64, device=target.device) - SSIM_WINDOW // 2
    window = torch.exp(-(position**2) / (2 * _SSIM_SIGMA**2))
    window /= window.sum()

    def local_mean(planes: Tensor) -> Tensor:
        planes = planes.reshape(-1, 1, *planes.shape[-2:])
        return conv2d(conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    mean_o, mean_t = local_mean(output), local_mean(target)
    variance_o = local_mean(output**2) - mean_o**2
    variance_t = local_mean(target**2) - mean_t**2
    covariance = local_mean(output * target) - mean_o * mean_t
    c1, c2 = (_SSIM_K1 * peak) ** 2, (_SSIM_K2 * peak) ** 2
    likeness = (2 * mean_o * mean_t + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_o**2 + mean_t**2 + c1) * (variance_o + variance_t + c2))).mean())
