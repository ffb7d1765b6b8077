"""The registry: which plugins are installed, what they provide, and by which names it is found."""

import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from plugin_samples import CORE, model, module, nothing, providing, source

from pysr import UnknownNameError
from pysr.plugin import Degradation, Loss, Metric, Model, ModelReader, Preprocessor, hookimpl
from pysr.providers import PROVIDERS
from pysr.registry import Plugin, Registry, Source, _installed, models, override, registry

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("names", ["slow", "PYSR_Slow", "other, pysr-slow"])
def test_disabled_plugins_are_not_loaded(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_DISABLE_PLUGINS", f"{names},core,pysr-sdk")
    slow = Source("slow", "pysr-slow", "1", lambda: pytest.fail("loaded"))
    found = Registry([CORE, slow, source("good", providing(model("fine")))])
    assert [plugin.state for plugin in found.plugins] == ["ok", "disabled", "ok"]
    assert found.plugins[1].error == "by PYSR_DISABLE_PLUGINS"


def test_a_plugin_that_takes_long_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pysr.registry.SLOW", 0.2)

    def load() -> ModuleType:
        time.sleep(0.6)
        return providing(model("late"))

    Registry([Source("sleepy", "pysr-sleepy", "1", load), source("quick", providing(model("early")))])
    (line,) = capsys.readouterr().err.splitlines()
    assert "the plugin 'sleepy' of pysr-sleepy" in line
    assert line.endswith("set PYSR_DISABLE_PLUGINS=sleepy")


def test_a_repeated_name_is_refused_and_the_first_wins() -> None:
    first, second = model("same"), model("same")
    found = Registry([source("a", providing(first)), source("b", providing(second, model("other")))])
    assert found.model("same") is first
    assert found.owner("same") == "a"
    assert found.plugins[1].state == "partly"
    assert found.plugins[1].models == ("other",)
    assert found.plugins[1].error == "the model name 'same' is already taken by a"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (model("a", aliases=("shared",)), model("b", aliases=("shared",))),
        (model("a", aliases=("b",)), model("b")),
        (model("a"), model("b", aliases=("a",))),
    ],
    ids=["alias and alias", "alias and name", "name and alias"],
)
def test_a_repeated_alias_is_refused_whole(first: Model, second: Model) -> None:
    found = Registry([source("one", providing(first)), source("two", providing(second))])
    assert set(found.models) == {"a"}
    assert found.plugins[1].state == "failed"
    assert "already taken by one" in (found.plugins[1].error or "")
    for name in ("a", *first.aliases):
        assert found.model(name) is first


def test_a_refused_model_leaves_no_alias_behind() -> None:
    refused = model("taken", aliases=("fresh",))
    found = Registry([source("a", providing(model("taken"))), source("b", providing(refused, model("fresh")))])
    assert found.model("fresh").name == "fresh"
    assert found.plugins[1].models == ("fresh",)


def test_everything_else_comes_the_same_way() -> None:
    loss, step = Loss("edges", nothing, ""), Preprocessor("gamma", nothing, "")
    metric, degradation = Metric("niqe", nothing, "", "NIQE"), Degradation("rain", nothing, "")
    reader = ModelReader("cloud", nothing, nothing, "", (".cloud",))
    members = {
        "pysr_losses": hookimpl(lambda: [loss]),
        "pysr_preprocessors": hookimpl(lambda: [step]),
        "pysr_metrics": hookimpl(lambda: [metric]),
        "pysr_degradations": hookimpl(lambda: [degradation]),
        "pysr_model_files": hookimpl(lambda: [reader]),
    }
    found = Registry([CORE, source("more", module(**members))])
    assert found.loss("edges") is loss
    assert found.preprocessor("gamma") is step
    assert found.metric("niqe") is metric
    assert found.degradation("rain") is degradation
    assert found.readers["cloud"] is reader and found.reader_owner("cloud") == "more"
    assert found.plugins[1] == Plugin(
        "more", "more", "1.0", "ok", None, (), ("edges",), ("gamma",), ("niqe",), ("rain",), ("cloud",)
    )
    with pytest.raises(UnknownNameError, match=r"no loss called 'vgg' \(installed: .*edges"):
        found.loss("vgg")
    with pytest.raises(UnknownNameError, match="no preprocessor called 'gama'; did you mean 'gamma'"):
        found.preprocessor("gama")
    with pytest.raises(UnknownNameError, match=r"no metric called 'lpips' \(installed: niqe, psnr, ssim\)"):
        found.metric("lpips")
    with pytest.raises(UnknownNameError, match=r"no degradation called 'photo-midl'; did you mean 'photo-mild'"):
        found.degradation("photo-midl")


