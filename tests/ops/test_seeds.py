"""Seeds: those that are allowed, and those derived from them."""

import zlib
from typing import Any

import numpy as np
import pytest
import torch

from pysr.errors import InputError
from pysr.ops.seeds import check_seed, generator, generator_for, step_seed


@pytest.mark.parametrize("seed", [0, 2**64 - 1, np.uint64(2**63), np.int32(5)])
def test_whole_numbers_of_64_bits_are_seeds(seed: Any) -> None:
    assert check_seed(seed) == int(seed)
    assert type(check_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None])
def test_everything_else_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match=r"give a whole number from 0 to 2\^64 - 1"):
        check_seed(seed)


def test_neighbouring_seeds_steps_and_ranks_differ() -> None:
    derived = [step_seed(seed, step, rank) for seed in range(5) for step in range(1000) for rank in range(3)]
    assert len(set(derived)) == len(derived)
    assert all(0 <= step_seed(2**64 - 1, step, 7) < 2**64 for step in (0, 10**6))


def test_a_step_has_its_own_numbers_each_time() -> None:
    first, again, next_one = (torch.rand(4, generator=generator(3, step)) for step in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)


def test_the_numbers_of_an_image_follow_from_its_name() -> None:
    expected = np.random.default_rng(zlib.crc32(b"lena")).random()
    assert generator_for("lena").random() == expected != generator_for("barbara").random()
    assert generator_for("\udcff").random() != expected  # a file name may hold any bytes
