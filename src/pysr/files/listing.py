"""Which files of a folder are images."""

from __future__ import annotations

import os
from pathlib import Path

from ..atomic import FilePath, file_name
from ..errors import InputError, format_error
from .formats import READABLE


def image_files(folder: FilePath) -> list[Path]:
    """List the images in a folder, by the endings of their names (`READABLE`, in upper or lower case).

    Args:
        folder: A folder; its sub-folders and hidden files are left out.

    Returns:
        The images, sorted by name.

    Raises:
        InputError: There is no such folder, it cannot be read, or it has no image of its own.
    """
    name = file_name(folder)
    if not os.path.isdir(name):
        raise InputError(f"there is no folder {name!r}; check the name")
    try:
        visible = sorted(path for path in Path(name).iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot open the folder: {format_error(error)}; check its permissions") from error
    images = [path for path in visible if path.suffix.lower() in READABLE and path.is_file()]
    if images:
        return images
    if folders := [path.name for path in visible if path.is_dir()]:
        listed = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        raise InputError(f"the folder {name!r} has no image of its own, only sub-folders ({listed}); name one of them")
    raise InputError(f"the folder {name!r} has no image in it; pysr reads {', '.join(READABLE)}")
