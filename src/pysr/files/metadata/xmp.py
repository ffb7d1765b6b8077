"""XMP (ISO 16684-1): what it says of the image's pixels made true; what came with other images taken out.

A property is an attribute or an element; its prefix is any that the packet binds to its namespace. All other bytes of
the packet stay as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from string import ascii_letters, digits
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from .geometry import Geometry

_ADOBE, _GOOGLE = "http://ns.adobe.com/", "http://ns.google.com/photos/"
TIFF, EXIF, NOTE = _ADOBE + "tiff/1.0/", _ADOBE + "exif/1.0/", _ADOBE + "xmp/note/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PANORAMA = _GOOGLE + "1.0/panorama/"
_REGIONS = ("http://www.metadataworkinggroup.com/schemas/regions/", "http://ns.microsoft.com/photo/1.2/")

_DIRECTORY = "directory of further images"
COMPANIONS = {  # by their namespaces: properties of what a file holds beside the image
    _ADOBE + "hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    _GOOGLE + "1.0/container/": _DIRECTORY,
    _GOOGLE + "1.0/depthmap/": "depth map",
    _GOOGLE + "dd/1.0/device/": "depth map",
    _GOOGLE + "1.0/image/": "original image of a depth map",
    _GOOGLE + "1.0/audio/": "sound",
    _GOOGLE + "1.0/camera/": "motion photo",
}

_MOST = 2**24  # bytes of a packet
_MOST_LEVELS = 100  # of elements inside each other
_MOST_PARTS = 2**18  # elements, and attributes
_MOST_GROWTH = 4  # times the length of a packet, of its properties with the declarations that they need
_LONGEST_PREFIX = 100  # bytes
_OF_PREFIXES = (ascii_letters + digits + "_.-").encode()


def as_utf8(xmp: bytes) -> bytes:
    """Return a packet in UTF-8, without a byte order mark and the zeros that some writers end it with."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xfe\xff", "utf-16"), (b"\xff\xfe", "utf-16")):
        if xmp.startswith(mark):
            xmp = xmp.decode(encoding, "replace").encode()
    return xmp.rstrip(b"\0").decode("utf-8", "replace").encode()


def is_too_large(xmp: bytes, *, by_parts: bool = False) -> bool:
    """Tell whether a packet has more elements or attributes than are read, or if not ``by_parts``, more bytes."""
    return (len(xmp) > _MOST and not by_parts) or xmp.count(b"<") > 2 * _MOST_PARTS or xmp.count(b"=") > _MOST_PARTS


def is_sound(xmp: bytes) -> bool:
    """Tell whether a packet is well-formed XML of few levels, without a document type, which XMP must not have."""
    return _elements(xmp) is not None


def is_empty(xmp: bytes) -> bool:
    """Tell whether a packet has no property left."""
    found = _elements(xmp)
    if found is None:
        return False
    depth = _depth_of_descriptions(found)
    return not any(element.depth > depth or _has_properties(element.attributes) for element in found)


def update_xmp(xmp: bytes, geometry: Geometry) -> tuple[bytes, set[str], set[str]]:
    """Make what a packet says of the image's pixels true of the result.

    Returns:
        The packet; the names of what was changed in it; the names of what was taken out.
    """
    before, changed, dropped = xmp, set(), set()
    for side, names in enumerate((("ImageWidth", "PixelXDimension"), ("ImageLength", "PixelYDimension"))):
        for namespace, name in zip((TIFF, EXIF), names, strict=True):
            xmp = _with_numbers(xmp, namespace, name, geometry.new_size[side])
    if xmp != before:
        changed.add("sizes")
    before = xmp
    if geometry.orientation:
        xmp = _with_numbers(xmp, TIFF, "Orientation", 1)
    if xmp != before:
        changed.add("Orientation")
    before = xmp
    for names, scale in zip((("Width", "Left"), ("Height", "Top")), geometry.scale, strict=True):
        name = rf"\w+(?:{names[0]}|{names[1]})Pixels"
        xmp = _with_numbers(xmp, _PANORAMA, name, scale=scale)
    if xmp != before:
        changed.add("sizes of the panorama")
    before = xmp
    if geometry.turned:
        xmp = remove_properties(xmp, _REGIONS)
    if xmp != before:
        dropped.add("face regions")
    return xmp, changed, dropped


def remove_companions(xmp: bytes) -> tuple[bytes, set[str]]:
    """Take out the properties of images that a file holds beside the main one.

    Returns:
        The packet, and the names of what those properties described.
    """
    prefixes = _prefixes(xmp, COMPANIONS)
    xmp, gone = _without_properties(xmp, set(prefixes), ".+")
    found = {COMPANIONS[prefixes[prefix]] for prefix in gone}
    if len(found) > 1:
        found.discard(_DIRECTORY)
    return remove_properties(xmp, [NOTE], "HasExtendedXMP"), found


