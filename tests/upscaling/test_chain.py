"""Which models a name stands for, and how an enlargement is split among them."""

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from pysr.errors import InputError, UnknownNameError
from pysr.plugin import Model
from pysr.upscaling.chain import Chain


def spec(name: str, *scales: int, colour: str = "any") -> Model:
    return Model(name, scales, lambda scale, variant: None, "", aliases=(f"{name}1",), colour=colour)  # type: ignore


@pytest.fixture(autouse=True)
def fakes(install: Callable[..., None]) -> None:
    install(spec("a", 3, 2, 5), spec("b", 2, 3), spec("c", 4), spec("l", 2, colour="luma"), spec("r", 2, colour="rgb"))


@pytest.mark.parametrize(
    ("model", "name", "scales"),
    [
        ("a", "a", (3, 2, 5)),
        (["a"], "a", (3, 2, 5)),
        ("a1+b", "a+b", (9, 4)),
        (["a", "b"], "a+b", (9, 4)),
        (("a", "b", "a"), "a+b+a", (27, 8)),
        ("a:2+b:3", "a:2+b:3", (6,)),
        (["c:4", "c:4"], "c:4+c:4", (16,)),
        ("a:5", "a:5", (5,)),
        ("a+c", "a+c", ()),
    ],
)
def test_names_stand_for_models_in_a_row(model: str | Sequence[str], name: str, scales: tuple[int, ...]) -> None:
    chain = Chain.parse(model)
    assert (chain.name, chain.scales) == (name, scales)


@pytest.mark.parametrize(
    ("model", "scale", "parts"),
    [
        ("a", None, (3,)),
        ("a", 5, (5,)),
        ("a+b", None, (3, 3)),
        ("a+b", 4, (2, 2)),
        ("b+b+b", 8.0, (2, 2, 2)),
        ("a:5+b:2", None, (5, 2)),
        ("a:5+b:2", 10, (5, 2)),
    ],
)
def test_the_scale_is_the_product_of_the_parts(model: str, scale: int | None, parts: tuple[int, ...]) -> None:
    assert Chain.parse(model).at(scale).parts == parts


@pytest.mark.parametrize(
    ("model", "scale", "error", "message"),
    [
        ("a+d", 4, UnknownNameError, "no model called 'd'"),
        ("a+", 4, UnknownNameError, "no model called ''"),
        (5, 4, UnknownNameError, "no model called '5'"),
        ([], 4, InputError, "list of models is empty"),
        ("a", 7, InputError, r"a has no scale 7; it has 2, 3, 5$"),
        ("a", 8, InputError, r"a has no scale 8; it has 2, 3, 5; for 8, use the chain a\+a\+a$"),
        ("a", 30, InputError, r"for 30, use the chain a:2\+a:3\+a:5$"),
        (
            "a+b",
            6,
            InputError,
            r"a\+b has no scale 6; it has 4, 9 \(in equal parts\); .* name the parts, as in a:3\+b",
        ),
        ("a+b", 25, InputError, r"a\+b has no scale 25; it has 4, 9 "),
        ("a+c", None, InputError, r"a\+c has no scale None; it has none \(in equal parts\); .* as in a:3\+c:4"),
        ("a:2+b:3", 4, InputError, r"a:2\+b:3 has no scale 4; it has 6$"),
        ("a:2+b", 4, InputError, r"only some models of a:2\+b have a scale"),
        ("a:4+b:2", None, InputError, "a has no scale 4; it has 2, 3, 5"),
        ("a:two", None, InputError, "scale of a is 'two'; give a whole number, as in a:3"),
        ("a:", None, InputError, "scale of a is ''; give a whole number"),
    ],
)
def test_what_cannot_be_a_chain_is_named(model: str, scale: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Chain.parse(model).at(scale)


@pytest.mark.parametrize(
    ("model", "colour"), [("a+b", "any"), ("a+l", "luma"), ("l+a", "luma"), ("l+r", "rgb"), ("r+l+a", "rgb")]
)
def test_the_colour_of_a_chain_is_what_its_models_need(model: str, colour: str) -> None:
    described = Chain.parse(model).at(2 ** (model.count("+") + 1)).describe()
    assert described.colour == colour
    assert described.name == ":2+".join(model.split("+")) + ":2"
    assert described.scales == (2 ** (model.count("+") + 1),)
    assert not described.weights
    assert not described.recipes


def test_one_model_is_described_by_itself() -> None:
    assert Chain.parse("a:2").describe() is Chain.parse("a1").models[0]


def test_no_torch_is_needed() -> None:
    code = "import sys; from pysr.upscaling.chain import Chain\n"
    code += "print(Chain.parse('bicubic+nearest').scales, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(4, 9, 16, 25, 36, 49, 64) False\n"
