"""Pillow's TIFF reader without its process-wide limit on the number of pixels.

Depends on private parts of Pillow, as `jpeg_image` does; ``tests/files/test_files.py`` fails if they change.
"""

from PIL import Image, TiffImagePlugin


class TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF image of any size.

    Pillow's other readers check `PIL.Image.MAX_IMAGE_PIXELS` only in `PIL.Image.open`, which pysr does not use:
    `read_image` has its own limit. This reader checks the limit again when it allocates the image, and a library must
    not raise it for the whole process. So the allocation is repeated here without the check:
    ``_im`` is the image's memory, None before it is allocated, and ``_tile_size`` the size of it, before the file's
    orientation is applied (as in Pillow 12.3 to 13.0).
    """

    def load_prepare(self) -> None:
        """Allocate the image's memory."""
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()
