"""Whatever a user hands in as an image, opened as planes."""

from __future__ import annotations

from os import PathLike
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..files.conversion import in_full_colour
from ..files.planes import open_raster
from ..files.raster import Raster
from ..files.reader import read_raster
from ..files.streams import is_stream
from ..imaging.image import open_image
from ..imaging.planes import OpenedImage

PixelArray = NDArray[Any] | Tensor
ImageFile = str | PathLike[str] | IO[bytes]
ImageLike = Image.Image | ImageFile | PixelArray
Mask = NDArray[np.bool_] | Tensor | Image.Image


def open_any(image: Any) -> OpenedImage:
    """Open an image: a file, which becomes a PIL image, a `Raster`, or what `open_image` takes."""
    if isinstance(image, Raster):
        return open_raster(image)
    if isinstance(image, (str, PathLike)) or is_stream(image):
        return open_raster(in_full_colour(read_raster(image)), Raster.to_pil)
    return open_image(image)
