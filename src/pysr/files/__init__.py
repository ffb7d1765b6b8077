"""Image files: read, write and list them. Importing this does not import torch.

An image file is opened by an `ImageReader`, chosen by the file's content, and becomes a `Raster`: pixels of 8 or 16
bits or floats. A `Raster` is written in the format named by the new file's ending. No file is half-read or
half-written, and whatever is lost is logged.
"""

from .formats import READABLE, WRITABLE
from .interface import ImageReader
from .listing import folder_images, image_files
from .raster import Raster
from .reader import image_metadata, image_size, open_image_file, open_reader, read_image, read_raster, upright_size
from .streams import open_for_reading
from .writer import check_output, image_encoder, open_for_writing, write_image, write_raster

__all__ = [
    "READABLE",
    "WRITABLE",
    "ImageReader",
    "Raster",
    "check_output",
    "folder_images",
    "image_encoder",
    "image_files",
    "image_metadata",
    "image_size",
    "open_for_reading",
    "open_for_writing",
    "open_image_file",
    "open_reader",
    "read_image",
    "read_raster",
    "upright_size",
    "write_image",
    "write_raster",
]
