"""Keeps a plugin's code from changing torch's defaults, which are common to all.

Nothing here imports torch; where it is not imported yet, its defaults are those that it starts with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def preserve_torch_defaults() -> Iterator[list[str]]:
    """Undo what the ``with`` block changes of torch's defaults.

    Yields:
        A list, to which what was undone is added when the block ends, as "torch's default device to meta".
    """
    before, undone = _defaults(), list[str]()
    try:
        yield undone
    finally:
        for what, now in _defaults().items():
            known = before.get(what)
            if known is None and what == "number of threads":
                continue  # torch was not imported before, so nobody has chosen one
            if now != (known or _INITIAL[what]):
                undone.append(f"torch's {what} to {now}")
                _restore(what, known)


_INITIAL = {"default device": "cpu", "default dtype": "torch.float32", "recording of gradients": "True"}


def _defaults() -> dict[str, str]:
    """Return torch's defaults as text; empty if it is not imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):  # the second: it is being imported right now
        return {}
    return {
        "default device": str(torch.get_default_device()),
        "default dtype": str(torch.get_default_dtype()),
        "number of threads": str(torch.get_num_threads()),
        "recording of gradients": str(torch.is_grad_enabled()),
    }


def _restore(what: str, value: str | None) -> None:
    torch: Any = sys.modules["torch"]
    value = value or _INITIAL[what]
    if what == "default device":
        torch.set_default_device(None if value == "cpu" else value)
    elif what == "default dtype":
        torch.set_default_dtype(getattr(torch, value.removeprefix("torch.")))
    elif what == "number of threads":
        torch.set_num_threads(int(value))
    else:
        torch.set_grad_enabled(value == "True")
