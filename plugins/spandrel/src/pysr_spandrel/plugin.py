"""What this distribution provides to pysr. Imports neither torch nor spandrel."""

from pathlib import Path

from pysr.plugin import ModelReader, hookimpl, lazy

_ENTRIES = (b"/data.pkl", b"/version", b"/byteorder", b"/.format_version", b"/.storage_alignment")


def reads(path: Path, start: bytes) -> bool:
    """Whether a file is a safetensors file, or one of torch.save."""
    if start[:4] == b"PK\x03\x04":
        first_entry = start[30 : 30 + int.from_bytes(start[26:28], "little")]
        return first_entry.endswith(_ENTRIES)
    is_pickle = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
    return is_pickle or start[8:9] == b"{"


@hookimpl
def pysr_model_files() -> list[ModelReader]:
    return [
        ModelReader(
            "spandrel",
            reads,
            lazy("pysr_spandrel.reader:open_file"),
            "PyTorch's .pth and .pt, and safetensors, of the architectures that spandrel knows",
            (".safetensors", ".pth", ".pt", ".ckpt"),
        )
    ]
