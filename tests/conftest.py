"""Fixtures that several test files share."""

import signal
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import pysr.builtin.plugin
from pysr.plugin import Loss, Model, Preprocessor, hookimpl
from pysr.registry import Registry, Source


def pytest_configure() -> None:
    """Ctrl-C works in what tests start, also where a shell runs them in the background and has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with models, losses and preprocessors: for one test, a plugin called "fake" provides them."""

    def install(*models: Model, losses: Sequence[Loss] = (), preprocessors: Sequence[Preprocessor] = ()) -> None:
        module = ModuleType("fake")
        module.pysr_models = hookimpl(lambda: list(models))
        module.pysr_losses = hookimpl(lambda: list(losses))
        module.pysr_preprocessors = hookimpl(lambda: list(preprocessors))
        sources = [
            Source("core", "pysr-sdk", "1", lambda: pysr.builtin.plugin),
            Source("fake", "fake", "1", lambda: module),
        ]
        registry = Registry(sources)
        upscaling = ("upscaling.chain", "upscaling.loading")
        training = ("training.config", "training.loop", "training.losses")
        for name in ("registry", "testing", *upscaling, *training):
            monkeypatch.setattr(import_module(f"pysr.{name}"), "registry", lambda: registry)

    return install


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two pictures of 66 x 60 pixels, to train on."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:60, :66]
    for i in range(2):
        waves = np.stack([np.sin(x / (2 + i + c) + np.cos(y / 3)) for c in range(3)], -1)
        Image.fromarray((waves * 100 + 128).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
