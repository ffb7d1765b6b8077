from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.cli.app import commands
from pysr.cli.options import SeveralValues, memory, scale


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.data())
def test_scales_after_one_flag_or_several(data):
    """Names and groups of scales in any order and spelling give the same names and scales."""
    names = data.draw(st.lists(st.sampled_from(["vdsr", "srcnn", "x2net", "a4"]), min_size=1, max_size=3))
    groups = data.draw(st.lists(st.lists(st.integers(2, 16), min_size=1, max_size=4), max_size=3))
    args, left = [], [*groups]
    for name in names:
        args.append(name)
        if left and data.draw(st.booleans()):
            args += spelled(data, left.pop(0))
    folders = []
    for group in [*left, [2]]:
        some = data.draw(st.lists(st.sampled_from(["3", "vdsr", "a/Set5"]), min_size=1, max_size=3))
        flag = data.draw(st.sampled_from([["--data", some[0]], [f"--data={some[0]}"]]))
        args += [*spelled(data, group), "-q", *flag, *some[1:]]
        folders += some
    seen = parsed(*args)
    assert list(seen["names"]) == names
    assert list(seen["scales"]) == [number for group in [*groups, [2]] for number in group]
    assert list(seen["data"]) == [Path(folder) for folder in folders]


def parsed(*args, of="evaluate"):
    seen = {}
    command = SeveralValues(of, params=commands.commands[of].params)
    command.callback = lambda **options: seen.update(options)
    command.main([*args], standalone_mode=False)
    return seen


def test_before_the_models_a_flag_names_one_folder():
    for args in (["--data", "a", "--data=b"], ["--device", "cpu", "--scale", "2", "3", "--data", "a", "--data", "b"]):
        seen = parsed(*args, "vdsr", "srcnn")
        assert (seen["names"], seen["data"]) == (("vdsr", "srcnn"), (Path("a"), Path("b")))


def test_a_training_takes_several_folders_after_one_flag():
    seen = parsed("vdsr", "--data", "a", "b", "--scale", "2", "3", "--out", "c", "--data", "d", of="train")
    assert (seen["name"], seen["scales"], seen["out"]) == ("vdsr", (2, 3), Path("c"))
    assert seen["data"] == (Path("a"), Path("b"), Path("d"))
    seen = parsed("--data", "a", "--out", "c", "--data", "b", "vdsr", of="train")
    assert (seen["name"], seen["data"]) == ("vdsr", (Path("a"), Path("b")))


def spelled(data, group):
    flag = data.draw(st.sampled_from(["--scale", "--scale=", "-s", "-s="]))
    words = [data.draw(st.sampled_from([f"{number}", f"x{number}", f"{number}x"])) for number in group]
    if flag == "-s=":
        return [f"-s{words[0]}", *words[1:]]
    return [f"{flag}{words[0]}", *words[1:]] if flag.endswith("=") else [flag, *words]


@given(st.integers(0, 10**6), st.sampled_from(["", "K", "M", "G", "T"]), st.sampled_from(["", "B", "iB"]))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_memory_is_counted_in_powers_of_1024(amount, unit, ending):
    assert memory(f"{amount}{unit}{ending}") == amount * 1024 ** ["", "K", "M", "G", "T"].index(unit)


@pytest.mark.parametrize("text", ["", "G", "-1", "4X", "1e3", "4 GG"])
def test_memory_fails(text):
    with pytest.raises(click.BadParameter, match="512M or 4G"):
        memory(text)


@pytest.mark.parametrize("text", ["", "x", "xx2", "2.5", "-2", "two"])
def test_scale_fails(text):
    with pytest.raises(click.BadParameter, match="whole number"):
        scale(text)
