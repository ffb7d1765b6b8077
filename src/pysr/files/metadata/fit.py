"""What a file format can hold of an image's metadata, and a word about all that it cannot."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import exif, jpeg, photoshop, xmp
from .exif_update import update_exif, without_thumbnail
from .geometry import Geometry
from .model import Metadata, Note, Text
from .tags import DamagedTagsError, TagBlock
from .tiff import describe_left_out

_ALL = ("icc", "exif", "xmp", "photoshop", "resolution", "text", "comments", "colours", "modified")
_HOLDS: Mapping[str, tuple[str, ...]] = {  # fields of Metadata that a format has a place for
    "PNG": ("icc", "exif", "xmp", "photoshop", "resolution", "text", "colours", "modified"),
    "JPEG": ("icc", "exif", "xmp", "photoshop", "resolution", "comments"),
    "TIFF": ("icc", "exif", "xmp", "photoshop", "resolution"),
    "WEBP": ("icc", "exif", "xmp"),
    "AVIF": ("icc", "exif", "xmp"),
    "GIF": ("comments",),
    "BMP": ("resolution",),
}
_MOST_NAMES = 20  # in a line
_NAMES = {"icc": "colour profile", "exif": "EXIF", "xmp": "XMP", "modified": "time of the last change"}
_TEXT_AS_EXIF = {
    "Description": exif.DESCRIPTION,
    "Software": exif.SOFTWARE,
    "Author": exif.ARTIST,
    "Copyright": exif.COPYRIGHT,
}
_SRGB_GAMMA, _SRGB_CHROMATICITIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # times 100,000


@dataclass(frozen=True)
class Changes:
    """What became of an image's metadata.

    Attributes:
        kept: Names of what the result has as the image had it.
        changed: What the result has in another form, and why.
        dropped: What the result lacks, and why.
        moved: Those of ``changed`` that are words of people, and are now elsewhere than programs look for them.
    """

    kept: tuple[str, ...] = ()
    changed: tuple[Note, ...] = ()
    dropped: tuple[Note, ...] = ()
    moved: tuple[Note, ...] = ()

    def without(self, what: str, reason: str) -> Changes:
        """Return them with one more thing that is dropped."""
        return replace(self, dropped=(*self.dropped, Note(what, reason)))

    @property
    def warning(self) -> str:
        """One line about all that is dropped or moved; "" if nothing is."""
        parts = (("not kept", self.dropped), ("kept elsewhere", self.moved))
        return "; ".join(f"{what}: {_listed(notes)}" for what, notes in parts if notes)


def _listed(notes: tuple[Note, ...]) -> str:
    reasons: dict[str, list[str]] = {}
    for note in notes:
        reasons.setdefault(note.reason, []).append(note.what)
    return "; ".join(f"{_few(names)} ({reason})" for reason, names in reasons.items())


def _few(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_MOST_NAMES])} and {more} more"


def make_true(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Make metadata true of an upright image of a size; what gets lost by that is noted in them.

    Args:
        metadata: Of the image before.
        size: (width, height) after, in pixels.
    """
    fitting = _Fitting(metadata, "")
    fitting.make_true(size)
    return replace(fitting.metadata, lost=tuple(fitting.dropped), changed=tuple(fitting.changed))


def fit(metadata: Metadata, format: str, size: tuple[int, int]) -> tuple[Metadata, Changes]:
    """Make metadata true of a result and fit for its format.

    Args:
        metadata: Of the image before.
        format: Of the file to write, such as "PNG".
        size: (width, height) of the result in pixels.

    Returns:
        What the file can hold, and what became of everything.
    """
    fitting = _Fitting(metadata, format)
    fitting.make_true(size)
    if "text" not in fitting.holds:
        fitting.move_text()
    if "colours" not in fitting.holds:
        fitting.drop_colours()
    fitting.move_comments()
    fitting.move_resolution()
    fitting.drop_what_has_no_place()
    fitting.drop_what_is_too_long()
    return fitting.result()


def holds_colours(format: str) -> bool:
    """Tell whether a format has a place for PNG's chunks about colours."""
    return "colours" in _HOLDS.get(format, ())


def holds_profile(format: str) -> bool:
    """Tell whether a format has a place for a colour profile."""
    return "icc" in _HOLDS.get(format, ())


def holds_exif(format: str) -> bool:
    """Tell whether a format has a place for EXIF."""
    return "exif" in _HOLDS.get(format, ())


