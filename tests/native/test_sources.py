"""Rules that the native sources keep, and that no compiler checks."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="needs csrc")

AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vbmi"]
FLAGS = {"baseline": [], "avx2": AVX2, "avx512": AVX512, "avx512bf16": [*AVX512, "-mavx512bf16"]}


def includes(source: Path) -> list[str]:
    return re.findall(r'^#include ["<](.+)[">]', source.read_text(), re.MULTILINE)


def sources(folder: str) -> Iterator[Path]:
    found = [path for path in (CSRC / folder).iterdir() if path.suffix != ".md"]
    assert found, folder
    return iter(found)


@pytest.mark.parametrize("folder", ["common", "patches", "pixelcnn", "resample"])
def test_only_the_bindings_know_python(folder: str) -> None:
    for source in sources(folder):
        assert not re.search(r"\bpybind11\b|\bPy[A-Z_]\w*\(|Python\.h", source.read_text()), source
        assert not any(name.startswith("python/") for name in includes(source)), source


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("common", ("patches/", "pixelcnn/", "resample/")),
        ("patches", ("pixelcnn/", "resample/")),
        ("pixelcnn", ("patches/", "resample/")),
        ("resample", ("patches/", "pixelcnn/")),
    ],
)
def test_families_share_only_what_is_common(folder: str, others: tuple[str, ...]) -> None:
    for source in sources(folder):
        assert not any(name.startswith(others) for name in includes(source)), source


@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("nm")), reason="needs g++ and nm")
def test_the_linker_can_mix_no_instruction_sets(tmp_path: Path) -> None:
    """Compiled without optimisation, so that no function disappears by inlining."""
    seen: set[str] = set()
    for header in FLAGS if runs_on_x86() else ["baseline"]:
        isa, element = ("avx512", "bfloat16") if header == "avx512bf16" else (header, "float")
        objects = [("pixelcnn/wave.cpp", [f"ELEMENT={element}", f'VEC="pixelcnn/vec_{header}.h"'])]
        if element == "float":
            objects += [(f"{name}/simd.cpp", [f'SIMD="{name}/simd_{header}.h"']) for name in ("patches", "resample")]
        for source, macros in objects:
            (name,) = shared_names(tmp_path, source, FLAGS[header], [f"ISA={isa}", *macros])
            assert "kernels_of" in name and name not in seen
            seen.add(name)


def runs_on_x86() -> bool:
    machine = subprocess.run(["g++", "-dumpmachine"], capture_output=True, text=True, check=True).stdout
    return machine.startswith(("x86_64", "amd64"))


def shared_names(folder: Path, source: str, flags: list[str], macros: list[str]) -> list[str]:
    """The symbols of an object file that are visible to the linker; none of them may be weak."""
    command = ["g++", "-std=c++17", "-O0", "-c", *flags, *(f"-DPYSR_{macro}" for macro in macros), f"-I{CSRC}"]
    subprocess.run([*command, CSRC / source, "-o", folder / "kernels.o"], check=True)
    listed = subprocess.run(["nm", folder / "kernels.o"], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listed.splitlines()]
    shared = [(kind, name) for kind, name in symbols if kind not in "tdbrU"]  # neither local nor from elsewhere
    assert all(kind == "T" for kind, _ in shared), shared
    return [name for _, name in shared]
