"""Fixtures that the tests of several commands share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An RGB image file of 30 x 20 pixels, alone in its folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
