"""What this distribution provides to pysr. Imports neither torch nor ncnn."""

from pathlib import Path

from pysr.plugin import ModelReader, hookimpl, lazy

MAGIC = b"7767517"  # the first line of a network as text


def reads(path: Path, start: bytes) -> bool:
    """Whether a file is a network of ncnn as text, or the weights beside one."""
    if path.suffix.lower() == ".bin":
        text = path.with_suffix(".param")
        if not text.is_file():
            return False
        with text.open("rb") as file:
            start = file.read(len(MAGIC) + 1)
    return start[: len(MAGIC)] == MAGIC and start[len(MAGIC) : len(MAGIC) + 1] in (b"\n", b"\r", b" ")


@hookimpl
def pysr_model_files() -> list[ModelReader]:
    return [
        ModelReader(
            "ncnn",
            reads,
            lazy("pysr_ncnn.reader:open_file"),
            "ncnn's .param with the .bin beside it, computed by ncnn on the CPU",
            (".param",),
        )
    ]
