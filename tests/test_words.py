"""One word per thing: retired names and phrases stay out of the code and the pages (docs/glossary.md)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "csrc", "plugins", "docs")
SUFFIXES = {".py", ".pyi", ".cpp", ".h", ".cu", ".cuh", ".md"}

RETIRED = {  # a pattern, and the word of the glossary to use instead
    r"\b[Pp]ictur(e|es|ed)\b": "image",
    r"\bUnknownModel\b": "UnknownNameError",
    r"\bOutOfMemory\b": "OutOfMemoryError",
    r"\bCutting\b|\bclass Cut\b": "Tiling, AxisPlan",
    r"\bplace_of\b": "device_of",
    r"\bstage_of\b|\bscale_of\b|\b_begun_by\b": "make_stage, resolve_scale, pre_upsampler",
    r"--initial\b|`initial`|\binitial=(?!\d)": "pre_upsampler",
    r"\bdef (before|after)\(self, (window|output)": "preprocess, postprocess",
    r"\bProcesses\(": "Distributed",
    r"\bput_back\b|\bbe_deterministic\b": "preserve_global_state, enable_determinism",
    r"\bclass (Pairs|Ahead|Picture|Run)\b": "Batch, Prefetcher, TrainingImage, TrainState",
    r"\bmoved\(|\bspread\(|\barithmetic\(": "random_shift, sample_std, precision_context",
    r"\brecipe\.(average|validate|clip|initialise|shrink|candidates|turns|plain|step)\b": "the fields of Recipe",
    r"\bSeveralValues\b|\b_Shelf\b": "MultiValueCommand, Namespace",
    r"\bBrain\b|\bBf16\b|\bCarver\b|\bPace\b|\bBench\b": "bfloat16, arena, LaunchSizer, SharedTile",
    r"\bfor ever\b|\bis at work\b|\bhands over\b|\bcomes nearer\b|\bso many\b|\bas often as it has\b": "plain English",
}
EXEMPT = {"docs/glossary.md"}  # names the words that it replaces


def sources() -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.relative_to(ROOT).as_posix() not in EXEMPT:
                yield path, path.read_text(encoding="utf-8")


@pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="needs the whole repository")
@pytest.mark.parametrize(("pattern", "instead"), RETIRED.items())
def test_retired_words_do_not_come_back(pattern: str, instead: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for path, text in sources()
        for match in re.finditer(pattern, text)
    ]
    assert not found, f"use instead: {instead}\n" + "\n".join(found)
