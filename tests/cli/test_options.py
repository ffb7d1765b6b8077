from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.cli.app import commands
from pysr.cli.options import parse_memory, parse_scale


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(2, 16), min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_scales_by_commas_or_repeated(groups: Any, data: Any) -> None:
    """Scales in any grouping and spelling, before or after the model, give the same scales."""
    args = ["vdsr", "--data", "a"]
    for group in groups:
        words = [data.draw(st.sampled_from([f"{number}", f"x{number}", f"{number}X"])) for number in group]
        text = data.draw(st.sampled_from([",", ", "])).join(words)
        args += data.draw(st.sampled_from([["--scale", text], [f"--scale={text}"], ["-s", text], [f"-s{text}"]]))
    if data.draw(st.booleans()):
        args = [*args[1:], args[0]]
    seen = parsed(*args)
    assert seen["scales"] == tuple(number for group in groups for number in group)
    assert seen["names"] == ("vdsr",)


def parsed(*args: Any) -> Any:
    command = commands.commands["evaluate"]
    with command.make_context("evaluate", list(args)) as context:
        return context.params


@given(st.integers(0, 10**6), st.sampled_from(["", "K", "M", "G", "T"]), st.sampled_from(["", "B", "iB"]))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_memory_is_counted_in_powers_of_1024(amount: Any, unit: Any, ending: Any) -> None:
    assert parse_memory(f"{amount}{unit}{ending}") == amount * 1024 ** ["", "K", "M", "G", "T"].index(unit)


@pytest.mark.parametrize("text", ["", "G", "-1", "4X", "1e3", "4 GG"])
def test_memory_fails(text: str) -> None:
    with pytest.raises(click.BadParameter, match="512M or 4G"):
        parse_memory(text)


@pytest.mark.parametrize("text", ["", "x", "xx2", "2.5", "-2", "two"])
def test_scale_fails(text: str) -> None:
    with pytest.raises(click.BadParameter, match="whole number"):
        parse_scale(text)
