"""`FileJob`: an image file to upscale, and `FileResult`: what became of it. Both travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError, PysrError, format_error
from ..files.remote import Place
from ..files.streams import Buffered

if TYPE_CHECKING:
    from .report import Report
    from .settings import Settings
    from .upscaler import Upscaler


@dataclass(frozen=True)
class FileJob:
    """One image file to upscale and the file to write.

    Attributes:
        source: The file to read, or its bytes.
        target: The file to write, or one that is open for writing.
        scale: Of the model, 1 for none; None if it is the same for all files.
        error: Why the file cannot be upscaled, as far as that is known before; None if nothing speaks against it.
    """

    source: Place | Buffered
    target: Place | IO[bytes]
    scale: int | None = None
    error: InputError | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process, where the current folder may be another."""
        return FileJob, (_absolute(self.source), _absolute(self.target), self.scale, self.error)


@dataclass(frozen=True)
class FileResult:
    """The outcome for one image file.

    Attributes:
        source: The image file that was read, as in `FileJob`.
        target: The file to write, likewise.
        size: (width, height) of the result in pixels; None if it failed or was skipped.
        seconds: Wall time of reading, upscaling and writing.
        error: The reason for a failure; None if ``target`` was written.
        upscaler: What upscaled it; None if it failed before a model was chosen.
        report: What became of it, as `Upscaler.upscale_file` returns it; None if it failed.
        skipped: Why there was nothing to do; empty if there was.
        warnings: What the log warned of meanwhile.
        settings: What decided the pixels; None if it failed before that was known.
    """

    source: Place | Buffered
    target: Place | IO[bytes]
    size: tuple[int, int] | None
    seconds: float
    error: Exception | None = None
    upscaler: Upscaler | None = None
    report: Report | None = None
    skipped: str = ""
    warnings: tuple[str, ...] = ()
    settings: Settings | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process, without the upscaler."""
        about = _portable(self.error), None, self.report, self.skipped, self.warnings, self.settings
        return FileResult, (self.source, self.target, self.size, self.seconds, *about)


def _absolute(file: Any) -> Any:
    return file.absolute() if isinstance(file, Path) else file


def _portable(error: Exception | None) -> Exception | None:
    """Return an error as other processes can receive it: itself, or one of its message if its class is foreign."""
    if error is None or type(error).__module__.partition(".")[0] in ("builtins", "pysr"):
        return error
    return PysrError(format_error(error))
