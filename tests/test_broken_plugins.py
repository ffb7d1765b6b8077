"""Plugins that are broken in all the ways that we know: each is told what to change, and none costs others anything.

All of them are installed at once, as hand-made distributions in one folder, beside the sound ones.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pysr import load
from pysr.registry import Registry, core, override
from pysr.testing import check_import, photo
from pysr.testing.pytest_plugin import checks, run_check

NETWORK = """
from pysr.plugin import {kind}, hookimpl
def build(*options):
    import torch
    from torch import nn
    class Network(nn.Module):
        def forward(self, low):
            high = low.repeat_interleave(2, -1).repeat_interleave(2, -2)
            {body}
    return Network()
@hookimpl
def pysr_models():
    return [Model("{name}", (2,), build, "", receptive_field=0)]
"""
LOSS = """
from pysr.plugin import Loss, hookimpl
def build():
    def loss(output, target):
        {body}
    return loss
@hookimpl
def pysr_losses():
    return [Loss("{name}", build, "")]
"""
METRIC = """
from pysr.plugin import Metric, hookimpl
def build():
    def measure(output, target):
        {body}
    return measure
@hookimpl
def pysr_metrics():
    return [Metric("{name}", build, "", "")]
"""
STEP = """
from pysr.plugin import Preprocessor, hookimpl
class Step:
    def preprocess(self, window, scale):
        {body}
    def postprocess(self, output, context, scale):
        return output
@hookimpl
def pysr_preprocessors():
    return [Preprocessor("{name}", Step, "")]
"""
DEGRADATION = """
from pysr.plugin import Degradation, hookimpl
def build():
    def degrade(high, scale, rng):
        {body}
    return degrade
@hookimpl
def pysr_degradations():
    return [Degradation("{name}", build, "")]
"""
READER = """
from pysr.plugin import ModelReader, hookimpl
def reads(path, start):
    {body}
def open_model(path):
    raise KeyError("magic")
@hookimpl
def pysr_model_files():
    return [ModelReader("{name}", reads, open_model, "", (".bin",))]
"""
RAISING = """
from pysr.plugin import hookimpl
@hookimpl
def {hook}():
    raise RuntimeError("no licence")
"""
QUIET = """
from pysr.plugin import hookimpl
@hookimpl
def pysr_models():
    return []
"""


def network(body: str) -> str:
    return NETWORK.replace("{kind}", "Model").replace("{body}", body)


HOOKS = ("models", "losses", "preprocessors", "metrics", "degradations", "model_files")
BROKEN: dict[str, tuple[str, str]] = {
    **{
        f"raises-in-{hook}": (RAISING.replace("{hook}", f"pysr_{hook}"), f"pysr_{hook} raised .*no licence")
        for hook in HOOKS
    },
    "wrong-shape": (
        network("return high[..., 1:]"),
        r"returned \(1, 3, 48, 47\) .* not \(1, 3, 48, 48\)|differ|not \(1, 3",
    ),
    "not-a-number": (network("return high * float('nan')"), "NaN|by nan"),
    "wrong-dtype": (network("return high.double()"), "returned torch.float64 for float32; leave the dtype"),
    "in-place": (network("low.mul_(0.5); return high"), "changed its input; work on a copy"),
    "narrow-field": (network("return (high + high.roll(4, -1)) / 2"), "receptive_field really 0|were measured"),
    "random": (network("return high + torch.rand(()) * 0.01"), "in a batch than alone|two runs on one image differ"),
    "remembers": (
        network("last = getattr(self, 'last', 0); self.last = low.mean().item() / 10; return high + last"),
        "depend on other items|keeps? nothing from call to call|8 threads",
    ),
    "sees-its-batch": (network("return high - low.mean() * 0.1"), "other pixels for an image in a batch than alone"),
    "changes-dtype": (
        network("torch.set_default_dtype(torch.float64); return high"),
        "changed torch's default dtype to",
    ),
    "changes-threads": (network("torch.set_num_threads(7); return high"), "changed torch's number of threads to 7"),
    "changes-device": (
        "import torch\ntorch.set_default_device('meta')\n" + QUIET,
        "it changed torch's default device to meta while it was imported",
    ),
    "imports-torch": (
        "import torch\n" + QUIET,
        r"imports .*torch, for which every command would wait; put what needs it",
    ),
    "slow": (
        "import time\nuntil = time.process_time() + 1.2\nwhile time.process_time() < until: pass\n" + QUIET,
        "s to import",
    ),
    "prints": ("print('hello')\n" + QUIET, "prints 'hello.*use logging"),
    "starts-a-thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3,), name='uploader').start()\n" + QUIET,
        "starts the thread 'uploader' when it is imported, and commands end only when it does",
    ),
    "changes-environment": (
        "import os\nos.environ['OMP_NUM_THREADS'] = '64'\n" + QUIET,
        "changes OMP_NUM_THREADS when",
    ),
    "name-taken": (
        NETWORK.replace("{kind}", "Model").replace("{name}", "bicubic").replace("{body}", "return high"),
        "'bicubic' is already taken by pysr-sdk",
    ),
    "old-interface": ("PYSR_API = 0\n" + QUIET, "version 0 of the plugin interface.*update the plugin"),
    "loss-of-vectors": (LOSS.replace("{body}", "return (output - target).abs()"), "not a scalar; take the mean"),
    "loss-in-place": (
        LOSS.replace("{body}", "target.mul_(0.5); return (output - target).abs().mean()"),
        "changed what it was given",
    ),
    "loss-without-gradient": (
        LOSS.replace("{body}", "return (output - target).detach().abs().mean()"),
        "has no gradient",
    ),
    "loss-of-roots": (
        LOSS.replace("{body}", "return (output - output.detach()).square().sqrt().mean()"),
        "is not finite; add a small",
    ),
    "metric-of-tensors": (
        METRIC.replace("{body}", "return (output - target).square().mean()"),
        r"not a finite number; end it with",
    ),
    "metric-upside-down": (
        METRIC.replace("{body}", "return (output - target).square().mean().item()"),
        "is lower_is_better=True meant",
    ),
    "step-in-place": (STEP.replace("{body}", "return window.mul_(0.5), None"), "changed what it was given"),
    "step-enlarges": (
        STEP.replace("{body}", "return window.repeat_interleave(2, -1), None"),
        "with enlarges=False its sides are",
    ),
    "step-reaches": (STEP.replace("{body}", "return window.roll(2, -1), None"), "declares a reach of 0 pixels, but 2"),
    "degrades-in-place": (
        DEGRADATION.replace("{body}", "return high.mul_(0.5)[:, ::scale, ::scale]"),
        "changed the image",
    ),
    "reads-everything": (READER.replace("{body}", "return True"), "return True only for the content of such files"),
    "reader-raises": (
        READER.replace("{body}", "return start[0] == 1"),
        "reads of reader-raises raised IndexError.*return False",
    ),
    "opens-badly": (READER.replace("{body}", "return False"), "raised KeyError.*raise WeightsError"),
}


IMPORTING = {
    "imports-torch",
    "slow",
    "prints",
    "starts-a-thread",
    "changes-environment",
}  # found in a process of their own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All broken plugins, and two packages whose metadata are not UTF-8."""
    folder = tmp_path_factory.mktemp("broken")
    for name, (code, _) in BROKEN.items():
        module = f"broken_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(code.replace("{name}", name))
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pysr]\n{name} = {module}\n")
    for name, metadata, points in (
        ("one", b"Name: b\xe4d\n", b"[pysr]\nx = y\n"),
        ("two", b"Name: x\n", b"[pysr]\n\xe4 = y\n"),
    ):
        info = folder / f"latin_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_bytes(b"Metadata-Version: 2.1\nVersion: 1.0\n" + metadata)
        (info / "entry_points.txt").write_bytes(points)
    return folder


