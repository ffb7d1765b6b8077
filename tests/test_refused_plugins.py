"""Plugins: what goes wrong in one is kept as data and costs nobody else anything."""

import asyncio
import signal
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
from plugin_samples import CORE, model, module, nothing, providing, source

from pysr.errors import Stop
from pysr.plugin import Loss, Model, hookimpl
from pysr.registry import Registry, Source


def raising(error: BaseException) -> Callable[[], Any]:
    def hook() -> Any:
        raise error

    return hook


def raising_late() -> Any:
    yield model("early")
    raise ValueError("too late")


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no repr")


BROKEN = {
    "import error": (source("bad", error=ImportError("no module named torchvision")), "torchvision"),
    "exit at import": (source("bad", error=SystemExit(3)), "SystemExit"),
    "syntax error": (source("bad", error=SyntaxError("invalid syntax")), "SyntaxError"),
    "endless recursion": (source("bad", error=RecursionError()), "RecursionError"),
    "nothing imported": (source("bad", None), ""),
    "no hook": (source("bad", module(helper=len)), "no hook"),
    "unmarked hook": (source("bad", module(pysr_models=lambda: [model("x")])), "no hook"),
    "misspelt hook": (source("bad", module(pysr_modles=hookimpl(lambda: [model("x")]))), "pysr_modles"),
    "unknown argument": (source("bad", module(pysr_models=hookimpl(lambda upscaler: []))), "upscaler"),
    "raising hook": (source("bad", module(pysr_models=hookimpl(raising(RuntimeError("no licence"))))), "no licence"),
    "exiting hook": (source("bad", module(pysr_losses=hookimpl(raising(SystemExit(1))))), "SystemExit"),
    "raising generator": (source("bad", module(pysr_models=hookimpl(raising_late))), "too late"),
    "a model instead of a list": (source("bad", module(pysr_models=hookimpl(lambda: model("x")))), "not iterable"),
    "not a reader": (
        source("bad", module(pysr_model_files=hookimpl(lambda: [3]))),
        "pysr_model_files gave 3, which is not",
    ),
    "not a model": (source("bad", providing("vdsr")), "'vdsr', which is not a Model"),
    "the class instead of a model": (source("bad", providing(Model)), "not a Model"),
    "a loss as a model": (source("bad", providing(Loss("x", nothing, ""))), "not a Model"),
    "a name that is a list": (source("bad", providing(model(["x"]))), "give text in one line"),
    "aliases that are None": (source("bad", providing(model("x", aliases=None))), "give several words"),
    "no repr": (source("bad", providing(Unprintable())), "no repr"),
}


@pytest.mark.parametrize(("bad", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_data_and_stops_nobody(bad: Source, reason: str) -> None:
    found = Registry([CORE, bad, source("good", providing(model("fine")))])
    core, broken, good = found.plugins
    assert (core.state, good.state) == ("ok", "ok")
    assert broken.state == "failed"
    assert broken.error is not None
    assert reason in broken.error
    assert broken.models == broken.losses == broken.preprocessors == ()
    assert set(found.models) == {"bicubic", "nearest", "lanczos", "fine"}
    assert found.model("fine").name == "fine"


@pytest.mark.parametrize(
    ("version", "update"), [(2, "pysr-sdk"), (0, "the plugin"), ("1", "the plugin")], ids=["newer", "older", "text"]
)
def test_a_plugin_for_another_version_of_the_interface_is_refused(version: Any, update: str) -> None:
    made = providing(model("early"))
    vars(made)["PYSR_API"] = version
    (plugin,) = Registry([source("other", made)]).plugins
    assert plugin.state == "failed"
    assert f"written for version {version} of the plugin interface, and this is version 1; update {update}" in str(
        plugin.error
    )
    vars(made)["PYSR_API"] = 1
    assert Registry([source("same", made)]).plugins[0].state == "ok"


def test_a_hook_without_an_end_is_given_up() -> None:
    found = Registry([source("endless", module(pysr_models=hookimpl(lambda: repeat(model("odd"))))), CORE])
    assert found.plugins[0].state == "failed"
    assert found.plugins[0].error == "pysr_models returns more than 10000 descriptions; end its loop"
    assert "bicubic" in found.models


def test_a_hook_that_gives_none_provides_nothing() -> None:
    found = Registry([source("quiet", module(pysr_models=hookimpl(lambda: None))), CORE])
    assert found.plugins[0].models == ()
    assert "bicubic" in found.models


def test_only_the_bad_item_of_a_plugin_is_refused() -> None:
    found = Registry([source("mixed", providing(model("one"), 3, model("two")))])
    assert set(found.models) == {"one", "two"}
    assert found.plugins[0].state == "partly"
    assert "3, which is not a Model" in (found.plugins[0].error or "")


def test_keyboard_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        Registry([source("slow", error=KeyboardInterrupt())])


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), BaseException("odd"), SystemExit(3), Mute()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_plugin_raises_breaks_only_itself(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: lambda *_: None)  # as in commands
    broken = [source("at-import", error=error), source("in-hook", module(pysr_models=hookimpl(raising(error))))]
    found = Registry([CORE, *broken, source("sound", providing(model("sound")))])
    assert [plugin.state for plugin in found.plugins] == ["ok", "failed", "failed", "ok"]
    assert type(error).__name__ in (found.plugins[1].error or "")
    assert "sound" in found.models


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stop(2)])
def test_ctrl_c_while_plugins_are_loaded_is_no_fault_of_theirs(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Registry([source("slow", error=error)])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", 7),
        ("name", "two\nlines"),
        ("name", "\x1b[31mred"),
        ("name", ""),
        ("summary", 7),
        ("scales", (2.0,)),
        ("network", None),
        ("aliases", "x"),
        ("aliases", (None,)),
        ("weights", "x"),
        ("weights", {2: "x.safetensors"}),
        ("scores", {2: "37"}),
        ("colour", "green"),
        ("domain", None),
        ("made_for", []),
        ("variants", "abc"),
        ("receptive_field", "8"),
        ("receptive_field", -1),
        ("multiple_of", 0),
        ("recipes", ["paper"]),
        ("paper", None),
        ("licence", 1),
    ],
)
def test_fields_of_wrong_types_are_refused(field: str, value: Any) -> None:
    values: dict[str, Any] = {"name": "odd", "scales": (2,), "network": nothing, "summary": ""}
    found = Registry([CORE, source("odd", providing(model("sound"), Model(**values | {field: value})))])
    assert found.plugins[1].state == "partly"
    assert f"{field}=" in (found.plugins[1].error or "")
    assert [name for name in found.models if name not in Registry([CORE]).models] == ["sound"]