def message(found: Registry, name: Any) -> str:
    with pytest.raises(UnknownNameError) as raised:
        found.model(name)
    return str(raised.value)


def test_unknown_model_lists_what_is_installed() -> None:
    assert message(Registry([CORE]), "qqq") == "there is no model called 'qqq' (installed: bicubic, lanczos, nearest)"
    assert message(Registry([]), "qqq") == "there is no model called 'qqq' (installed: none)"


@pytest.mark.parametrize("name", ["bicubc", "BICUBIC", "Bicubik"])
def test_unknown_model_gives_the_nearest_spelling(name: str) -> None:
    assert "; did you mean 'bicubic'? (installed: " in message(Registry([CORE]), name)


def test_unknown_model_names_the_package_that_provides_it() -> None:
    similar = Registry(
        [CORE, source("pysr-srcnn", providing(model("srcnn")))]
    )  # a near spelling does not hide the package
    for name in ("srgan", "SRGAN"):
        assert "; it comes with the package pysr-srgan, which is there (" in message(similar, name)
    assert "did you mean 'srcnn'" in message(similar, "SRCNN")


def test_a_package_that_is_missing_or_lacks_its_metadata_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("pysr.namespaces.version", none)
    assert "pysr-srgan, which is there without its metadata" in message(Registry([CORE]), "srgan")
    assert "--copy-metadata pysr-srgan --collect-all pysr_srgan" in message(Registry([CORE]), "srgan")
    monkeypatch.setattr("pysr.namespaces.find_spec", lambda module: None)
    assert "pysr-srgan, which is not installed (" in message(Registry([CORE]), "srgan")


@pytest.mark.parametrize("name", [3, None, ["bicubic"], ""])
def test_a_name_that_is_no_name_is_unknown(name: Any) -> None:
    assert f"no model called {name!r}" in message(Registry([CORE]), name)


def test_an_alias_finds_its_model() -> None:
    found = Registry([source("a", providing(model("real", aliases=("short", "old"))))])
    assert found.model("short") is found.model("old") is found.model("real")
    assert list(found.models) == ["real"]


def test_the_core_comes_first() -> None:
    first = registry().plugins[0]
    assert (first.name, first.distribution, first.state) == ("core", "pysr-sdk", "ok")
    assert [m.name for m in models()][:3] == ["bicubic", "nearest", "lanczos"]
    others = [(p.distribution, p.name) for p in registry().plugins[1:]]
    assert others == sorted(others)


def distribution(folder: Path, name: str, code: str, *, metadata: bool = True, points: str | None = None) -> None:
    module_name = name.replace("-", "_")
    (folder / f"{module_name}.py").write_text(code)
    info = folder / f"{module_name}-1.0.dist-info"
    info.mkdir()
    info.joinpath("entry_points.txt").write_text(points or f"[pysr]\n{name} = {module_name}\n")
    if metadata:
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


GOOD = """
from pysr.plugin import Model, hookimpl
@hookimpl
def pysr_models():
    return [Model("{0}", (2,), lambda scale, variant: None, "")]
"""


