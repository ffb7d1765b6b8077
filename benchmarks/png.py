"""Writing PNG: pysr's writer with and without isal and imagecodecs against Pillow's default, in one process, in turn.

    python benchmarks/png.py [IMAGE] [--json FILE] [--runs N] [--side PIXELS]

IMAGE is an image file that mirrored copies of are put together to 4096 x 4096 RGB; without it, noise with the spectrum
and the correlated colours of photographs is written. Files are made in memory. The figures are medians; a ratio of
times is the median over the rounds, in each of which everything runs once.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pysr.files import read_image
from pysr.files.png_writer import PngWriter

Pixels = NDArray[np.uint8]


def photograph(side: int) -> Pixels:
    """Noise of a spectrum that falls with the frequency, alike in all channels, and a little noise of a sensor."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) + 1 / side
    common = random.normal(size=(side, side))
    planes = []
    for _ in range(3):
        spectrum = np.fft.rfft2(common + 0.3 * random.normal(size=(side, side))) / frequency**1.4
        plane = np.fft.irfft2(spectrum, (side, side))
        planes.append(128 + 45 * (plane - plane.mean()) / plane.std() + random.normal(0, 1, (side, side)))
    return np.stack(planes, axis=-1).clip(0, 255).round().astype(np.uint8)


def mirrored(image: Image.Image, side: int) -> Pixels:
    """Fill a square with mirrored copies of an image."""
    pixels = np.asarray(image.convert("RGB"))
    rows, columns = (max(0, side - length) for length in pixels.shape[:2])
    return np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="symmetric")[:side, :side]


def by_pillow(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def by_pysr(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    PngWriter(file, (pixels.shape[1], pixels.shape[0]), "rgb").write([pixels])
    return file.getvalue()


def by_zlib(pixels: Pixels) -> bytes:
    with mock.patch("pysr.files.png_writer.find_spec", return_value=None):
        return by_pysr(pixels)


WRITERS: dict[str, Callable[[Pixels], bytes]] = {
    "Pillow, default": by_pillow,
    "pysr with isal": by_pysr,
    "pysr with zlib": by_zlib,
}


def race(pixels: Pixels, runs: int) -> list[dict[str, Any]]:
    """Write with all writers in turn, and check what they wrote."""
    wall: dict[str, list[float]] = {name: [] for name in WRITERS}
    processor: dict[str, list[float]] = {name: [] for name in WRITERS}
    lengths = {}
    for _ in range(runs):
        for name, write in WRITERS.items():
            start = time.perf_counter(), time.process_time()
            data = write(pixels)
            wall[name].append(time.perf_counter() - start[0])
            processor[name].append(time.process_time() - start[1])
            if name not in lengths:
                assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels), f"{name} wrote other pixels"
            lengths[name] = len(data)
    first = next(iter(WRITERS))
    return [
        {
            "writer": name,
            "seconds": statistics.median(wall[name]),
            "times as fast": statistics.median(a / b for a, b in zip(wall[first], wall[name], strict=True)),
            "times less processor time": statistics.median(
                a / b for a, b in zip(processor[first], processor[name], strict=True)
            ),
            "megabytes": lengths[name] / 1e6,
            "size": lengths[name] / lengths[first],
        }
        for name in WRITERS
    ]


def main() -> None:
    """Parse the arguments, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", type=int, default=4096, help="of the image, in pixels")
    options = parser.parse_args()
    pixels = mirrored(read_image(options.image), options.side) if options.image else photograph(options.side)
    results = race(pixels, options.runs)
    for result in results:
        print(
            "{writer:24} {seconds:6.2f} s  {times as fast:5.1f} x as fast ({times less processor time:.1f} x by"
            " processor time)  {megabytes:5.1f} MB  {size:.3f} of the size".format(**result)
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
