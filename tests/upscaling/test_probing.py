"""Networks without a description: what is measured is what they are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pysr.plugin import Probe, probe


def convolutions(depth: int, scale: int = 1) -> nn.Sequential:
    """Averages over 3 x 3, which carry the image ``depth`` pixels far, and then ``scale`` times as many pixels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.constant_(layer.weight, 1 / 27)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return nn.Sequential(*layers, nn.Upsample(scale_factor=scale)).eval()


class Pooled(nn.Module):
    """Adds the mean of the whole image."""

    def forward(self, image: Tensor) -> Tensor:
        return image + image.mean((-1, -2), keepdim=True)


class Strict(nn.Module):
    """Takes float32 alone, and only sides that are multiples of 8 from 24 on; shifts the image by 5 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        assert all(side >= 24 and side % 8 == 0 for side in image.shape[-2:])
        image = self.layer(image)
        assert image.dtype == torch.float32
        return nn.functional.pad(image, (5, 0, 5, 0))[..., :-5, :-5]


@pytest.mark.parametrize(("depth", "scale"), [(0, 2), (1, 3), (4, 1), (6, 2)])
def test_the_receptive_field_of_convolutions(depth: int, scale: int) -> None:
    found = probe(convolutions(depth, scale), channels=3, scale=scale).receptive_field
    assert found is not None
    assert depth <= found <= depth * 1.25 + 1


def test_a_wide_receptive_field_is_found_by_the_further_look() -> None:
    found = probe(convolutions(1)[0:1].append(Shift(30)), channels=3, scale=1).receptive_field
    assert found == 39  # 31 and a quarter of it


class Shift(nn.Module):
    """Moves the image to the left."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.pad(image, (0, self.pixels))[..., self.pixels :]


@pytest.mark.parametrize("network", [Pooled(), Shift(100)], ids=["pooled", "far"])
def test_what_has_no_end_is_none(network: nn.Module) -> None:
    assert probe(network, channels=3, scale=1).receptive_field is None


def test_a_faint_trace_of_the_whole_image_is_no_obstacle() -> None:
    class Faint(Pooled):
        def forward(self, image: Tensor) -> Tensor:
            return image + image.mean((-1, -2), keepdim=True) * 0.005

    assert probe(Faint(), channels=3, scale=1).receptive_field == 0


def test_no_end_is_looked_for_where_it_costs_too_much_or_is_known() -> None:
    assert probe(convolutions(1), channels=3, scale=1, bounded=False).receptive_field is None
    assert probe(convolutions(1), channels=3, scale=1, flops_per_pixel=1e9) == Probe(None, 0, True)
    assert probe(convolutions(1), channels=3, scale=1, flops_per_pixel=1e3) == Probe(2, 0, True)


def test_sizes_are_those_that_the_network_takes() -> None:
    found = probe(Strict().eval(), channels=3, scale=1, multiple_of=8, minimum_size=24)
    assert found.needs_float32
    assert found.receptive_field is not None and 5 <= found.receptive_field <= 7


def test_memory_is_that_of_the_tensors_in_use_at_once() -> None:
    narrow = probe(convolutions(2), channels=3, scale=1).bytes_per_pixel
    wide = nn.Sequential(nn.Conv2d(3, 300, 1), nn.ReLU(), nn.Conv2d(300, 3, 1)).eval()
    assert 2 * 300 * 4 <= probe(wide, channels=3, scale=1).bytes_per_pixel <= 2 * 300 * 4 * 2
    assert narrow <= 100


def test_precision_is_kept_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.upscaling.probing.choose_precision", lambda *_: torch.bfloat16)
    correcting = nn.Sequential(nn.Conv2d(3, 3, 1)).eval()
    nn.init.constant_(correcting[0].weight, 1e-3)
    nn.init.zeros_(correcting[0].bias)
    assert not probe(correcting, channels=3, scale=1).needs_float32
    assert probe(convolutions(3), channels=3, scale=1).needs_float32  # the image itself goes through every layer
    monkeypatch.setattr("pysr.upscaling.probing.choose_precision", lambda *_: torch.float32)
    assert probe(correcting, channels=3, scale=1).needs_float32


def test_what_was_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path))
    options: dict[str, Any] = {"channels": 3, "scale": 1, "key": "digest"}
    first = probe(convolutions(4), **options)
    assert probe(convolutions(1), **options) == first != probe(convolutions(1), channels=3, scale=1)