def run(code: str, path: Path) -> str:
    """What a fresh interpreter prints that also finds packages at that path."""
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(path)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_broken_distributions_do_not_hide_the_others(tmp_path: Path) -> None:
    distribution(tmp_path, "zz-good", GOOD.format("good"))
    distribution(tmp_path, "aa-good", GOOD.format("early"))
    distribution(tmp_path, "mm-crash", "raise RuntimeError('broken at import')")
    distribution(tmp_path, "mm-exit", "raise SystemExit(1)")
    distribution(tmp_path, "mm-syntax", "def (")
    distribution(tmp_path, "mm-gone", "", points="[pysr]\ngone = no_such_module\n")
    distribution(tmp_path, "mm-nameless", GOOD.format("nameless"), metadata=False)
    distribution(tmp_path, "mm-damaged", "", points="[pysr]\nthis is no entry point\n")
    code = (
        "import pysr\nfrom pysr.registry import registry\nprint([m.name for m in pysr.models()])\n"
        "for p in registry().plugins: print(p.distribution, p.state, p.error)"
    )
    first, *lines = run(code, tmp_path).splitlines()
    for name in ("bicubic", "good", "early", "nameless"):
        assert f"'{name}'" in first
    states = {line.split()[0]: line for line in lines}
    for name, reason in {
        "mm-crash": "failed RuntimeError: broken at import",
        "mm-exit": "failed SystemExit: 1",
        "mm-syntax": "failed SyntaxError",
        "mm-gone": "failed ModuleNotFoundError",
        "zz-good": "ok",
        "unknown": "ok",
    }.items():
        assert states[name].startswith(f"{name} {reason}")
    order = [line.split()[0] for line in lines]
    assert order == ["pysr-sdk", *sorted(order[1:])]


def test_listing_models_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys, pysr\nassert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'import pysr'\n"
        "pysr.models()\nfrom pysr.registry import registry\nregistry()\n"
        "import pysr.plugin\nprint({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    assert run(code, tmp_path).strip() == "set()"


def test_override_replaces_the_installed_plugins_within_its_block() -> None:
    before = registry()
    with override([source("one", providing(model("first")))]) as outer:
        assert registry() is outer and [m.name for m in models()] == ["first"]
        with override([CORE]) as inner:
            assert registry() is inner and registry().metrics.keys() == {"psnr", "ssim"}
        assert registry() is outer
        with pytest.raises(KeyError), override([]):
            raise KeyError("an error ends it, too")
        assert registry() is outer
    assert registry() is before


def test_the_names_of_packages_that_may_be_missing_are_those_of_the_repository() -> None:
    """`PROVIDERS`, which is for packages that are not installed, against what the plugins of this repository give."""
    names = {tomllib.loads(path.read_text())["project"]["name"] for path in ROOT.glob("plugins/*/pyproject.toml")}
    plugins = [plugin for plugin in registry().plugins if plugin.distribution in names]
    if names - {plugin.distribution for plugin in plugins}:
        pytest.skip("not all plugins of this repository are installed")
    provided: dict[str, dict[str, str]] = {"model": {}, "loss": {}, "metric": {}, "engine": {}}
    for plugin in plugins:
        aliases = [alias for name in plugin.models for alias in registry().model(name).aliases]
        provided["model"] |= dict.fromkeys((*plugin.models, *aliases), plugin.distribution)
        provided["loss"] |= dict.fromkeys(plugin.losses, plugin.distribution)
        provided["metric"] |= dict.fromkeys(plugin.metrics, plugin.distribution)
        provided["engine"] |= dict.fromkeys(plugin.engines, plugin.distribution)
        assert not plugin.preprocessors + plugin.degradations
    assert provided == PROVIDERS


def test_a_frozen_program_without_metadata_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr("pysr.registry.distributions", lambda: iter(()))
    assert set(Registry(_installed()).models) == {"bicubic", "lanczos", "nearest"}
    assert "this frozen program lacks the metadata of pysr's plugins" in caplog.text


def test_a_name_stays_with_its_package_whichever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [CORE, source("aaa", providing(model("vdsr"))), source("pysr-vdsr", providing(model("vdsr")))]
    monkeypatch.setattr("pysr.namespaces._installed_version", {"pysr-vdsr": "1.0"}.get)
    found = Registry(sources)
    assert found.owner("vdsr") == "pysr-vdsr"
    assert "already taken by pysr-vdsr" in (found.plugins[1].error or "")
    monkeypatch.setattr("pysr.namespaces._installed_version", {}.get)
    assert Registry(sources[:2]).owner("vdsr") == "aaa"
