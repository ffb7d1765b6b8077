"""Transfer curves of colour profiles: networks learnt sRGB's, and values of linear light mean something else to them.

Only the curves matter here: primaries stay as they are, so that no colour leaves its range, and neutral stays neutral.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]  # linear light at `STEPS` encoded values from 0 to 1, rising

STEPS = 4096
_FAR = 0.05  # of the largest value: AdobeRGB's curve is 0.03 from sRGB's, ProPhoto's 0.08, linear light 0.37
_X = np.linspace(0, 1, STEPS)
_TAGS = {1: (b"kTRC",), 3: (b"rTRC", b"gTRC", b"bTRC")}  # by the number of colour channels
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}  # of the function types of ICC.1:2022, table 68


def srgb_curve() -> Curve:
    """sRGB's own curve (IEC 61966-2-1)."""
    curve: Curve = np.where(_X <= 0.04045, _X / 12.92, ((_X + 0.055) / 1.055) ** 2.4)
    return curve


def curves_of(icc: bytes, colours: Mapping[str, bytes], channels: int) -> list[Curve] | None:
    """Find the transfer curves that a file names.

    Args:
        icc: Its ICC profile, or nothing.
        colours: PNG's chunks about colour; only gAMA is used, and only without profile, sRGB and cICP.
        channels: 1 for gray, 3 for RGB.

    Returns:
        A curve for each channel; None if the file names none, or only as tables of colours.
    """
    try:
        if icc:
            return _profile_curves(icc, channels)
        if "gAMA" in colours and not {"sRGB", "cICP", "iCCP"} & colours.keys():
            (gamma,) = struct.unpack(">I", colours["gAMA"][:4])
            return [_X ** (100_000 / gamma)] * channels if gamma else None
    except (struct.error, IndexError, ValueError, ZeroDivisionError, FloatingPointError):  # damaged
        return None
    return None


def is_far_from_srgb(curves: Sequence[Curve]) -> bool:
    """Whether networks, which learnt sRGB's curve, see these values noticeably too dark or too bright."""
    return any(np.abs(np.interp(curve, srgb_curve(), _X) - _X).max() > _FAR for curve in curves)


def as_srgb(values: NDArray[np.float32], curves: Sequence[Curve]) -> NDArray[np.float32]:
    """Encode (H, W, C) or (H, W) values in [0, 1] by sRGB's curve instead of their own; further channels stay."""
    return _converted(values, [(curve, srgb_curve()) for curve in curves])


def from_srgb(values: NDArray[np.float32], curves: Sequence[Curve]) -> NDArray[np.float32]:
    """Undo `as_srgb`."""
    return _converted(values, [(srgb_curve(), curve) for curve in curves])


def _converted(values: NDArray[np.float32], pairs: Sequence[tuple[Curve, Curve]]) -> NDArray[np.float32]:
    result = values.copy()
    planes = result[..., None] if result.ndim == 2 else result
    for channel, (before, after) in enumerate(pairs):
        for row in planes[..., channel]:  # in float64, which a whole image would need too much memory for
            row[:] = _through(row, before, after)
    return result


def _through(values: NDArray[np.float32], before: Curve, after: Curve) -> NDArray[np.float64]:
    light = np.interp(values, _X, before)
    rising = np.maximum.accumulate(after)
    result: NDArray[np.float64] = np.interp(light, rising, _X)
    return result


def _profile_curves(icc: bytes, channels: int) -> list[Curve] | None:
    (count,) = struct.unpack_from(">I", icc, 128)
    tags = {}
    for number in range(min(count, 100)):
        name, offset, length = struct.unpack_from(">4sII", icc, 132 + 12 * number)
        tags[name] = icc[offset : offset + length]
    wanted = _TAGS[channels]
    return [_curve(tags[name]) for name in wanted] if all(name in tags for name in wanted) else None


def _curve(data: bytes) -> Curve:
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return _X
        values = np.frombuffer(data, ">u2", count, 12).astype(np.float64)
        return _X ** (values[0] / 256) if count == 1 else np.interp(_X, np.linspace(0, 1, count), values / 65535)
    if data[:4] != b"para":
        raise ValueError("a curve of another type")
    (kind,) = struct.unpack_from(">H", data, 8)
    numbers = [float(number) / 65536 for number in np.frombuffer(data, ">i4", _PARAMETERS[kind], 12)]
    g, a, b, c, d, e, f = (*numbers, *[0.0] * (7 - len(numbers)))
    curve: Curve
    if kind == 0:
        curve = _X**g
    elif kind < 3:  # c, which is 0 in the first of them, below -b / a
        curve = np.where(-b / a <= _X, np.maximum(a * _X + b, 0) ** g + c, c)
    else:
        curve = np.where(d <= _X, np.maximum(a * _X + b, 0) ** g + e, c * _X + f)
    return curve
