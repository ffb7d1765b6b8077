"""The kernels as operations of torch: gradients, tracing, other devices."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from pysr.ops.axis import Axis
from pysr.ops.patches import blend_patches, extract_patches

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")


def same_bits(a: Any, b: Any) -> Any:
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[a.element_size()]
    return a.dtype == b.dtype and a.shape == b.shape and a.view(whole).equal(b.view(whole))


GRID = ([0, 4], [0, 5])


def weights_for(tile_rows: Any) -> Any:
    random = np.random.default_rng(1)
    down = random.random((len(tile_rows), tile_rows[0].shape[2]), dtype=np.float32)
    across = random.random((tile_rows[0].shape[0], tile_rows[0].shape[3]), dtype=np.float32)
    across[0, :2] = 0
    return torch.from_numpy(down), torch.from_numpy(across)


def test_opcheck() -> None:
    image = torch.rand(3, 9, 11, requires_grad=True)
    torch.library.opcheck(torch.ops.pysr.extract_patches.default, (image, [0, 0, -3, 5], 6, 7, torch.float32))
    tile_rows = [torch.rand(2, 3, 6, 8, requires_grad=True) for _ in range(2)]
    down, across = weights_for(tile_rows)
    size = {"span": [2, 9], "width": 12, "dtype": torch.float32}
    torch.library.opcheck(torch.ops.pysr.blend_patches.default, (tile_rows, GRID[0], down, GRID[1], across), size)


def test_gradients() -> None:
    def cut(image: Any) -> Any:
        return extract_patches(image, [(0, 0), (-3, 5), (40, -9)], (6, 7))

    def put(*tile_rows: Any) -> Any:
        return blend_patches(tile_rows, Axis(GRID[0], down), Axis(GRID[1], across), span=(2, 9), width=12)

    exact = {"eps": 2.0**-6, "atol": 1e-3, "rtol": 1e-3}  # both are linear: a long step loses nothing
    torch.manual_seed(0)
    tile_rows = [torch.rand(2, 2, 6, 8, requires_grad=True) for _ in range(2)]
    down, across = weights_for(tile_rows)
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(cut, (torch.rand(2, 5, 7, requires_grad=True),), **exact)
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(put, tuple(tile_rows), **exact)


def test_gradients_reach_through_clipping_and_16_bits() -> None:
    image = torch.rand(1, 4, 4).to(torch.bfloat16).requires_grad_()
    tile = extract_patches(image, [(0, 0)], (4, 4), dtype=torch.bfloat16)
    whole = Axis([0], np.ones((1, 4), np.float32))
    blend_patches([2 * tile], whole, whole, span=(0, 4), clip=True).sum().backward()
    assert image.grad.dtype == torch.bfloat16
    assert image.grad.equal(2 * (image <= 0.5).to(torch.bfloat16))


def test_meta_tensors_have_shapes() -> None:
    patches = extract_patches(torch.empty(3, 8, 9, device="meta"), [(0, 0)], (4, 5), dtype=torch.float16)
    assert (patches.shape, patches.dtype) == ((1, 3, 4, 5), torch.float16)


def test_the_module_imports_without_the_extension() -> None:
    code = (
        "import sys; sys.modules['pysr._kernels'] = None; import numpy, pysr.ops.patches as k;"
        "print(k.extract_patches(numpy.full((1, 2, 2), 255, 'uint8'), [(0, 0)], (2, 2)).sum().item())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "4.0\n"


@pytest.mark.cuda
@pytest.mark.skipif(not (torch.cuda.is_available() and _kernels.cuda), reason="needs a CUDA GPU and a build for it")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float16, torch.bfloat16])
def test_cuda_gives_the_same_bits(dtype: Any) -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 300, 400), dtype=torch.uint8)
    origins = [(y, x) for y in range(-9, 300, 24) for x in range(-9, 400, 24)]  # more than one launch takes
    patches = extract_patches(image, origins, (40, 40))
    assert same_bits(extract_patches(image.cuda(), origins, (40, 40)).cpu(), patches)
    tile_rows = list(patches.split(len(range(-9, 400, 24))))
    down, across = weights_for(tile_rows)
    axes = Axis(range(0, 24 * len(tile_rows), 24), down), Axis(range(0, 24 * len(tile_rows[0]), 24), across)
    result = blend_patches(tile_rows, *axes, span=(7, 300), dtype=dtype)
    found = blend_patches([tiles.cuda() for tiles in tile_rows], *axes, span=(7, 300), dtype=dtype)
    assert same_bits(found.cpu(), result)
