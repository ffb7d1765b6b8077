"""Fixtures that the tests of several commands share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def library_log() -> Iterator[None]:
    """Undo what a command does to the library's log, such as -q, which would hide warnings from later tests."""
    logger = logging.getLogger("pysr")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An RGB image file of 30 x 20 pixels, alone in its folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
