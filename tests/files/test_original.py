"""The note of an original's size in XMP: added to what is there, found, and removed without a trace."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from PIL import Image

from pysr.files import Raster
from pysr.files.original import Original, note_original, noted_original, restored_size, without_note

NOTE = Original((301, 199), 2)
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">
 <rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg">
  <dc:creator><rdf:Seq><rdf:li>Søren</rdf:li></rdf:Seq></dc:creator>
 </rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()
OTHER_PREFIX = b'<r:RDF xmlns:r="' + RDF.encode() + b'"><r:Description r:about=""/></r:RDF>'


@pytest.mark.parametrize("xmp", [b"", PACKET, OTHER_PREFIX])
def test_a_note_is_added_found_and_removed_again(xmp: bytes) -> None:
    noted = note_original(xmp, NOTE)
    assert noted_original(noted) == NOTE
    assert noted_original(without_note(noted)) is None
    assert without_note(noted) == xmp


def test_what_is_there_stays_and_names_the_same_resource() -> None:
    xmp = note_original(PACKET, NOTE)
    assert len(xmp) > len(PACKET)
    root = ElementTree.fromstring(xmp)
    descriptions = list(root.iter(f"{{{RDF}}}Description"))
    assert [element.get(f"{{{RDF}}}about") for element in descriptions] == ["uuid:1", "uuid:1"]
    assert "Søren" in xmp.decode()


def test_a_new_note_takes_the_place_of_the_old() -> None:
    xmp = note_original(note_original(PACKET, NOTE), Original((151, 100), 4))
    assert noted_original(xmp) == Original((151, 100), 4)
    assert xmp.count(b"urn:pysr") == 1


def test_a_note_that_another_program_wrote_anew_is_understood() -> None:
    body = "<q:Width>301</q:Width><q:Height>199</q:Height> <q:Scale>2</q:Scale><q:Other>1</q:Other>"
    opened = f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:q="urn:pysr:1.0#">'
    xmp = f"{opened}{body}</rdf:Description></rdf:RDF>".encode() + bytes(2)
    assert noted_original(xmp) == NOTE
    assert noted_original(without_note(xmp)) is None
    assert b"<q:Other>1</q:Other>" in without_note(xmp)


@pytest.mark.parametrize(
    "damage", [(b"301", b"many"), (b"301", b"0"), (b"301", b"-1"), (b"</rdf", b"</rdx"), (b'pysr:Scale="2"', b"")]
)
def test_a_note_that_is_damaged_is_none(damage: tuple[bytes, bytes]) -> None:
    assert noted_original(note_original(PACKET, NOTE).replace(*damage)) is None


@pytest.mark.parametrize("xmp", [b"<x:xmpmeta/>", b"nonsense"])
def test_damaged_xmp_is_left_out_with_a_warning(xmp: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert noted_original(note_original(xmp, NOTE)) == NOTE
    assert f"damaged and left out ({len(xmp)} bytes)" in caplog.text


@pytest.mark.parametrize(
    ("size", "scale", "restored", "said"),
    [
        ((151, 100), 2, (301, 199), ""),
        ((151, 100), 4, (604, 400), "301 x 199 pixels, shrunk by 2; it is enlarged by 4, to 604 x 400"),
        ((150, 100), 2, (300, 200), "but has 150 x 100 pixels; it is enlarged by 2, to 300 x 200"),
    ],
)
def test_the_size_is_restored_unless_something_contradicts(
    size: tuple[int, int], scale: int, restored: tuple[int, int], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = Image.new("L", size)
    image.info["xmp"] = note_original(b"", NOTE)
    assert restored_size(Raster.from_pil(image), scale, "a.webp") == restored
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_without_a_note_it_is_the_scale_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="pysr")
    assert restored_size(Raster.from_pil(Image.new("L", (5, 3))), 3, "a.png") == (15, 9)
    assert "'a.png' notes no original size" in caplog.text
