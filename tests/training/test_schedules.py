"""Learning-rate schedules at their corners."""

import pytest

from pysr.training.schedules import constant, cosine, stepped, trapezoid


def test_cosine_falls_from_one_to_zero() -> None:
    assert [cosine(progress) for progress in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine(1 / 3) == pytest.approx(0.75)


def test_stepped_multiplies_at_each_time() -> None:
    tenth = stepped(0.25, 0.5)
    assert [tenth(progress) for progress in (0, 0.24, 0.25, 0.49, 0.5, 0.99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert stepped(0.5, factor=0.5)(0.6) == 0.5


def test_trapezoid_rises_stays_and_falls() -> None:
    factor = trapezoid(rise=0.1, fall=0.4)
    assert factor(0) == pytest.approx(0.01)
    assert [factor(progress) for progress in (0.099, 0.5, 0.6, 0.8, 1)] == pytest.approx([1, 1, 1, 0.5, 0])
    assert trapezoid(rise=0, fall=0)(0) == trapezoid(rise=0, fall=0)(1) == constant(0.3) == 1