class _Fitting:
    """Metadata on their way into a format, with notes of what was done to them."""

    def __init__(self, metadata: Metadata, format: str) -> None:
        self.metadata, self.format = replace(metadata, lost=(), changed=()), format
        self.named = {"WEBP": "WebP", "ZARR": "Zarr"}.get(format, format)
        self.holds = _HOLDS.get(format, ())
        self.changed, self.dropped = list(metadata.changed), list(metadata.lost)
        self.moved: list[Note] = []

    def result(self) -> tuple[Metadata, Changes]:
        changed, dropped, moved = (tuple(dict.fromkeys(notes)) for notes in (self.changed, self.dropped, self.moved))
        return self.metadata, Changes(tuple(names_of(self.metadata)), changed, dropped, moved)

    def put(self, field: str, value: object) -> None:
        self.metadata = replace(self.metadata, **{field: value})  # type: ignore[arg-type]

    def drop(self, what: str, reason: str = "") -> None:
        self.dropped.append(Note(what, reason or f"{self.named} has no place for it"))

    def move(self, what: str, where: str) -> None:
        self.moved.append(Note(what, where))
        self.changed.append(self.moved[-1])

    def note(self, owner: str, changed: set[str], dropped: set[str]) -> None:
        self.changed += [Note(f"{owner} {name}", "made true of the result") for name in sorted(changed)]
        self.dropped += [Note(f"{owner} {name}", "it describes the old pixels") for name in sorted(dropped)]

    # --- true of the result ------------------------------------------------------------------------------------------

    def make_true(self, size: tuple[int, int]) -> None:
        known = self.metadata
        geometry = Geometry(known.size or size, size, known.turned)
        if known.exif:
            try:
                self._make_exif_true(geometry)
            except (DamagedTagsError, struct.error, IndexError):
                self.put("exif", b"")
                self.drop("EXIF", f"it is damaged ({len(known.exif)} bytes)")
        if known.xmp:
            self._make_xmp_true(geometry)
        if known.photoshop:
            resources, gone = photoshop.update_resources(known.photoshop, geometry.turned)
            self.put("photoshop", resources)
            self.dropped += [Note(name, "they describe the old pixels") for name in sorted(gone)]
        self.metadata = replace(self.metadata, size=size, turned=1 if known.turned else None)

    def _make_exif_true(self, geometry: Geometry) -> None:
        block = self.metadata.exif
        if self.format == "TIFF":
            without = without_thumbnail(block)
            if without != block:
                self.drop("EXIF thumbnail")
            block = without
        if exif.find_orientation(block) == 0:
            self.drop("EXIF Orientation", "it is none of the standard's")
        block, changed, dropped = update_exif(block, geometry)
        if not exif.is_readable(block):  # its parts lay over each other
            raise DamagedTagsError("it is damaged")
        self.put("exif", block)
        self.note("EXIF", changed, dropped)

    def _make_xmp_true(self, geometry: Geometry) -> None:
        packet, changed, dropped = xmp.update_xmp(self.metadata.xmp, geometry)
        self.note("XMP", changed, dropped)
        packet, companions = xmp.remove_companions(packet)
        if not companions and xmp.mentions_companions(packet) and not xmp.is_sound(packet):
            self.put("xmp", b"")
            self.drop("XMP", "it is damaged, and speaks of further images")
            return
        if companions:
            self.dropped = [note for note in self.dropped if note.what not in companions]
        for name in sorted(companions):
            self.drop(name, "it belongs to the old image")
        if companions and xmp.is_empty(packet):
            packet = b""
        self.put("xmp", packet)

    # --- another place -----------------------------------------------------------------------------------------------

    def move_text(self) -> None:
        """Move PNG's texts to where the format has a place of the same meaning."""
        known = self.metadata.exif
        filled = {tag for tag in _TEXT_AS_EXIF.values() if exif.find_text(known, tag)}
        for text in self.metadata.text:
            name = f'PNG text "{text.keyword}"'
            tag = _TEXT_AS_EXIF.get(text.keyword)
            if text.keyword == "Comment" and "comments" in self.holds:
                self.put("comments", (*self.metadata.comments, text.value.encode()))
                self.move(name, f"a comment in {self.named}")
            elif tag and "exif" in self.holds and tag not in filled:
                filled.add(tag)
                self.put("exif", exif.with_text(self.metadata.exif, tag, text.value))
                self.move(name, f"EXIF in {self.named}")
            else:
                self.drop(name)
        self.put("text", ())
        if len(self.metadata.modified) == 7 and "exif" in self.holds:
            if not exif.find_text(self.metadata.exif, exif.DATE_TIME):
                time = "{:04}:{:02}:{:02} {:02}:{:02}:{:02}".format(*struct.unpack(">H5B", self.metadata.modified))
                self.put("exif", exif.with_text(self.metadata.exif, exif.DATE_TIME, time))
            self.changed.append(Note("time of the last change", f"EXIF in {self.named}"))
            self.put("modified", b"")

    def move_comments(self) -> None:
        if self.format == "PNG":
            for comment in self.metadata.comments:
                self.put("text", (*self.metadata.text, Text("Comment", _decoded(comment))))
                self.move("comment", 'the text "Comment" in PNG')
            self.put("comments", ())

    def drop_colours(self) -> None:
        """Drop PNG's chunks about colours, with a word where the result's colours could be taken for others."""
        reason = f"a {self.named} file without a profile is sRGB"
        if self.metadata.icc:
            reason = "the colour profile says it"
        elif not _is_srgb(self.metadata.colours):
            self.dropped += [Note(name, f"{self.named} has no place for it") for name in self.metadata.colours]
            self.put("colours", {})
        self.changed += [Note(name, reason) for name in self.metadata.colours]
        self.put("colours", {})

    def move_resolution(self) -> None:
        """Note the resolution in EXIF where the format has no place of its own, or one of whole numbers up to 65535."""
        resolution = self.metadata.resolution
        if resolution is None or "exif" not in self.holds:
            return
        unit = resolution.unit if resolution.unit in ("", "cm") else "inch"
        too_fine = not all(1 <= round(value) < 2**16 for value in resolution.per(unit or "inch"))
        if "resolution" not in self.holds or (self.format == "JPEG" and too_fine):
            block = exif.with_resolution(self.metadata.exif, resolution)
            if block != self.metadata.exif:
                self.changed.append(Note("resolution", f"EXIF in {self.named}"))
            self.put("exif", block)
            self.put("resolution", None)

    # --- no place ----------------------------------------------------------------------------------------------------

    def drop_what_has_no_place(self) -> None:
        nothing = Metadata()
        for field in _ALL:
            value = getattr(self.metadata, field)
            if value and field not in self.holds:
                alone = replace(nothing, **{field: value})
                for name in names_of(alone):
                    self.drop(name)
                self.put(field, getattr(nothing, field))
        if self.format == "TIFF" and self.metadata.exif:
            if exif.has_maker_note(self.metadata.exif):
                self.changed.append(Note("maker note", "a TIFF holds it elsewhere, which some readers do not expect"))
            try:
                left_out = describe_left_out(TagBlock(self.metadata.exif))
            except DamagedTagsError as error:
                left_out = [("EXIF", f"it is damaged: {error}")]
                self.put("exif", b"")
            for name, reason in left_out:
                self.drop(name, reason)

    def drop_what_is_too_long(self) -> None:
        if self.format != "JPEG":
            return
        known = self.metadata
        if len(known.exif) > jpeg.MOST_EXIF:
            smaller = without_thumbnail(known.exif)
            fits = len(smaller) <= jpeg.MOST_EXIF
            self.drop("EXIF thumbnail" if fits else "EXIF", f"{len(known.exif)} bytes are too long for JPEG")
            self.put("exif", smaller if fits else b"")
        if len(known.xmp) > jpeg.MOST_XMP and not xmp.split(known.xmp, jpeg.MOST_XMP):
            self.drop("XMP", f"{len(known.xmp)} bytes are too long for JPEG")
            self.put("xmp", b"")
        if len(known.icc) > jpeg.MOST_ICC:
            self.drop("colour profile", f"{len(known.icc)} bytes are too long for JPEG")
            self.put("icc", b"")
        long = [comment for comment in known.comments if len(comment) > jpeg.MOST_COMMENT]
        for comment in long:
            self.drop("comment", f"{len(comment)} bytes are too long for JPEG")
        self.put("comments", tuple(comment for comment in known.comments if comment not in long))