def command_line(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}
    command = [sys.executable, "-m", "pysr", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_with_all_of_them_installed_the_others_work_as_ever(folder: Path) -> None:
    image = (photo(20, 24) * 255).astype(np.uint8)
    Image.fromarray(image).save(folder / "photo.png")
    done = command_line(folder, "upscale", "photo.png", "-m", "bicubic", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"input"') and done.stdout.count("\n") == 1, "nothing else on standard output"
    assert "hello" in done.stderr
    with Image.open(folder / "photo_x2.png") as made:
        wanted = load("bicubic", 2, device="cpu").upscale(image)
        assert np.array_equal(np.asarray(made), wanted)
    shown = command_line(folder, "plugins").stdout
    for name in ("raises-in-models", "changes-device", "name-taken", "old-interface", "latin_one", "latin_two"):
        assert name in shown
    assert "install it again, or write them in UTF-8" in " ".join(shown.split())


def test_help_loads_no_plugin_and_opens_no_network(folder: Path) -> None:
    code = "import sys; from pysr.cli.app import main; main(['--help']); print('MODULES', *sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    modules = set(done.stdout.partition("MODULES")[2].split())
    assert not {"importlib.metadata", "socket", "ssl", "http.client", "urllib.request", "pluggy"} & modules
    assert not [name for name in modules if name.startswith("broken_")]


@pytest.fixture(scope="module")
def installed(folder: Path) -> Iterator[Registry]:
    """The broken plugins in this process, with the core's."""
    from pysr.registry import _installed

    sys.path.append(str(folder))
    try:
        with override(
            [core(), *(source for source in _installed() if source.distribution in BROKEN.keys() - IMPORTING)]
        ) as found:
            yield found
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize("name", sorted(BROKEN.keys() - IMPORTING))
def test_what_is_wrong_is_said(installed: Registry, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("pysr.testing.imports.check_import", lambda module: None)  # slow, and tested below
    said = []
    for _, check in checks(name):
        try:
            run_check(check)
        except Exception as error:
            said.append(str(error))
    assert said, "nothing was found"
    assert any(re.search(BROKEN[name][1], text, re.DOTALL) for text in said), said


@pytest.mark.parametrize("name", sorted(IMPORTING))
def test_what_is_wrong_with_an_import_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(folder)]))
    monkeypatch.setattr("pysr.testing.imports.LONGEST_WAIT", 100)  # torch takes long to import on a busy computer
    with pytest.raises(AssertionError, match=BROKEN[name][1]):
        check_import(f"broken_{name.replace('-', '_')}")


def test_an_import_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text("while True: pass\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(tmp_path)]))
    monkeypatch.setattr("pysr.testing.imports.LONGEST_WAIT", 1)
    with pytest.raises(AssertionError, match=r"endless is still being imported after 1 seconds"):
        check_import("endless")
