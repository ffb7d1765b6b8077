import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr import Tiling
from pysr.errors import InputError, OutOfMemoryError
from pysr.imaging.colour import GRAY
from pysr.plugin import Model, Weights
from pysr.testing import photo
from pysr.upscaling import loading
from pysr.upscaling.memory import empty_image
from pysr.upscaling.tiling import TiledStage

Pixels = np.ndarray[Any, Any]


def pixels(height: int, width: int, channels: int = 3, dtype: str = "uint8") -> Pixels:
    peak = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    values = np.random.default_rng(height * width).random((height, width, channels)) * peak
    return values.astype(dtype)


def doubled(array: Pixels, scale: int = 2) -> Pixels:
    return array.repeat(scale, 0).repeat(scale, 1)


class Convolutions(nn.Module):
    """Random 3x3 layers behind nearest enlargement: half receptive field = depth, biases everywhere."""

    def __init__(self, scale: int, depth: int = 3, channels: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers.append(nn.Conv2d(channels if i == 0 else 8, channels if i == depth - 1 else 8, 3, padding=1))
            layers.append(nn.ReLU() if i < depth - 1 else nn.Identity())
        self.layers, self.scale = nn.Sequential(*layers), scale
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15

    def forward(self, low: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(low)).repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


@pytest.fixture
def probe(install: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """probe(network, **fields of Model): a model called "probe" beside those of the core."""

    def add(network: Any, **fields: Any) -> None:
        install(Model("probe", network=lambda scale, variant: network(scale), summary="", **{"scales": (2,), **fields}))
        monkeypatch.setattr(loading, "load_weights", lambda network, weights: None)

    return add


def with_weights(**fields: Any) -> dict[str, Any]:
    return {"weights": {2: Weights(Path("none"), "0" * 64, "free", "nothing")}, **fields}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 2), (5, 7, 4), (1, 1, 3), (3, 200, 3)])
