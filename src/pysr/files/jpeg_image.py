"""Pillow's reader of JPEG files, without what it does with metadata."""

from __future__ import annotations

from PIL.JpegImagePlugin import JpegImageFile


class JpegImage(JpegImageFile):
    """A JPEG file whose EXIF cannot keep Pillow from its pixels; pysr reads metadata itself."""

    def _read_dpi_from_exif(self) -> None:
        """Do nothing: Pillow refuses the file where a resolution is of a wrong type."""
