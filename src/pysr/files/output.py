"""`Output`: what the file of a result is to be like. Importing this module imports neither torch nor Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from ..errors import InputError
from .formats import name_of_ending
from .tiff_writer import COMPRESSIONS, check_compression

Fit = Literal["inside", "outside", "fill"]
LOSSY = ("JPEG", "WEBP", "AVIF")
QUALITY = 95  # of 100: hardly visible losses in less than half the bytes of 100
_COMPRESSIONS = {"PNG": range(10), "TIFF": tuple(COMPRESSIONS)}


@dataclass(frozen=True)
class TargetSize:
    """The size of a result where it is not a whole multiple of the image's.

    Attributes:
        scale: Enlargement per side, such as 1.5; in place of ``width`` and ``height``.
        width: In pixels. Without ``height``, that follows from the image's proportions.
        height: In pixels, likewise.
        fit: What ``width`` and ``height`` together mean. "inside": as large as fits into both; "outside": as small as
            covers both; "fill": exactly both, whatever becomes of the proportions.
    """

    scale: float | Fraction | None = None
    width: int | None = None
    height: int | None = None
    fit: Fit | None = None

    def __post_init__(self) -> None:
        sides = [side for side in (self.width, self.height) if side is not None]
        if self.scale is None and not sides:
            alone = "fit needs a width and a height" if self.fit else "a target size is empty"
            raise InputError(f"{alone}; give a width, a height or both, or a scale")
        if self.scale is not None and sides:
            raise InputError("a scale and a width or height both choose the size; give only one of them")
        if self.fit is not None and len(sides) < 2:
            raise InputError(f"fit={self.fit!r} says how a width and a height go together; give both, or leave it out")
        if self.fit not in (None, "inside", "outside", "fill"):
            raise InputError(f"fit is {self.fit!r}; it can be inside, outside, fill")
        if any(side < 1 for side in sides) or (self.scale is not None and not 0 < self.scale < 1e6):
            raise InputError("a target size is positive; give a number of pixels, or a scale such as 1.5")

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the result for an image of ``size``, both (width, height) in pixels."""
        width, height = (
            max(1, int(side * factor + Fraction(1, 2))) for side, factor in zip(size, self._factors(size), strict=True)
        )
        return width, height

    def enlargement(self, size: tuple[int, int]) -> Fraction:
        """Return how much the side that grows most must grow, for an image of ``size``."""
        return max(self._factors(size))

    def _factors(self, size: tuple[int, int]) -> tuple[Fraction, Fraction]:
        sides = zip((self.width, self.height), size, strict=True)
        factors = [Fraction(wanted, side) for wanted, side in sides if wanted] or [Fraction(self.scale or 1)]
        if self.fit == "fill":
            return factors[0], factors[1]
        factor = max(factors) if self.fit == "outside" else min(factors)
        return factor, factor

    def model_scale(self, size: tuple[int, int], offered: Sequence[int]) -> int | None:
        """Choose the scale of the model that an image is enlarged by before it is resized.

        Args:
            size: (width, height) of the image.
            offered: The scales that a model offers.

        Returns:
            The smallest that is large enough; None if the image is not to be enlarged at all.

        Raises:
            InputError: None is large enough.
        """
        needed = self.enlargement(size)
        if needed <= 1:
            return None
        if not offered:
            raise InputError("no scale with weights is there to choose from; name the scale, or another model")
        if enough := [scale for scale in offered if scale >= needed]:
            return min(enough)
        raise InputError(
            f"the result is to be {float(needed):.3g} times as large, and the largest scale here is {max(offered)};"
            " choose a smaller size, or a chain of models, such as vdsr+vdsr"
        )