def test_nearest_repeats_every_pixel_of_an_array(shape: tuple[int, ...], dtype: str) -> None:
    array = pixels(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, dtype).reshape(shape)
    if shape[-1] in (2, 4):
        array[..., -1] = np.iinfo(dtype).max if dtype != "float32" else 1  # opaque: alpha stays, nothing is bled
    result = pysr.load("nearest", 3).upscale(array)
    assert result.dtype == array.dtype
    assert np.array_equal(result, doubled(array, 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_nearest_keeps_mode_and_pixels_of_a_pil_image(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(pixels(6, 9, 1, "uint16")[..., 0])
    elif mode == "CMYK":
        image = Image.fromarray(pixels(6, 9, 4), "CMYK")
        image.putpixel((2, 2), (10, 200, 30, 255))  # colour under full black is a colour still
    else:
        image = Image.fromarray(pixels(6, 9)).convert(mode)
    result = pysr.load("nearest", 2).upscale(image)
    assert isinstance(result, Image.Image)
    assert result.mode == mode
    assert np.array_equal(np.asarray(result), doubled(np.asarray(image)))


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (2, 3, 5, 7), (1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_nearest_repeats_every_pixel_of_a_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    low = (values * (255 if dtype == torch.uint8 else 1)).to(dtype)
    result = pysr.load("nearest", 2).upscale(low)
    assert result.dtype == dtype
    assert torch.equal(result, low.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_a_path_gives_an_upright_image_and_upscale_file_writes_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to view
    array = pixels(6, 9)
    Image.fromarray(array).save(tmp_path / "in.png", exif=exif, icc_profile=b"profile")
    up = pysr.load("nearest", 2)
    result = up.upscale(tmp_path / "in.png")
    assert np.array_equal(np.asarray(result), doubled(np.rot90(array, -1)))
    size = up.upscale_file(tmp_path / "in.png", tmp_path / "out.png").size
    with Image.open(tmp_path / "out.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(result))
        assert size == written.size
        assert written.info["icc_profile"] == b"profile"
        assert written.getexif().get(0x0112, 1) == 1


def test_upscale_file_refuses_an_impossible_output_before_any_work(tmp_path: Path) -> None:
    Image.new("L", (40_000, 1)).save(tmp_path / "in.png")
    with pytest.raises(InputError, match="JPEG is limited to 65500 per side"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "in.png", tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


def test_upscale_file_never_overwrites_its_input(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "in.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "in.png")
    for target in ("in.png", "link.png"):
        with pytest.raises(InputError, match="is the input and would be overwritten"):
            pysr.load("nearest", 2).upscale_file(tmp_path / "in.png", tmp_path / target)
    with Image.open(tmp_path / "in.png") as image:
        assert image.size == (4, 4)


def test_transparent_edges_get_no_dark_fringe() -> None:
    y, x = np.mgrid[:40, :40]
    inside = (y - 20) ** 2 + (x - 20) ** 2 < 144
    image = np.zeros((40, 40, 4), np.uint8)
    image[inside] = 230, 30, 40, 255
    result = pysr.load("bicubic", 3).upscale(image)
    seen = result[result[..., 3] > 8][:, :3].astype(int)
    assert np.abs(seen - (230, 30, 40)).max() <= 2


def test_gray_through_a_colour_network_stays_gray(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3))
    up = pysr.load("probe", device="cpu", precision="float32")
    gray = pixels(20, 20, 1)[..., 0]
    result = up.upscale(gray)
    assert result.shape == (40, 40)
    colour = up.upscale(np.stack([gray] * 3, -1)).astype(float) @ GRAY
    assert np.abs(result - colour).max() <= 1.5


@pytest.mark.parametrize("patch", [9, 16, 33, 64])
@pytest.mark.parametrize("multiple_of", [1, 4])
def test_patches_give_exactly_the_whole_image(probe: Any, patch: int, multiple_of: int) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3, multiple_of=multiple_of))
    image = photo(52, 76)
    options = {"device": "cpu", "precision": "float32"}
    whole = pysr.load("probe", **options).upscale(image)  # type: ignore[arg-type]
    patched = pysr.load("probe", tiling=Tiling(patch), **options).upscale(image)  # type: ignore[arg-type]
    assert np.abs(patched - whole).max() <= 1e-5


@pytest.mark.parametrize("mode", ["blend", "mean"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_joining_patches_of_a_pixelwise_model_changes_nothing(mode: Any, dtype: str) -> None:
    image = pixels(61, 83, 3, dtype)
    result = pysr.load("nearest", 2, tiling=Tiling(20, mode, 5)).upscale(image)
    if dtype == "float32":
        assert np.abs(result - doubled(image)).max() <= 1e-6
    else:
        assert np.array_equal(result, doubled(image))


def test_a_model_without_receptive_field_is_blended_and_cannot_be_exact(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights())
    image = photo(50, 50)
    assert pysr.load("probe", device="cpu", tiling=Tiling(24)).upscale(image).shape == (100, 100, 3)
    with pytest.raises(InputError, match="blend"):
        pysr.load("probe", device="cpu", tiling=Tiling(mode="exact")).upscale(image)


def test_memory_limit_makes_patches_and_progress_counts_them() -> None:
    seen: list[tuple[int, int]] = []
    image = photo(90, 120)
    small = pysr.load("bicubic", 2, ensemble=True, tiling=Tiling(max_memory=200_000)).upscale(
        image, progress=lambda *now: seen.append(now)
    )
    assert len(seen) > 1
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == (len(seen), len(seen))
    assert np.abs(small - pysr.load("bicubic", 2).upscale(image)).max() <= 1e-6


def test_an_exception_in_progress_ends_the_work_and_the_upscaler_still_works() -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    up, image = pysr.load("nearest", 2, tiling=Tiling(16)), pixels(40, 40)
    with pytest.raises(Enough):
        up.upscale(image, progress=stop)
    assert np.array_equal(up.upscale(image), doubled(image))


def test_the_callers_autocast_and_default_dtype_change_nothing(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3))
    image = photo(30, 30)
    expected = pysr.load("probe", device="cpu", precision="float32").upscale(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(pysr.load("probe", device="cpu", precision="float32").upscale(image), expected)
    expected = pysr.load("bicubic", 2).upscale(image)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(pysr.load("bicubic", 2).upscale(image), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_callers_default_device_changes_nothing(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3))
    image = photo(30, 30)
    for name in ("probe", "bicubic"):
        expected = pysr.load(name, 2, device="cpu", precision="float32").upscale(image)
        with torch.device("meta"):
            assert np.array_equal(pysr.load(name, 2, device="cpu", precision="float32").upscale(image), expected)


def test_progress_counts_all_items_of_a_batch() -> None:
    seen: list[tuple[int, int]] = []
    pysr.load("nearest", 2).upscale(torch.rand(3, 1, 4, 4), progress=lambda *now: seen.append(now))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_tiny_patch_is_raised_to_what_is_worth_computing(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3, multiple_of=8))
    up = pysr.load("probe", device="cpu", precision="float32", tiling=Tiling(1))
    assert up._stages[0].plan((3, 500, 500)).patch == (24, 24)
    whole = pysr.load("probe", device="cpu", precision="float32").upscale(photo(30, 50))
    assert np.abs(up.upscale(photo(30, 50)) - whole).max() <= 1e-5


def test_eight_threads_get_the_bits_of_one() -> None:
    up = pysr.load("bicubic", 3, tiling=Tiling(20))
    images = [photo(40 + i, 50, seed=i) for i in range(8)]
    expected = [up.upscale(image) for image in images]
    results: dict[int, Pixels] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: up.upscale(images[i])})) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[i], expected[i]) for i in range(8))


@pytest.mark.parametrize(
    "image", [np.full((4, 4, 3), np.nan, np.float32), np.zeros((0, 4, 3), np.uint8), "nowhere.png"]
)
def test_unusable_images_are_one_clear_error(image: Any) -> None:
    with pytest.raises(InputError):
        pysr.load("bicubic", 2).upscale(image)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_on_a_gpu_the_result_is_the_same_and_lies_where_the_image_lay(place: str) -> None:
    image = torch.from_numpy(photo(60, 70)).permute(2, 0, 1).to(place)
    expected = pysr.load("bicubic", 2, device="cpu").upscale(image.cpu())
    result = pysr.load("bicubic", 2, device="cuda", tiling=Tiling(24)).upscale(image)
    assert result.device.type == place
    assert (result.cpu() - expected).abs().max() <= 1e-5


# --- chains ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1, 3)])
def test_a_chain_gives_the_kind_that_came_in(shape: tuple[int, ...], dtype: str) -> None:
    array = pixels(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, dtype).reshape(shape)
    if shape[-1] == 4:
        array[..., -1] = np.iinfo(dtype).max if dtype != "float32" else 1
    up = pysr.load(["nearest:2", "nearest:3"])
    result = up.upscale(array)
    assert result.dtype == array.dtype
    assert np.array_equal(result, doubled(array, 6))
    batch = torch.from_numpy(np.stack([array.reshape(*shape[:2], -1).transpose(2, 0, 1)] * 2))
    assert torch.equal(up.upscale(batch), batch.repeat_interleave(6, -1).repeat_interleave(6, -2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"])
def test_a_chain_keeps_the_mode_of_a_pil_image(mode: str) -> None:
    image = Image.fromarray(pixels(6, 9, 4 if mode == "CMYK" else 3), "CMYK" if mode == "CMYK" else "RGB").convert(mode)
    result = pysr.load("nearest+nearest", 4).upscale(image)
    assert result.mode == mode
    assert np.array_equal(np.asarray(result), doubled(np.asarray(image), 4))


def test_a_chain_is_its_models_one_after_the_other(tmp_path: Path) -> None:
    image = photo(31, 45) * 0.6 + 0.2  # overshoots nowhere
    chain = pysr.load(["bicubic", "lanczos"], 9)
    expected = pysr.load("lanczos", 3).upscale(pysr.load("bicubic", 3).upscale(image))
    assert np.abs(chain.upscale(image) - expected).max() <= 1e-6
    Image.fromarray(pixels(6, 9)).save(tmp_path / "in.png")
    chain.upscale_file(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.size == (81, 54)


class Times(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2) * self.gain


@pytest.mark.parametrize("gain", [0.01, 3.0])
@pytest.mark.parametrize("patch", ["auto", 8])
def test_nothing_is_rounded_or_clipped_between_stages(install: Any, gain: float, patch: Any) -> None:
    networks = {"up": lambda scale, variant: Times(gain), "down": lambda scale, variant: Times(1 / gain)}
    install(*(Model(name, (2,), network, "", colour="any", receptive_field=0) for name, network in networks.items()))
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(pysr.load("up+down", 4, tiling=Tiling(patch)).upscale(image), doubled(image, 4))
    assert pysr.load("up+up", 4).upscale(image.astype(np.float32) / 255).max() <= 1


def test_the_stages_of_a_chain_are_exact_in_patches(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3, multiple_of=4))
    image, options = photo(52, 76), {"device": "cpu", "precision": "float32"}
    whole = pysr.load("probe+bicubic+probe", 8, **options).upscale(image)  # type: ignore[arg-type]
    patched = pysr.load("probe+bicubic+probe", 8, tiling=Tiling(1), **options).upscale(image)  # type: ignore[arg-type]
    assert np.abs(patched - whole).max() <= 1e-5


def test_progress_of_a_chain_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    up = pysr.load("nearest+nearest", 4, tiling=Tiling(16))
    up.upscale(torch.rand(2, 3, 30, 40), progress=lambda *now: seen.append(now))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (seen[-1][1],) * 2
    assert len({total for _, total in seen}) == 1


def test_progress_of_a_chain_goes_by_the_work_of_each_stage(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights(receptive_field=3))
    seen: list[tuple[int, int]] = []
    up = pysr.load("probe+probe", 4, device="cpu")
    up.upscale(photo(10, 12), progress=lambda *now: seen.append(now))
    assert [done / total for done, total in seen] == pytest.approx([1 / 5, 1]), "the second sees four times the pixels"
    seen.clear()
    pysr.load("probe+bicubic", 4, device="cpu").upscale(photo(10, 12), progress=lambda *now: seen.append(now))
    assert seen[0][0] / seen[0][1] > 0.5, "an interpolation costs less than a network"


def test_progress_in_batches_ends_at_the_total_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_one(self: Any, image: Any, out: Any, *, progress: Any) -> None:
        progress(7, 7)

    monkeypatch.setattr(TiledStage, "upscale", in_one)
    seen: list[tuple[int, int]] = []
    pysr.load("nearest", 2, tiling=Tiling(16)).upscale(torch.rand(3, 1, 4, 40), progress=lambda *now: seen.append(now))
    assert [done for done, _ in seen] == [seen[-1][1] * i // 3 for i in (1, 2, 3)]


def test_alpha_is_enlarged_by_bicubic_once() -> None:
    image = pixels(12, 15, 4)
    result = pysr.load("nearest+nearest", 4).upscale(image)
    assert np.array_equal(result[..., 3], pysr.load("bicubic", 4).upscale(image)[..., 3])


def test_a_chain_that_cannot_be_exact_says_so_before_any_work(probe: Any) -> None:
    probe(Convolutions, colour="rgb", **with_weights())
    seen: list[int] = []
    with pytest.raises(InputError, match="probe sees the whole image at once"):
        pysr.load("nearest+probe", 4, tiling=Tiling(mode="exact")).upscale(
            photo(9, 9), progress=lambda *now: seen.append(1)
        )
    assert not seen


def test_no_room_between_the_stages_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemoryError, match=r"image of the chain, 2147483648 x 1073741824 pixels, does not fit"):
        empty_image(3, (2**30, 2**31), torch.device("cpu"))
