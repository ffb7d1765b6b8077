"""The symmetries of the square."""

import torch

from pysr.imaging.symmetry import SYMMETRIES, transform, transform_back


def test_all_eight_differ_and_can_be_undone() -> None:
    image = torch.arange(12.0).view(1, 3, 4)
    seen = {(tuple(turned.shape), tuple(turned.flatten().tolist())) for turned in map(transform, [image] * 8, range(8))}
    assert len(seen) == SYMMETRIES == 8
    for number in range(SYMMETRIES):
        assert torch.equal(transform_back(transform(image, number), number), image)
