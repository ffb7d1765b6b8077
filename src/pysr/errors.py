"""Every error that pysr raises on purpose.

PysrError
├── InputError         an argument, image or file that cannot be used     (also a ValueError)
├── UnknownNameError   no installed plugin provides that name             (also a LookupError)
├── PluginError        a plugin broke its contract; names the plugin
├── WeightsError       a weights file is missing, damaged or of another network
└── OutOfMemoryError   even the smallest tile did not fit                 (also a MemoryError)

A message says what was given, what is allowed and what to do.
"""

__all__ = ["InputError", "OutOfMemoryError", "PluginError", "PysrError", "UnknownNameError", "WeightsError"]


class PysrError(Exception):
    """Base of every error that pysr raises on purpose."""


class InputError(PysrError, ValueError):
    """An argument, image or file that pysr cannot use."""


class UnknownNameError(PysrError, LookupError):
    """No installed plugin provides the model, loss, preprocessor or metric."""


class PluginError(PysrError):
    """A plugin broke its contract; the message names the plugin and what it did."""


class WeightsError(PysrError):
    """A weights file is missing, damaged, or belongs to another network."""


class OutOfMemoryError(PysrError, MemoryError):
    """Even the smallest tile did not fit into memory; the message names the size tried last."""