def names_of(metadata: Metadata) -> list[str]:
    """Name everything that is in metadata, as the user knows it."""
    names = [name for field, name in _NAMES.items() if getattr(metadata, field)]
    if metadata.iptc:
        names.append("IPTC")
    if photoshop.has_more_than_iptc(metadata.photoshop):
        names.append("Photoshop resources")
    if metadata.resolution:
        names.append("resolution")
    names += [f'PNG text "{text.keyword}"' for text in metadata.text]
    return names + ["comment"] * len(metadata.comments) + list(metadata.colours)


def _decoded(comment: bytes) -> str:
    try:
        return comment.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return comment.rstrip(b"\0").decode("latin-1")


def _is_srgb(colours: Mapping[str, bytes]) -> bool:
    """Tell whether PNG's chunks describe sRGB, or a gamma and chromaticities like those of sRGB."""
    if colours.get("cICP", b"\1\x0d")[:2] != b"\1\x0d":
        return False
    if "sRGB" in colours or "cICP" in colours:
        return True
    gamma, chromaticities = colours.get("gAMA", b""), colours.get("cHRM", b"")
    near = not gamma or (len(gamma) == 4 and abs(struct.unpack(">I", gamma)[0] - _SRGB_GAMMA) < 100)
    return near and chromaticities in (b"", struct.pack(">8I", *_SRGB_CHROMATICITIES))
