"""What several samples of one image tell together."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from .comparison import as_rgb


def uncertainty_image(samples: Sequence[Image.Image]) -> tuple[float, Image.Image]:
    """Show how much samples differ, pixel by pixel.

    It is computed from the samples at hand: `Upscaler.uncertainty` would draw them again, without known pixels.

    Args:
        samples: PIL images of one size.

    Returns:
        The highest standard deviation, as a fraction of white, and all of them as a gray image where it is white.
    """
    import numpy as np
    import torch

    from ..upscaling.sampling import sample_std

    pixels = np.stack([np.asarray(as_rgb(image)) for image in samples])
    deviations = sample_std(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    largest = float(deviations.max())
    return largest, Image.fromarray((deviations * (255 / largest if largest else 0)).round().byte().numpy())
