"""`Metadata`: what an image file says beside its pixels, whatever format it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import exif, photoshop, xmp
from .resolution import Resolution

MOST_PIECES = 1000  # of a kind: no sensible file has as many, and each one more costs a copy of those before
_TOO_MANY = f"there are over {MOST_PIECES} of them"


class TooManyPartsError(ValueError):
    """A file has more parts before its pixels than any program writes; to read them all would take long."""


@dataclass(frozen=True)
class Text:
    """A text of a PNG file under its keyword; ``compressed`` tells how it was stored."""

    keyword: str
    value: str
    language: str = ""
    translated: str = ""
    compressed: bool = False


@dataclass(frozen=True)
class Note:
    """What became of a piece of metadata, and why: such as 'PNG text "parameters"', "JPEG has no place for it"."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} ({self.reason})"


@dataclass(frozen=True)
class Metadata:
    """What an image file says beside its pixels.

    Attributes:
        icc: The colour profile.
        exif: The EXIF block, a structure like a TIFF file's, without the "Exif\\0\\0" that JPEG writes before it. It
            also holds the tags of a TIFF file that describe the photograph.
        xmp: The XMP packet, in UTF-8; with the extended XMP of a JPEG.
        photoshop: Image resources of Photoshop ("8BIM"), among them IPTC.
        resolution: In print; that of EXIF where the format has no other.
        text: Texts of a PNG file.
        comments: Comments of a JPEG or GIF file.
        colours: PNG's chunks about what the colours mean: gAMA, cHRM, sRGB and cICP, by name.
        modified: PNG's time of the last change, 7 bytes.
        size: (width, height) of the upright image that all this speaks of, in pixels; None if it is not known.
        turned: How the stored image was turned to become upright: EXIF's orientation, 1 to 8. None if it was left as it
            was stored, so that an orientation goes on to hold.
        lost: What is in the file and cannot be kept in any format: damaged metadata, a gain map, further images.
        changed: What was done to the image so that it fits its format.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    photoshop: bytes = b""
    resolution: Resolution | None = None
    text: tuple[Text, ...] = ()
    comments: tuple[bytes, ...] = ()
    colours: Mapping[str, bytes] = field(default_factory=dict)
    modified: bytes = b""
    size: tuple[int, int] | None = None
    turned: int | None = None
    lost: tuple[Note, ...] = ()
    changed: tuple[Note, ...] = ()

    @property
    def iptc(self) -> bytes:
        """The IPTC records."""
        return photoshop.find_iptc(self.photoshop)

    @property
    def orientation(self) -> int:
        """How the stored pixels must be turned to be upright: that of EXIF, 1 to 8, or else that of XMP."""
        noted = exif.find_orientation(self.exif)
        return xmp.find_orientation(self.xmp) if noted is None else noted or 1

    def with_text(self, text: Text) -> Metadata:
        """Return it with one more text of a PNG file, unless it has too many."""
        if len(self.text) < MOST_PIECES:
            return replace(self, text=(*self.text, text))
        return self.with_lost("further PNG texts", _TOO_MANY)

    def with_comment(self, comment: bytes) -> Metadata:
        """Return it with one more comment, unless it has too many."""
        if len(self.comments) < MOST_PIECES:
            return replace(self, comments=(*self.comments, comment))
        return self.with_lost("further comments", _TOO_MANY)

    def with_lost(self, what: str, reason: str) -> Metadata:
        """Return it with a note of something that is lost."""
        return replace(self, lost=notes) if (notes := _noted(self.lost, Note(what, reason))) else self

    def with_change(self, what: str, reason: str) -> Metadata:
        """Return it with a note of something that was done to the image."""
        return replace(self, changed=notes) if (notes := _noted(self.changed, Note(what, reason))) else self

    def limited(self) -> Metadata:
        """Return it without XMP that is larger than any program writes."""
        if not xmp.is_too_large(self.xmp):
            return self
        return replace(self, xmp=b"").with_lost("XMP", f"its {len(self.xmp)} bytes are more than pysr reads")

    @classmethod
    def from_info(cls, info: Mapping[Any, Any], size: tuple[int, int] | None = None) -> Metadata:
        """Take what Pillow has read: ``info`` of a PIL image of that size."""

        def found(*keys: str) -> bytes:
            for key in keys:
                value = info.get(key)
                if isinstance(value, str | bytes) and value:
                    return value.encode() if isinstance(value, str) else value
            return b""

        block = found("exif").removeprefix(b"Exif\0\0")
        comment = found("comment")
        taken = cls(
            icc=found("icc_profile"),
            exif=block,
            xmp=xmp.as_utf8(found("xmp", "XML:com.adobe.xmp")),
            photoshop=_resources(info.get("photoshop")),
            resolution=_resolution(info.get("dpi")) or exif.find_resolution(block),
            comments=(comment,) if comment else (),
            size=size,
        )
        return taken.limited()

    def to_info(self) -> dict[Any, Any]:
        """Return what Pillow knows of, as it would be in ``info`` of a PIL image."""
        info: dict[Any, Any] = {text.keyword: text.value for text in self.text}
        if self.icc:
            info["icc_profile"] = self.icc
        if self.exif:
            info["exif"] = b"Exif\0\0" + self.exif
        if self.xmp:
            info["xmp"] = self.xmp
        if self.comments:
            info["comment"] = self.comments[0]
        if self.iptc:
            info["photoshop"] = {photoshop.IPTC: self.iptc}
        if self.resolution and self.resolution.unit:
            info["dpi"] = self.resolution.per("inch")
        return info


def _noted(notes: tuple[Note, ...], note: Note) -> tuple[Note, ...] | None:
    """Add a note; None if it is the last one again, or there are too many, which is noted, too."""
    if len(notes) > MOST_PIECES or note in notes[-1:]:
        return None
    return (*notes, note if len(notes) < MOST_PIECES else Note("more", _TOO_MANY))


def _resolution(dpi: Any) -> Resolution | None:
    try:
        x, y = (float(side) for side in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return Resolution.checked(x, y, "inch")


def _resources(found: Any) -> bytes:
    records = found.get(photoshop.IPTC) if isinstance(found, dict) else None
    return photoshop.wrap_iptc(records) if isinstance(records, bytes) else b""
