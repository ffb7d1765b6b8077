"""spandrel, imported whether torchvision works or not, and what it says of a state dict."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pysr.errors import InputError, PluginError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "pip install --no-deps 'spandrel>=0.4.2,<0.5' einops typing_extensions"
_TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


def spandrel_version() -> str:
    """Return the version of the installed spandrel, without importing it.

    Raises:
        PluginError: It is not installed.
    """
    try:
        return version("spandrel")
    except PackageNotFoundError:
        raise PluginError(f"pysr-spandrel needs spandrel, which is not installed: {INSTALL}") from None


@cache
def spandrel() -> Any:
    """Import spandrel.

    Raises:
        PluginError: It cannot be imported.
    """
    try:
        with _torchvision_or_stand_in():
            return importlib.import_module("spandrel")
    except ImportError as error:
        raise PluginError(f"spandrel cannot be imported ({error}): {_install(error)}") from error


def _install(error: ImportError) -> str:
    """The command that installs what spandrel did not find."""
    missing = ((error.name or "") if isinstance(error, ModuleNotFoundError) else "").partition(".")[0]
    return INSTALL if missing in ("", "spandrel", *INSTALL.split()) else f"pip install {missing}"


@contextmanager
def _torchvision_or_stand_in() -> Iterator[None]:
    """Let spandrel be imported where torchvision cannot be.

    It takes three names from it, for LaMa and RestoreFormer, which are no upscalers. The wheel of torchvision on the
    package index is built for CUDA and cannot be imported beside a CPU build of torch ("operator torchvision::nms does
    not exist"); then these names are stand-ins while spandrel is imported.
    """
    before = {name for name in sys.modules if name.partition(".")[0] == "torchvision"}
    try:
        importlib.import_module(_TORCHVISION[-1])
    except Exception:  # missing, or one of several errors of a wheel that does not fit
        pass
    else:
        yield
        return
    _forget_torchvision(before)
    sys.modules.update(zip(_TORCHVISION, _stand_ins(), strict=True))
    try:
        yield
    finally:
        _forget_torchvision(before)


def _forget_torchvision(but: set[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision" and name not in but]:
        del sys.modules[name]


def _stand_ins() -> list[ModuleType]:
    def needs_torchvision(*_: Any, **__: Any) -> Any:
        raise PluginError("this architecture needs torchvision, which cannot be imported here; install one that fits")

    modules = [ModuleType(name) for name in _TORCHVISION]
    names = {"rotate": needs_torchvision, "normalize": needs_torchvision}
    vars(modules[-1]).update(names, InterpolationMode=Enum("InterpolationMode", ["NEAREST", "BILINEAR"]))
    return modules


def describe(tensors: Mapping[str, Tensor], what: str) -> Any:
    """Build spandrel's descriptor, with its network, of a state dict.

    Args:
        tensors: The state dict.
        what: The file, for messages.

    Raises:
        InputError: spandrel knows no architecture with such weights.
        WeightsError: It knows one, but the weights do not fit it.
        PluginError: A package that the architecture needs is not installed.
        MemoryError: The network does not fit into memory.
    """
    library = spandrel()
    try:
        with warnings.catch_warnings():  # of torch, about how the architectures are written
            warnings.simplefilter("ignore")
            descriptor = library.MAIN_REGISTRY.load(dict(tensors))
    except library.UnsupportedModelError:
        names = ", ".join(list(tensors)[:3])
        raise InputError(
            f"{what} holds the weights of no architecture that spandrel {spandrel_version()} knows ({names} ...); "
            "update spandrel, or look for another model"
        ) from None
    except (MemoryError, PluginError):
        raise
    except ImportError as error:  # an architecture imports a package when it is built
        raise PluginError(f"spandrel cannot build the network of {what} ({error}): {_install(error)}") from error
    except Exception as error:  # what an architecture's code does with weights that do not fit it
        if "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from None
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"{what} does not fit the architecture that it seems to be of ({reason})") from None
    descriptor.model.eval().requires_grad_(False)
    return descriptor