def mentions_companions(xmp: bytes) -> bool:
    """Tell whether properties of further images could be in a packet."""
    return any(namespace.encode() in xmp for namespace in COMPANIONS)


def remove_gps(xmp: bytes) -> bytes:
    """Take out the position of the photograph: every property whose name begins with GPS."""
    return _without_properties(xmp, {match[1] for match in _BINDING.finditer(xmp)}, r"(?:GPS|Gps)\w*")[0]


def remove_properties(xmp: bytes, namespaces: Iterable[str], name: str = ".+") -> bytes:
    """Remove the properties of namespaces whose names match a pattern, in a packet that is sound."""
    return _without_properties(xmp, set(_prefixes(xmp, namespaces)), name)[0]


def _without_properties(xmp: bytes, prefixes: set[bytes], name: str) -> tuple[bytes, set[bytes]]:
    """Remove the properties with any of some prefixes; returns the prefixes of those that there were, too."""
    pattern, gone = re.compile(name.encode()), set[bytes]()

    def goes(prefix: bytes, local: bytes) -> bool:
        if prefix not in prefixes or not pattern.fullmatch(local):
            return False
        gone.add(prefix)
        return True

    edits = []
    for element in (_elements(xmp) or ()) if prefixes else ():
        if goes(*element.name.partition(b":")[::2]):
            edits.append((element.start, element.end, b""))
        elif any(goes(*key.encode().partition(b":")[::2]) for key in element.attributes):
            end = _end_of_tag(xmp, element.start)
            kept = _ATTRIBUTE.sub(
                lambda match: b"" if goes(*match[1].partition(b":")[::2]) else match[0], xmp[element.start : end]
            )
            edits.append((element.start, end, kept))
    return _edited(xmp, edits), gone


def find_orientation(xmp: bytes) -> int:
    """Return the orientation that a packet notes, 1 to 8; 1 where there is none."""
    match = next(_numbers(xmp, TIFF, "Orientation"), None)
    value = int(match[1]) if match else 1
    return value if 1 <= value <= 8 else 1


def merge(xmp: bytes, extension: bytes) -> bytes | None:
    """Add the properties of a JPEG's extended XMP to its main packet; None where they cannot be joined."""
    main, extra = _elements(xmp), _elements(extension)
    if main is None or extra is None:
        return None
    end = _end_of_rdf(xmp, main)
    parts = [element for element in extra if element.depth == _depth_of_descriptions(extra)]
    joined = xmp[:end] + b"".join(extension[part.start : part.end] for part in parts) + xmp[end:]
    return remove_properties(joined, [NOTE], "HasExtendedXMP") if end and is_sound(joined) else None


def split(xmp: bytes, most: int) -> tuple[bytes, bytes] | None:
    """Divide a packet into one of at most ``most`` bytes and an extension with its largest properties (XMP, part 3).

    Returns:
        The main packet, which names the extension by its digest, and the extension; None where that is impossible.
    """
    elements = _elements(xmp) or []
    depth = _depth_of_descriptions(elements) + 1
    properties = sorted((e for e in elements if e.depth == depth > 1), key=lambda e: e.start - e.end)
    size, moved = len(xmp) + len(_note("")) + 32, []
    for element in properties:
        if size > most:
            moved.append(element)
            size -= element.end - element.start
    if size > most or not moved:
        return None
    extension = b'<rdf:RDF xmlns:rdf="%b">%b</rdf:RDF>' % (_RDF.encode(), _descriptions(xmp, moved))
    if len(extension) > _MOST_GROWTH * len(xmp):
        return None
    xmp = _edited(xmp, sorted((element.start, element.end, b"") for element in moved))
    end = _end_of_rdf(xmp, _elements(xmp) or [])
    return (xmp[:end] + _note(digest(extension)) + xmp[end:], extension) if end else None


