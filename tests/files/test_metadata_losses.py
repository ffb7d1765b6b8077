"""No tag that an independent reader finds in a file is lost on the way into another without a word."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from metadata_samples import convert, everything, sized, write

from pysr.files.metadata import Changes, fit

SOURCES = ("PNG", "JPEG", "TIFF", "WEBP")
TARGETS = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP", "PPM")
ENDINGS = {"JPEG": "jpg", "TIFF": "tif"}
OF_THE_FILE = re.compile(  # not of the photograph, by exiftool's groups and names
    r"(SourceFile|ExifTool|System|Composite|JFIF|RIFF|QuickTime|Meta|PNG-pHYs|File(?!:Comment)).*|.*:(Image(Width|Height)"
    r"|BitsPerSample|BitDepth|ColorType|Compression|Filter|Interlace|PhotometricInterpretation|StripOffsets"
    r"|SamplesPerPixel|RowsPerStrip|StripByteCounts|PlanarConfiguration|Predictor|SampleFormat|ProfileName|Orientation)"
)
NAMES = {  # what a report calls exiftool's groups and tags
    r"(IFD0|ExifIFD|GPS):.*": "EXIF",
    r"IPTC:.*": "IPTC",
    r"XMP.*": "XMP",
    r"ICC.*": "colour profile",
    r"PNG:Gamma": "gAMA",
    r"PNG:ModifyDate": "time of the last change",
    r"PNG:.*": "PNG text",
    r"File:Comment": "comment",
}


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, Any], Changes]]:
    """By "SOURCE TARGET": what exiftool finds before and after, and what the report says."""
    if not shutil.which("exiftool"):
        pytest.skip("needs exiftool, an independent reader")
    folder = tmp_path_factory.mktemp("losses")
    changes: dict[str, Changes] = {}
    for source in SOURCES:
        before = write(fit(sized(everything(), 12, 8), source, (12, 8))[0], source)
        (folder / f"{source}.{ENDINGS.get(source, source.lower())}").write_bytes(before)
        for target in TARGETS:
            after, changes[f"{source} {target}"] = convert(before, source, target, 2)
            (folder / f"{source} {target}.{ENDINGS.get(target, target.lower())}").write_bytes(after)
    done = subprocess.run(["exiftool", "-j", "-G1", "-a", "-u", folder], capture_output=True, check=True)
    found = {Path(each["SourceFile"]).stem: each for each in json.loads(done.stdout)}
    return {name: (found[name.split()[0]], found[name], changes[name]) for name in changes}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_tag_arrives_or_is_named(
    source: str, target: str, tags: dict[str, tuple[dict[str, Any], dict[str, Any], Changes]]
) -> None:
    before, after, changes = tags[f"{source} {target}"]
    arrived = {key.rpartition(":")[2] for key in after}
    said = " ".join(note.what for note in (*changes.dropped, *changes.changed))
    for key, value in before.items():
        if key.rpartition(":")[2] not in arrived and not OF_THE_FILE.fullmatch(key):
            name = next(name for pattern, name in NAMES.items() if re.fullmatch(pattern, key))
            assert name in said, f"{key} ({value}) is lost without a word"


def test_the_check_can_fail(tags: dict[str, tuple[dict[str, Any], dict[str, Any], Changes]]) -> None:
    before, after, _ = tags["JPEG PPM"]
    assert {"IFD0:Make", "IPTC:Keywords", "XMP-dc:Format", "File:Comment"} <= {*before}
    assert not {"Make", "Keywords", "Format"} & {key.rpartition(":")[2] for key in after}
