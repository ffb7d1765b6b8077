"""How exceptions are put into one line."""

import pytest

from pysr.errors import InputError, OutOfMemoryError, explain_import, format_error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("no scale given"), "no scale given"),
        (OutOfMemoryError("the smallest patch did not fit"), "the smallest patch did not fit"),
        (FileNotFoundError(2, "No such file or directory", "a\n.png"), r"No such file or directory: 'a\n.png'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("image file is truncated"), "OSError: image file is truncated"),
        (MemoryError(), "not enough memory"),
        (MemoryError("Unable to allocate 8 GiB"), "not enough memory: Unable to allocate 8 GiB"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines"),
        (KeyError("a"), "KeyError: 'a'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_is_one_line(error: BaseException, line: str) -> None:
    assert format_error(error) == line


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("no_such_package.part", "pip install no_such_package, or reinstall the package pysr_probe"),
        ("pytest.gone", "pip install -U pytest, or reinstall the package pysr_probe"),
        ("pysr.gone", "pip install -U pysr-sdk, or reinstall the package pysr_probe"),  # "pysr" is another program's
        ("cv2", "pip install opencv-python, or reinstall the package pysr_probe"),
        ("json.gone", "reinstall the package pysr_probe"),  # Python's own have no packages
        ("pysr_probe.gone", "reinstall the package pysr_probe"),
    ],
)
def test_what_an_import_lacks_is_named_as_pip_knows_it(missing: str, advice: str) -> None:
    error = ModuleNotFoundError(f"No module named {missing!r}", name=missing)
    assert explain_import("pysr_probe:build", error) == f"pysr_probe:build cannot be loaded ({error}); {advice}"


def test_what_is_to_be_reinstalled_is_named_as_pip_knows_it() -> None:
    told = explain_import("pysr.files:reader", AttributeError("no reader"))
    assert told == "pysr.files:reader cannot be loaded (no reader); reinstall the package pysr-sdk"
