"""The user's cache folder: what is slow to find out about a model file is kept there. It can be deleted at any time."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .atomic import atomic_write
from .errors import InputError, format_error

VARIABLE = "PYSR_CACHE"
logger = logging.getLogger("pysr")


def cache_folder(name: str) -> Path:
    """Return a folder in the user's cache, which is created if it is missing.

    Args:
        name: Name of the folder.

    Returns:
        ``$PYSR_CACHE/NAME`` if that variable is set; else ``pysr/NAME`` in the system's folder for caches:
        ``$XDG_CACHE_HOME`` or ``~/.cache``, or on Windows ``%LOCALAPPDATA%``.

    Raises:
        InputError: It cannot be created.
    """
    if chosen := os.environ.get(VARIABLE):
        place = Path(chosen)
    else:
        variable, usual = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
        place = Path(os.environ.get(variable) or Path("~").expanduser() / usual) / "pysr"
    folder = place / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the cache folder cannot be made: {format_error(error)}; set {VARIABLE} to another") from None
    return folder


def cached_facts(key: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return facts from the cache, or find them and keep them. A cache that cannot be used costs only time.

    Args:
        key: Identifies the file and the way in which the facts are found: letters, digits and "-._".
        find: Finds the facts, as JSON types.
    """
    try:
        path = cache_folder("facts") / f"{key}.json"
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known
    except (InputError, OSError, ValueError):
        facts = find()
    try:
        with atomic_write(cache_folder("facts") / f"{key}.json") as file:
            file.write(json.dumps(facts).encode())
    except (InputError, OSError) as error:
        logger.warning("facts about a model are not kept: %s", format_error(error))
    return facts
