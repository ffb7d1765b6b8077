"""The CUDA sampler without a GPU: its source, compiled for the CPU, against the CPU's own sampler."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC, EMULATION = ROOT / "csrc", ROOT / "tests" / "emulation"
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-Wno-unknown-pragmas", f"-I{CSRC}", f"-I{EMULATION}"]
BASELINE = ["-DPYSR_ISA=baseline", "-DPYSR_ELEMENT=float", '-DPYSR_VEC="pixelcnn/vec_baseline.h"']
SOURCES = ["common/isa", "pixelcnn/cpu", "pixelcnn/pack", "pixelcnn/wave"]


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") and CSRC.is_dir()), reason="needs g++ and csrc")
def test_the_emulated_cuda_sampler_matches_the_cpu(tmp_path: Path) -> None:
    program = tmp_path / "compare"
    sources = [str(CSRC / f"{name}.cpp") for name in SOURCES]
    sources += [str(EMULATION / "compare.cpp"), "-x", "c++", str(CSRC / "pixelcnn" / "cuda.cu")]
    subprocess.run(["g++", *FLAGS, *BASELINE, *sources, "-pthread", "-o", str(program)], check=True)
    run = subprocess.run([str(program), "tiny"], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stdout.count("same:") == 25, run.stdout + run.stderr