def digest(extension: bytes) -> str:
    """Return the name of an extension, by which the main packet refers to it."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def _descriptions(xmp: bytes, elements: list[_Element]) -> bytes:
    """Properties in descriptions of their own, one for those with the same declarations."""
    by_scope: dict[bytes, list[bytes]] = {}
    scopes: dict[tuple[int, tuple[str, ...]], bytes] = {}
    for element in elements:
        content = xmp[element.start : element.end]
        prefixes = {prefix.decode() for prefix in re.findall(rb"(?<![\w.-])([\w.-]+):", content)} - {"rdf"}
        names = ("xmlns", *(f"xmlns:{prefix}" for prefix in sorted(prefixes)))
        key = id(element.parent), names
        if key not in scopes:
            scopes[key] = _declarations(element, names)
        by_scope.setdefault(scopes[key], []).append(content)
    start = b'<rdf:Description rdf:about=""'
    return b"".join(b"%b%b>%b</rdf:Description>" % (start, scope, b"".join(each)) for scope, each in by_scope.items())


def _declarations(element: _Element, names: Iterable[str]) -> bytes:
    """Those of some declarations that hold for an element."""
    bound = [(name, element.declaration(name)) for name in names]
    return "".join(f" {name}={quoteattr(value)}" for name, value in bound if value is not None).encode()


def _note(name: str) -> bytes:
    start = f'<r:Description xmlns:r="{_RDF}" r:about="" xmlns:xmpNote="{NOTE}"'
    return f'{start} xmpNote:HasExtendedXMP="{name}"/>'.encode()


# --- structure -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Element:
    """An element of a packet: ``start`` and ``end`` are positions in it."""

    name: bytes
    attributes: dict[str, str]
    depth: int
    start: int
    parent: _Element | None
    end: int = 0

    def declaration(self, name: str) -> str | None:
        """The value of the attribute of a declaration ("xmlns:prefix") that is in force around the element."""
        outer = self.parent
        while outer and name not in outer.attributes:
            outer = outer.parent
        return outer.attributes[name] if outer else None


_NONE: dict[str, str] = {}


def _elements(xmp: bytes) -> list[_Element] | None:
    """Find the elements of a packet in the order of their starts; None if it is not sound (see `is_sound`)."""
    if b"<!DOCTYPE" in xmp:
        return None
    found: list[_Element] = []
    stack: list[_Element] = []
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(stack) == _MOST_LEVELS:
            raise ValueError("no XMP has as many elements inside each other")
        parent = stack[-1] if stack else None
        own = attributes or _NONE  # of which there may be many
        stack.append(_Element(name.encode(), own, len(stack), parser.CurrentByteIndex, parent))
        found.append(stack[-1])

    def finish(_: str) -> None:
        element = stack.pop()
        at = parser.CurrentByteIndex  # for <a/>, where it begins
        element.end = _end_of_tag(xmp, at) if at == element.start else xmp.index(b">", at) + 1

    parser.StartElementHandler, parser.EndElementHandler = begin, finish
    try:
        parser.Parse(xmp, True)
    except (expat.ExpatError, ValueError):
        return None
    return found


def _edited(xmp: bytes, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Put something else from one position to another, in that order; not within what another edit replaces."""
    parts, at = [], 0
    for start, end, new in edits:
        if start >= at:
            parts += [xmp[at:start], new]
            at = end
    return b"".join(parts) + xmp[at:]


_ATTRIBUTE = re.compile(rb"\s+([^\s=<>/]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")  # in a tag, from its name on
_BINDING = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']")
_OPENING = re.compile(rb"<[^\s>/]+(?:\s+[^\s=<>/]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>")


def _end_of_tag(xmp: bytes, position: int) -> int:
    """The position behind an opening tag, in whose attributes a ">" may stand."""
    tag = _OPENING.match(xmp, position)
    if tag is None:
        raise ValueError(f"there is no tag at position {position}")
    return tag.end()


def _end_of_rdf(xmp: bytes, elements: list[_Element]) -> int:
    """The position of the closing tag of the RDF; 0 where there is none."""
    ends = [element.end for element in elements if element.name.endswith(b":RDF")]
    return xmp.rindex(b"</", 0, ends[0]) if ends and b"</" in xmp[: ends[0]] else 0


def _depth_of_descriptions(elements: list[_Element]) -> int:
    return next((element.depth + 1 for element in elements if element.name.endswith(b":RDF")), 0)


def _has_properties(attributes: dict[str, str]) -> bool:
    return any(not re.match(r"xmlns|[\w.-]+:about$|about$|x:xmptk$", name) for name in attributes)


def _prefixes(xmp: bytes, namespaces: Iterable[str]) -> dict[bytes, str]:
    """The prefixes that a packet binds to some namespaces."""
    wanted = {namespace.encode(): namespace for namespace in namespaces if namespace.encode() in xmp}
    bound = _BINDING.finditer(xmp) if wanted else ()
    return {match[1]: wanted[match[2]] for match in bound if match[2] in wanted}


def _numbers(xmp: bytes, namespace: str, name: str) -> Iterator[re.Match[bytes]]:
    """Find the whole numbers that are the values of the properties whose names match a pattern, as group 1."""
    prefixes = _prefixes(xmp, [namespace]) or ({b"tiff": TIFF} if namespace == TIFF else {})
    pattern = rb":%b(?:\s*=\s*[\"']|\s*>)\s*(\d{1,9})(?!\d)" % name.encode()
    for match in re.finditer(pattern, xmp) if prefixes else ():
        before = xmp[max(match.start() - _LONGEST_PREFIX, 0) : match.start()]
        if before[len(before.rstrip(_OF_PREFIXES)) :] in prefixes:
            yield match


def _with_numbers(xmp: bytes, namespace: str, name: str, value: int = 0, scale: float = 0) -> bytes:
    """Set those numbers to a value, or if a scale is given, multiply them by it."""
    parts, at = [], 0
    for match in _numbers(xmp, namespace, name):
        parts += [xmp[at : match.start(1)], b"%d" % (round(int(match[1]) * scale) if scale else value)]
        at = match.end()
    return b"".join(parts) + xmp[at:]
