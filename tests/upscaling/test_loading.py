"""Names, scales and options into an upscaler; and models that begin with another's result."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr import Tiling
from pysr.cli import app
from pysr.errors import InputError, OutOfMemoryError, PluginError, UnknownNameError
from pysr.plugin import Model
from pysr.testing import photo
from pysr.upscaling.planes import shares
from pysr.upscaling.weights import save_weights

EXACT: dict[str, Any] = {"device": "cpu", "precision": "float32"}


class Layers(nn.Module):
    """Random 3x3 layers with biases and zeros beyond the border that see ``depth`` pixels far; darker on a grid."""

    def __init__(self, channels: int, depth: int, scale: int = 1, multiple_of: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(depth)
        widths = [channels, *[4] * (depth - 1), channels]
        self.scale, self.multiple_of, self.layers = scale, multiple_of, []
        for before, after in pairwise(widths):
            conv = nn.Conv2d(before, after, 3, padding=1).requires_grad_(False)
            for values in (conv.weight, conv.bias):
                values.copy_(torch.randn(values.shape, generator=generator) * 0.1)
            self.layers.append(conv)  # in a list, not a ModuleList: no weights are asked for

    def forward(self, low: Tensor) -> Tensor:
        assert low.shape[-1] % self.multiple_of == low.shape[-2] % self.multiple_of == 0
        planes = low
        for layer in self.layers:
            planes = layer(planes.relu())
        planes = low + planes
        planes[..., :: self.multiple_of] *= 0.9
        return planes.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


class Gain(nn.Module):
    """Every pixel ``scale`` times a side, times a number."""

    def __init__(self, gain: float, scale: int = 1) -> None:
        super().__init__()
        self.gain, self.scale = gain, scale

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) * self.gain


def model(name: str, network: Callable[[int], nn.Module], **fields: Any) -> Model:
    return Model(name, network=lambda scale, variant: network(scale), summary="", **{"scales": (2, 3), **fields})


def small(name: str, colour: Any, depth: int, **fields: Any) -> Model:
    """A model that enlarges by itself."""
    channels, multiple_of = 3 if colour == "rgb" else 1, fields.get("multiple_of", 1)
    return model(
        name, lambda scale: Layers(channels, depth, scale, multiple_of), colour=colour, receptive_field=depth, **fields
    )


def sharpener(name: str, colour: Any, depth: int, **fields: Any) -> Model:
    """A model that begins with bicubic."""
    fields = {"preprocess": ("luma", "bicubic") if colour == "luma" else ("bicubic",)} | fields
    channels, multiple_of = 3 if colour == "rgb" else 1, fields.get("multiple_of", 1)
    return model(
        name, lambda scale: Layers(channels, depth, 1, multiple_of), colour=colour, receptive_field=depth, **fields
    )


def copying(name: str = "copy", gain: float = 1, **fields: Any) -> Model:
    """A model that shows what its first enlargement gave, times a number."""
    return model(
        name, lambda scale: Gain(gain), **{"colour": "any", "receptive_field": 0, "preprocess": ("bicubic",)} | fields
    )


# --- names and options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "bicubix"}, UnknownNameError, "did you mean 'bicubic'"),
        ({"scale": 1.5}, InputError, r"bicubic has no scale 1.5; it has 2, .* upscale_file takes output="),
        ({"scale": 99}, InputError, "bicubic has no scale 99; it has 2, 3"),
        ({"variant": "large"}, InputError, "bicubic has no variant 'large'; it has none"),
        ({"device": "gpu"}, InputError, "'gpu'"),
        ({"precision": "fp8"}, InputError, "'fp8'"),
        ({"device": "meta"}, InputError, "'meta'"),
        ({"device": None}, InputError, "None"),
        (
            {"pre_upsampler": "nearest"},
            InputError,
            "bicubic cannot take the pre-upsampler nearest: .* leave it out",
        ),
        ({"pre_upsampler": "naerest"}, UnknownNameError, "did you mean 'nearest'"),
        ({"model": "bicubic+nearest", "scale": 6}, InputError, "name the parts, as in bicubic:2.nearest:2"),
        ({"model": "bicubic+nearest", "variant": "a"}, InputError, "^variant cannot be given for several models"),
        (
            {"model": ["bicubic:2", "nearest:3"], "weights": "w", "pre_upsampler": "nearest"},
            InputError,
            r"^pre_upsampler and weights cannot .* \(bicubic:2\+nearest:3\).* load the models separately",
        ),
    ],
)
def test_what_load_cannot_use_is_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pysr.load(**{"model": "bicubic", **arguments})


def test_a_network_with_parameters_and_no_weights_is_refused(install: Callable[..., None]) -> None:
    install(model("probe", lambda scale: nn.Conv2d(3, 3, 3, padding=1), colour="rgb", receptive_field=3), copying())
    for arguments in ({"model": "probe"}, {"model": "nearest+probe"}, {"model": "copy", "pre_upsampler": "probe"}):
        with pytest.raises(InputError, match="probe comes without weights for scale 2"):
            pysr.load(**arguments, device="cpu")


def test_weights_are_used_at_the_scale_that_they_were_trained_for(
    install: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = model("probe", lambda scale: nn.Conv2d(3, 3, 3, padding=1), colour="rgb", preprocess=("bicubic",))
    install(probe)
    file = tmp_path / "own.safetensors"
    for noted, scale in (("3", 3), ("7 3 2", 3), ("7", 2), ("", 2)):
        save_weights(nn.Conv2d(3, 3, 3), file, {"pysr.scales": noted})
        assert pysr.load("probe", weights=file, device="cpu").scale == scale
    assert not caplog.records
    save_weights(nn.Conv2d(3, 3, 3), file, {"pysr.scales": "3"})
    assert pysr.load("probe", 2, weights=file, device="cpu").scale == 2
    assert "own.safetensors was trained for scale 3, not for 2" in caplog.text


def test_weights_that_learnt_another_start_are_warned_of(
    install: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(model("probe", lambda scale: nn.Conv2d(3, 3, 3, padding=1), colour="rgb", preprocess=("bicubic",)))
    file = tmp_path / "own.safetensors"
    for learnt, pre_upsampler in (("", None), ("", "bicubic"), ("lanczos", "lanczos"), (None, "lanczos")):
        save_weights(nn.Conv2d(3, 3, 3), file, {} if learnt is None else {"pysr.initial": learnt})
        pysr.load("probe", weights=file, pre_upsampler=pre_upsampler, device="cpu")
    assert not caplog.records
    for learnt, pre_upsampler, says in (
        ("lanczos", None, "lanczos, not bicubic"),
        ("", "nearest", "bicubic, not nearest"),
    ):
        save_weights(nn.Conv2d(3, 3, 3), file, {"pysr.initial": learnt})
        pysr.load("probe", weights=file, pre_upsampler=pre_upsampler, device="cpu")
        assert f"own.safetensors was trained with the pre-upsampler {says}" in caplog.text


def test_the_command_uses_weights_at_their_scale_too(install: Callable[..., None], tmp_path: Path) -> None:
    install(model("probe", lambda scale: nn.Conv2d(3, 3, 3, padding=1), colour="rgb", preprocess=("bicubic",)))
    save_weights(nn.Conv2d(3, 3, 3), tmp_path / "own.safetensors", {"pysr.scales": "3"})
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    options = ["-m", "probe", "--weights", str(tmp_path / "own.safetensors"), "--device", "cpu"]
    assert app.main(["upscale", str(tmp_path / "a.png"), *options]) == 0
    with Image.open(tmp_path / "a_x3.png") as made:
        assert made.size == (24, 18)


def test_a_network_that_cannot_be_built_is_named(install: Callable[..., None]) -> None:
    def broken(scale: int) -> nn.Module:
        raise KeyError("width")

    install(model("probe", broken))
    with pytest.raises(PluginError, match=r"fake could not build the network of 'probe': KeyError\('width'\)"):
        pysr.load("probe")


def test_loading_leaves_the_callers_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    pysr.load("bicubic", 2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_shot_upscale() -> None:
    image = (photo(4, 4) * 255).astype(np.uint8)
    assert np.array_equal(pysr.upscale(image, "nearest", 2), image.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(pysr.upscale(image, ["nearest:2", "nearest:3"]), image.repeat(6, 0).repeat(6, 1))


def test_an_upscaler_says_what_it_is() -> None:
    chain = pysr.load(["nearest", "bicubic"], 9, device="cpu", precision="bfloat16")
    assert repr(chain) == "<Upscaler nearest:3+bicubic:3 x9 on cpu in float32>"  # nothing to gain from bfloat16
    assert (chain.model.name, chain.model.scales, chain.scale) == ("nearest:3+bicubic:3", (9,), 9)
    assert pysr.load("nearest:3").model is pysr.load("nearest").model


def test_the_options_of_a_chain_hold_for_each_stage() -> None:
    up = pysr.load("bicubic+bicubic", 4, device="cpu", tiling=Tiling(40, "blend", 6))
    first, second = up._stages[0].plan((3, 100, 90)), up._stages[1].plan((3, 200, 180))
    assert first.patch == second.patch == (40, 40)
    assert second.output_shape == (400, 360)


# ---- pre-upsampler -------------------------------------------------------------------------------------------------

PRE_UPSAMPLERS = {
    "rgb": small("start", "rgb", 3),
    "luma": small("start", "luma", 4, preprocess=("luma",)),
    "any": small("start", "any", 2),
    "multiples": small("start", "rgb", 3, multiple_of=4),
    "itself with bicubic": sharpener("start", "luma", 5),
}


@pytest.mark.parametrize("pre_upsampler", PRE_UPSAMPLERS.values(), ids=PRE_UPSAMPLERS)
@pytest.mark.parametrize(
    "main", [sharpener("main", "luma", 5), sharpener("main", "rgb", 6), sharpener("main", "any", 3, multiple_of=3)]
)
@pytest.mark.parametrize("scale", [2, 3])
def test_patches_give_exactly_the_whole_image(
    install: Callable[..., None], main: Model, pre_upsampler: Model, scale: int
) -> None:
    install(main, pre_upsampler)
    whole = pysr.load("main", scale, pre_upsampler="start", **EXACT)
    patched = pysr.load("main", scale, pre_upsampler="start", tiling=Tiling(1), **EXACT)
    image = photo(71, 97)
    assert all(count > 1 for count in shares(patched._stages, (3, 71, 97), torch.device("cpu")))
    assert np.abs(patched.upscale(image) - whole.upscale(image)).max() <= 1e-5
    assert np.abs(whole.upscale(image) - pysr.load("main", scale, **EXACT).upscale(image)).max() > 1e-3


def test_its_halo_and_its_multiples_add_to_the_models(install: Callable[..., None]) -> None:
    install(sharpener("main", "luma", 5, multiple_of=4), small("start", "rgb", 7, multiple_of=6))
    up = pysr.load("main", 2, pre_upsampler="start")
    assert up._stages[0].stage.halo == 7 + 3
    assert up.model.multiple_of == 12


@pytest.mark.parametrize("image", [photo(9, 13), photo(9, 13)[..., 0]], ids=["colour", "gray"])
def test_bicubic_as_pre_upsampler_changes_nothing_and_another_is_what_the_network_gets(
    install: Callable[..., None], image: Any
) -> None:
    install(
        sharpener("main", "luma", 4), copying(), copying("luma copy", colour="luma", preprocess=("luma", "bicubic"))
    )
    plain, same = (
        pysr.load("main", pre_upsampler=pre_upsampler, **EXACT).upscale(image) for pre_upsampler in (None, "bicubic")
    )
    assert np.abs(plain - same).max() <= 1e-6
    for name in ("copy", "luma copy"):
        began, alone = pysr.load(name, 3, pre_upsampler="lanczos", **EXACT), pysr.load("lanczos", 3)
        if image.ndim == 2 or name == "copy":  # chroma is bicubic behind the preprocessor luma
            assert np.abs(began.upscale(image) - alone.upscale(image)).max() <= 1e-6


def test_nothing_is_clipped_between_the_pre_upsampler_and_the_network(install: Callable[..., None]) -> None:
    install(copying(gain=0.25), model("bright", lambda scale: Gain(4, scale), colour="any", receptive_field=0))
    image = photo(8, 8)
    result = pysr.load("copy", 2, pre_upsampler="bright", **EXACT).upscale(image)
    assert np.abs(result - image.repeat(2, 0).repeat(2, 1)).max() <= 1e-6


def test_a_pre_upsampler_that_sees_everything_makes_the_whole_unbounded(install: Callable[..., None]) -> None:
    install(copying(), model("wide", lambda scale: Gain(1, scale), colour="rgb"))
    image = photo(70, 60)
    up = pysr.load("copy", 2, pre_upsampler="wide", tiling=Tiling(24, overlap=5), **EXACT)
    assert up._stages[0].plan((3, 70, 60)).count > 1
    assert np.abs(up.upscale(image) - image.repeat(2, 0).repeat(2, 1)).max() <= 1e-6
    with pytest.raises(InputError, match="copy sees the whole image at once; use mode='blend'"):
        pysr.load("copy", 2, pre_upsampler="wide", tiling=Tiling(mode="exact")).upscale(image)


def test_the_memory_of_a_pre_upsampler_counts(install: Callable[..., None]) -> None:
    heavy = model("heavy", Heavy, colour="any", receptive_field=0)
    install(copying(), copying("luma", colour="luma", preprocess=("luma", "bicubic")), heavy)
    for name, planes in (("copy", 3), ("luma", 1)):
        light, full = (
            pysr.load(name, pre_upsampler=pre_upsampler, tiling=Tiling(max_memory=10**7), **EXACT)
            for pre_upsampler in ("nearest", "heavy")
        )
        needed = full._stages[0].stage.bytes_per_pixel(3)
        assert needed >= planes * pysr.load("heavy", **EXACT)._stages[0].stage.bytes_per_pixel(1)
        assert needed > 10 * light._stages[0].stage.bytes_per_pixel(3)
        assert full._stages[0].plan((3, 500, 500)).count > light._stages[0].plan((3, 500, 500)).count


class Heavy(nn.Module):
    """Nearest, by way of 500 planes."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.widen, self.enlarge = Widen(), Gain(1, scale)

    def forward(self, low: Tensor) -> Tensor:
        return self.enlarge(self.widen(low)[:, :1])  # type: ignore[no-any-return]


class Widen(nn.Module):
    def forward(self, low: Tensor) -> Tensor:
        return low.expand(-1, 500, -1, -1)


def test_the_name_includes_the_pre_upsampler(install: Callable[..., None]) -> None:
    install(copying(aliases=("c",)), small("start", "rgb", 3, aliases=("s",)))
    up = pysr.load("c", pre_upsampler="s")
    assert up.model.name == "copy, pre_upsampler start"
    assert up.model.colour == "any"


def test_a_pre_upsampler_must_offer_the_scale(install: Callable[..., None]) -> None:
    install(copying(), small("start", "rgb", 3, scales=(3, 4)))
    assert pysr.load("copy", 3, pre_upsampler="start").scale == 3
    with pytest.raises(InputError, match="start cannot be the pre-upsampler of copy at scale 2: it offers only 3, 4"):
        pysr.load("copy", 2, pre_upsampler="start")


def test_memory_that_runs_out_while_a_network_is_built_is_named(install: Callable[..., None]) -> None:
    def fails(*_: Any) -> Any:
        raise MemoryError

    install(Model("greedy", (2,), fails, ""))
    with pytest.raises(OutOfMemoryError, match="while a model was loaded"):
        pysr.load("greedy", **EXACT)
