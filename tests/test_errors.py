"""How exceptions are put into one line."""

import pytest

from pysr.errors import InputError, OutOfMemoryError, format_error


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
