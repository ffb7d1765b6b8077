"""The size that an image had before it was shrunk, noted in its XMP, so that enlarging it restores exactly that size.

The note is three properties of a namespace of its own, in an ``rdf:Description`` beside those that are there (XMP,
ISO 16684-1, sections 7.4 and 7.9.2.2)::

    <rdf:Description rdf:about="" xmlns:pysr="urn:pysr:1.0#" pysr:Width="301" pysr:Height="199" pysr:Scale="2"/>

All other bytes of the XMP stay as they are. Importing this imports no torch.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from .metadata.xmp import remove_properties
from .raster import Described

NAMESPACE = "urn:pysr:1.0#"
_PROPERTIES = ("Width", "Height", "Scale")
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NEW = f'<rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF>'.encode()  # no wrapper: its 150 bytes count in a file of 2,000
_END = re.compile(rb"</([\w.-]+):RDF\s*>")
_ABOUT = rb"(?:\s+[\w.-]+:about=(?:\"[^\"]*\"|'[^']*'))?"
_EMPTY = re.compile(  # what is left of a note without its properties
    rb"<[\w.-]+:Description%b\s+xmlns:[\w.-]+\s*=\s*[\"']%b[\"']\s*/>" % (_ABOUT, NAMESPACE.encode())
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Original:
    """What an image was shrunk from.

    Attributes:
        size: (width, height) in pixels.
        scale: How many times as long its sides were: a pixel of the small image stands for scale x scale of it,
            counted from its left and upper border.
    """

    size: tuple[int, int]
    scale: int

    @property
    def small_size(self) -> tuple[int, int]:
        """(width, height) of the small image: a pixel for every begun block of the original."""
        width, height = (-(-side // self.scale) for side in self.size)
        return width, height


def noted_original(xmp: bytes) -> Original | None:
    """Read the note in XMP.

    Returns:
        What is noted; None if there is no note, or one that cannot be understood.
    """
    if NAMESPACE.encode() not in xmp:
        return None
    try:
        root = ElementTree.fromstring(xmp.rstrip(b"\0"))
        found: dict[str, int] = {}
        for element in root.iter():  # other programs may write a property as an element
            values = {**element.attrib, element.tag: element.text or ""}
            found |= {key: int(values[key]) for key in map(_qualified, _PROPERTIES) if key in values}
        width, height, scale = (found[_qualified(name)] for name in _PROPERTIES)
    except (ElementTree.ParseError, KeyError, ValueError):
        return None
    return Original((width, height), scale) if min(width, height, scale) > 0 else None


def _qualified(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def note_original(xmp: bytes, original: Original) -> bytes:
    """Return XMP that notes what an image was shrunk from, in place of an earlier note.

    XMP without the end of its RDF is damaged; it is left out, with a warning in the log.
    """
    xmp = without_note(xmp) or _NEW
    end = _END.search(xmp)
    if not end:
        _log.warning("the XMP data of the image are damaged and left out (%d bytes)", len(xmp))
        xmp, end = _NEW, _END.search(_NEW)
    assert end
    about = re.search(rb"\b%b:about\s*=\s*(\"[^\"]*\"|'[^']*')" % end[1], xmp)  # all must name the same resource
    numbers = zip(_PROPERTIES, (*original.size, original.scale), strict=True)
    properties = " ".join(f'pysr:{name}="{number}"' for name, number in numbers)
    start = b"<%b:Description %b:about=%b" % (end[1], end[1], about[1] if about else b'""')
    note = start + f' xmlns:pysr="{NAMESPACE}" {properties}/>'.encode()
    return xmp[: end.start()] + note + xmp[end.start() :]


def without_note(xmp: bytes) -> bytes:
    """Return XMP without the note, empty if nothing else is in it."""
    xmp = _EMPTY.sub(b"", remove_properties(xmp.rstrip(b"\0"), [NAMESPACE], "|".join(_PROPERTIES)))
    return b"" if xmp == _NEW else xmp


def restored_size(image: Described, scale: int, name: str) -> tuple[int, int]:
    """Tell the size that an image gets when it is enlarged.

    Args:
        image: The image before.
        scale: Enlargement per side.
        name: The file's name, for the log: where the note contradicts the file or the scale, a warning says so.

    Returns:
        (width, height): that of the noted original, which lacks less than ``scale`` pixels of ``scale`` times the
        image's at the right and at the bottom; without a note, or against it, ``scale`` times the image's.
    """
    full = image.size[0] * scale, image.size[1] * scale
    original = noted_original(image.metadata.xmp)
    if original is None:
        _log.debug("%r notes no original size; it is enlarged by %d", name, scale)
        return full
    if image.size == original.small_size and scale == original.scale:
        return original.size
    noted = f"{name!r} notes an original of {original.size[0]} x {original.size[1]} pixels, shrunk by {original.scale}"
    if image.size != original.small_size:
        noted += f", but has {image.size[0]} x {image.size[1]} pixels"
    _log.warning("%s; it is enlarged by %d, to %d x %d, instead of restored", noted, scale, *full)
    return full
