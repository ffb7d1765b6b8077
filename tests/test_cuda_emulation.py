"""The CUDA kernels without a GPU: their sources, compiled for the CPU, against the CPU's own kernels."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC, EMULATION = ROOT / "csrc", ROOT / "tests" / "emulation"
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-Wno-unknown-pragmas", f"-I{CSRC}", f"-I{EMULATION}"]
needs_sources = pytest.mark.skipif(not (shutil.which("g++") and CSRC.is_dir()), reason="needs g++ and csrc")


def output_of(program: Path, *arguments: str, family: str, sources: list[str], definitions: list[str]) -> str:
    """Compile and run a comparison of a family's emulated CUDA kernels with those of the CPU."""
    given = [f"{CSRC / name}.cpp" for name in ["common/isa", *(f"{family}/{source}" for source in sources)]]
    given += [f"{EMULATION / program.name}.cpp", "-x", "c++", str(CSRC / family / "cuda.cu")]
    command = ["g++", *FLAGS, "-DPYSR_ISA=baseline", *definitions, *given, "-pthread", "-o", str(program)]
    subprocess.run(command, check=True)
    run = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
@needs_sources
def test_the_emulated_cuda_sampler_matches_the_cpu(tmp_path: Path) -> None:
    definitions = ["-DPYSR_ELEMENT=float", '-DPYSR_VEC="pixelcnn/vec_baseline.h"']
    printed = output_of(
        tmp_path / "compare", "tiny", family="pixelcnn", sources=["cpu", "pack", "wave"], definitions=definitions
    )
    assert printed.count("same:") == 25, printed


@needs_sources
def test_the_emulated_cuda_patch_kernels_give_the_bits_of_the_cpu(tmp_path: Path) -> None:
    definitions = ['-DPYSR_SIMD="patches/simd_baseline.h"']
    printed = output_of(
        tmp_path / "compare_patches", family="patches", sources=["cpu", "simd"], definitions=definitions
    )
    assert printed.count("same:") == 60 and "1 launches" not in printed, printed
