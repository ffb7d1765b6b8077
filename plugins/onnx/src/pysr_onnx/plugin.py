"""What this distribution provides to pysr. Imports neither torch nor ONNX Runtime."""

from pathlib import Path

from pysr.plugin import ModelReader, hookimpl, lazy

IR_VERSION = 0x08  # tag of the first field of ModelProto, with which nearly every ONNX file begins
TAGS = {IR_VERSION, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72}  # of its fields, in Protocol Buffers


def is_onnx(path: Path, start: bytes) -> bool:
    """Whether a file is an ONNX model: by its first two fields, or by its name and the first."""
    if path.suffix.lower() == ".onnx":
        return bool(start) and start[0] in TAGS
    return len(start) > 2 and start[0] == IR_VERSION and 3 <= start[1] < 64 and start[2] in TAGS


@hookimpl
def pysr_model_files() -> list[ModelReader]:
    summary = "Networks of ONNX, computed by ONNX Runtime"
    return [ModelReader("onnx", is_onnx, lazy("pysr_onnx.reader:open_model"), summary, (".onnx",))]
