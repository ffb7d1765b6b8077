"""What the kernels refuse, and how they say it: every check of the bindings."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.errors import InputError
from pysr.ops.axis import Axis
from pysr.ops.patches import blend_patches, extract_patches

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")

some = settings(derandomize=True, deadline=None, max_examples=60)

IMAGE = np.zeros((3, 8, 8), np.uint8)
ONE = np.ones((1, 8), np.float32)
WHOLE = Axis([0], ONE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": IMAGE[0]}, "channels, height, width"),
        ({"image": torch.zeros(8, 8)}, "channels, height, width"),
        ({"image": IMAGE.astype(np.float64)}, "uint8, uint16, float16 or float32"),
        ({"image": IMAGE.astype(np.int8)}, "uint8, uint16, float16 or float32"),
        ({"image": IMAGE.astype(">u2")}, "byte order"),
        ({"image": torch.zeros(3, 8, 8, dtype=torch.int64)}, "uint8, uint16, float16, bfloat16 or float32"),
        ({"image": IMAGE[:, :0]}, "at least 1 and below"),
        ({"image": np.broadcast_to(IMAGE[:, :1, :1], (3, 2**31, 8))}, "at least 1 and below"),
        ({"origins": [0, 1]}, "top, left"),
        ({"origins": [(0.5, 1.0)]}, "whole numbers"),
        ({"origins": [(2**60, 0)]}, "within 2.53 pixels"),
        ({"shape": (0, 4)}, "at least 1 x 1"),
        ({"dtype": torch.uint8}, "float32, bfloat16 or float16"),
        ({"out": torch.zeros(2, 3, 4, 4)}, "out has shape"),
        ({"out": torch.zeros(1, 2, 4, 4)}, "out has shape"),
        ({"out": torch.zeros(3, 4, 4)}, "patches, channels, height, width"),
        ({"out": torch.zeros(1, 3, 4, 4, dtype=torch.uint8)}, "float32, bfloat16 or float16"),
        ({"out": torch.zeros(1, 3, 1, 4).expand(1, 3, 4, 4)}, "share memory"),
        ({"out": torch.zeros(60).as_strided((1, 3, 4, 4), (0, 16, 3, 1))}, "share memory"),
        ({"image": torch.zeros(3, 8, 8, requires_grad=True), "out": torch.zeros(1, 3, 4, 4)}, "no gradient"),
    ],
)
def test_patches_that_cannot_be_cut(change: Any, message: str) -> None:
    arguments = {"image": IMAGE, "origins": [(0, 0)], "shape": (4, 4)} | change
    with pytest.raises(InputError, match=message):
        extract_patches(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile_rows": []}, "nothing to blend"),
        ({"span": (3, 3)}, "nothing to blend"),
        ({"tile_rows": [torch.zeros(3, 8, 8)]}, "patches, channels, height, width"),
        ({"tile_rows": [torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]}, "float32, bfloat16 or float16"),
        ({"tile_rows": [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 7)]}, "one shape and dtype"),
        ({"tile_rows": [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8).half()]}, "one shape and dtype"),
        ({"rows": Axis([0, 1], ONE)}, "row starts must be 1 numbers"),
        ({"columns": Axis([], ONE)}, "nothing to blend"),
        ({"columns": Axis([0, 4], ONE)}, "column starts must be 1 numbers"),
        ({"columns": Axis([2**60], ONE), "width": 8}, "within 2.53"),
        ({"span": (2**60, 2**60 + 2)}, "within 2.53"),
        ({"rows": Axis([0], ONE[:, :7])}, "float32 of shape .1, 8."),
        ({"columns": Axis([0], ONE.astype(np.float16))}, "float32 of shape .1, 8."),
        ({"out": torch.zeros(2, 8, 8)}, "out has 2 channels but bands have 3"),
        ({"out": torch.zeros(3, 7, 8)}, "8 rows are asked for"),
        ({"out": torch.zeros(3, 8, 8), "width": 9}, "rows of width 9"),
        ({"out": np.zeros((3, 8, 8))}, "uint8, uint16, float16 or float32"),
        ({"out": np.broadcast_to(np.zeros((1, 8, 8), np.uint8), (3, 8, 8))}, "read-only"),
        ({"out": torch.zeros(1, 8, 8).expand(3, 8, 8)}, "share memory"),
        ({"out": torch.zeros(200, dtype=torch.uint8).as_strided((3, 8, 8), (64, 7, 1))}, "share memory"),
    ],
)
def test_rows_that_cannot_be_blended(change: Any, message: str) -> None:
    arguments = {"tile_rows": [torch.zeros(1, 3, 8, 8)], "rows": WHOLE, "columns": WHOLE, "span": (0, 8)} | change
    with pytest.raises(InputError, match=message):
        blend_patches(**arguments)


def test_starts_that_descend_are_refused() -> None:
    tile_rows = [torch.zeros(1, 3, 8, 8)] * 2
    with pytest.raises(InputError, match="row starts must ascend"):
        blend_patches(tile_rows, Axis([4, 0], ONE.repeat(2, 0)), WHOLE, span=(0, 8))


@some
@given(st.one_of(st.integers(-900, 900), st.sampled_from([-193, -192, -191, 191, 192, 193])))
def test_output_must_not_share_memory_with_input(shift: Any) -> None:
    memory = torch.zeros(3000)
    image, out = memory[1000:1192].view(3, 8, 8), memory[1000 + shift : 1192 + shift].view(1, 3, 8, 8)
    if abs(shift) >= 192:
        extract_patches(image, [(0, 0)], (8, 8), out=out)
        blend_patches([out], WHOLE, WHOLE, span=(0, 8), out=image)
        return
    with pytest.raises(InputError, match="out shares memory with image"):
        extract_patches(image, [(0, 0)], (8, 8), out=out)
    with pytest.raises(InputError, match="out shares memory with bands"):
        blend_patches([out], WHOLE, WHOLE, span=(0, 8), out=image)


def test_what_is_no_array_is_refused() -> None:
    how = {"threads": 1, "stream": 0}
    with pytest.raises(InputError, match="NumPy array or a tensor"):
        _kernels.extract_patches([1], [0, 0], torch.zeros(1, 1, 1, 1), **how)
    with pytest.raises(InputError, match="threads must be at least 1"):
        _kernels.extract_patches(IMAGE, [0, 0], torch.zeros(1, 3, 1, 1), threads=0, stream=0)


def test_memory_of_any_computer() -> None:
    far = np.lib.stride_tricks.as_strided(IMAGE, (3, 2**30, 2**30), (0, 2**62, 0))
    with pytest.raises(InputError, match="beyond the memory of any computer"):
        extract_patches(far, [(0, 0)], (4, 4))


def test_libraries_that_know_only_the_old_dlpack() -> None:
    class Old:
        def __init__(self, tensor: Any) -> None:
            self.tensor = tensor

        def __dlpack__(self) -> Any:
            return self.tensor.__dlpack__()

        def __dlpack_device__(self) -> Any:
            return self.tensor.__dlpack_device__()

    out = torch.zeros(1, 3, 4, 4)
    _kernels.extract_patches(Old(torch.ones(3, 4, 4)), [0, 0], Old(out), threads=1, stream=0)
    assert out.eq(1).all()
