"""Fixtures that several test files share."""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from browser import DESKTOP, open_browser, show_as
from PIL import Image

from pysr.plugin import Degradation, Engine, Loss, Metric, Model, ModelReader, Preprocessor, hookimpl
from pysr.registry import Source, core, override


def pytest_configure() -> None:
    """Let Ctrl-C work in what tests start, even if a shell runs them in the background and ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def library_log() -> Iterator[None]:
    """Undo what a command does to the library's log, such as -q, which would hide warnings from later tests."""
    logger = logging.getLogger("pysr")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def install() -> Iterator[Callable[..., None]]:
    """Call it with models, losses and so on: until the test ends, a plugin "fake" provides them."""
    with ExitStack() as overrides:

        def install(
            *models: Model,
            losses: Sequence[Loss] = (),
            preprocessors: Sequence[Preprocessor] = (),
            metrics: Sequence[Metric] = (),
            degradations: Sequence[Degradation] = (),
            readers: Sequence[ModelReader] = (),
            engines: Sequence[Engine] = (),
        ) -> None:
            module = ModuleType("fake")
            vars(module).update(
                pysr_models=hookimpl(lambda: list(models)),
                pysr_losses=hookimpl(lambda: list(losses)),
                pysr_preprocessors=hookimpl(lambda: list(preprocessors)),
                pysr_metrics=hookimpl(lambda: list(metrics)),
                pysr_degradations=hookimpl(lambda: list(degradations)),
                pysr_model_files=hookimpl(lambda: list(readers)),
                pysr_engines=hookimpl(lambda: list(engines)),
            )
            overrides.enter_context(override([core(), Source("fake", "fake", "1", lambda: module)]))

        yield install


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two images of 66 x 60 pixels, to train on."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:60, :66]
    for i in range(2):
        waves = np.stack([np.sin(x / (2 + i + c) + np.cos(y / 3)) for c in range(3)], -1)
        Image.fromarray((waves * 100 + 128).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes in one thread until the test ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser for all tests; see `browser`."""
    driver = open_browser()
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    """A browser with an empty page of the size of a desktop's; tests that need it are skipped where it is missing."""
    show_as(chromium, DESKTOP, "light")
    chromium.get("about:blank")
    chromium.get_log("browser")
    return chromium