@dataclass(frozen=True)
class Output:
    """What the file of a result is to be like; by default as the image's own, as far as that can be.

    Attributes:
        format: "png", "jpg", ...: the format to write, whatever the file is called. Default: as its name ends.
        quality: Of JPEG, WebP and AVIF, 1 to 100; default: 95, or lossless where a WebP file was. Other formats lose
            nothing and have none.
        lossless: Whether WebP is to lose nothing.
        compression: Of PNG a level from 0 (none, fast) to 9 (small, slow); of TIFF "none", "lzw", "deflate" or
            "packbits". Default: what is fast and nearly as small, and "deflate". It changes no pixel.
        background: What shows through transparent pixels in a format without transparency: a name or "#rrggbb".
        keep_palette: Whether an image with a palette keeps just those colours, as textures of games need. Otherwise it
            is enlarged in full colour.
        keep_time: Whether the file gets the time of change of the one that was read.
        strip: What is taken out of the metadata: "all" but what colours and the size in print need, or "gps", the
            position of the photograph.
        tag: Whether metadata note what was done, such as "pysr 0.1, vdsr x2": EXIF as the software, and PNG as text.
        in_place: Whether the result may replace the file that was read.
        size: Of the result, where it is not the model's whole multiple: a scale such as 1.5, or (width, height) in
            pixels. One of the two may be None, and follows from the image's proportions.
        fit: What width and height together mean. "inside", the default: as large as fits into both; "outside": as
            small as covers both; "fill": exactly both, whatever becomes of the proportions.
        colour: How the values are encoded that a model enlarges: "file", as they are, or "srgb", by sRGB's curve, which
            networks learnt; the result is encoded as the file was. Default: "srgb" where the colour profile's curve is
            far from it (linear light, ProPhoto), else "file".
        frame: The only frame of an animation, or page of a TIFF file, that is enlarged, from 0; default: all of them
            if the result's format holds several, else the first.
    """

    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    compression: int | str | None = None
    background: str = "white"
    keep_palette: bool = False
    keep_time: bool = False
    strip: Literal["all", "gps"] | None = None
    tag: bool = False
    in_place: bool = False
    size: float | Fraction | tuple[int | None, int | None] | None = None
    fit: Fit | None = None
    colour: Literal["file", "srgb"] | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        if self.colour not in (None, "file", "srgb"):
            raise InputError(f"colour is {self.colour!r}; it can be file, srgb")
        if self.frame is not None and self.frame < 0:
            raise InputError(f"the frame is {self.frame}; the first is 0")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InputError(f"the quality is {self.quality}; give a number from 1 to 100")
        if self.quality is not None and self.lossless:
            raise InputError("lossless compression has no quality; give only one of them")
        if self.compression is not None and not any(self.compression in known for known in _COMPRESSIONS.values()):
            raise InputError(
                f"compression is {self.compression!r}; it can be 0 to 9 (PNG), or none, lzw, deflate, packbits (TIFF)"
            )
        if isinstance(self.compression, str):
            check_compression(self.compression)
        if self.strip not in (None, "all", "gps"):
            raise InputError(f"strip is {self.strip!r}; it can be all, gps, or None to keep what can be kept")
        if self.in_place and self.format:
            raise InputError("a file that is replaced keeps its format; leave the format out")
        if self.format:
            self.check_format(name_of_ending(self.format))
        self.background_colour()
        self.target_size()

    def target_size(self) -> TargetSize | None:
        """Return the size of the result; None if the model decides it.

        Raises:
            InputError: It contradicts itself.
        """
        if self.size is None and self.fit is None:
            return None
        width, height = self.size if isinstance(self.size, tuple) else (None, None)
        return TargetSize(None if isinstance(self.size, tuple) else self.size, width, height, self.fit)

    def background_colour(self) -> tuple[int, int, int]:
        """Return the background as 8-bit RGB.

        Raises:
            InputError: There is no such colour.
        """
        from PIL import ImageColor

        try:
            red, green, blue, *alpha = ImageColor.getrgb(self.background)
        except ValueError:
            raise InputError(
                f"the background is {self.background!r}; give the name of a colour, or as in '#ff8000'"
            ) from None
        if alpha and alpha[0] < 255:
            raise InputError(f"the background {self.background!r} is transparent itself; give an opaque colour")
        return red, green, blue

    def check_format(self, kind: str) -> None:
        """Check that the choices suit a format, such as "PNG".

        Raises:
            InputError: One of them has no meaning there.
        """
        if self.quality is not None and kind not in LOSSY:
            raise InputError(f"{kind} loses nothing and has no quality to choose; leave it out, or write jpg")
        if self.lossless and kind in ("JPEG", "AVIF"):
            raise InputError(f"{kind} cannot be written without losses; write webp, png or tif")
        if self.compression is not None and self.compression not in _COMPRESSIONS.get(kind, ()):
            allowed = ", ".join(map(str, _COMPRESSIONS.get(kind, ())))
            can = f"its compression can be {allowed}" if allowed else "it has no compression to choose; leave it out"
            raise InputError(f"the compression is {self.compression!r}, and the file {kind}; {can}")

    def encoding(self, kind: str, keeps_lossless: bool = False) -> dict[str, Any]:
        """Return the options of `encode_image` for a format.

        Args:
            kind: Its name, such as "PNG".
            keeps_lossless: Whether the image came without losses in this format, so that without another choice it is
                written so.
        """
        own = self.compression if self.compression in _COMPRESSIONS.get(kind, ()) else None
        if kind == "PNG":
            return {"level": own}
        if kind == "TIFF":
            return {"compression": own or "deflate"}
        if kind == "WEBP" and (self.lossless or (keeps_lossless and self.quality is None)):
            return {"lossless": True}
        if kind == "JPEG":
            return {"quality": self.quality or QUALITY, "subsampling": "4:4:4"}
        return {"quality": self.quality or QUALITY} if kind in LOSSY else {}


DEFAULT = Output()
