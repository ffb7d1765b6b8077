"""Mirrored axes."""

import numpy as np
import pytest
import torch

from pysr.imaging.mirror import mirrored_index


@pytest.mark.parametrize("length", [1, 2, 5])
def test_positions_beyond_the_axis_are_those_of_symmetric_padding(length: int) -> None:
    expected = np.pad(np.arange(length), 23, mode="symmetric")
    assert mirrored_index(torch.arange(-23, length + 23), length).tolist() == expected.tolist()


def test_positions_may_be_at_any_distance() -> None:
    far = torch.tensor([[10 * 2**40, -14 * 2**40]])  # whole periods of 2 * 4
    assert mirrored_index(far, 4).tolist() == [[0, 0]]
