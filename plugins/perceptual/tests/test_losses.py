"""Johnson's losses by their equations, and as the hook gives them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from pysr.errors import InputError
from pysr.registry import registry
from pysr.testing import photo
from pysr_perceptual.features import Features, unit_distance
from pysr_perceptual.losses import gram, perceptual, style, total_variation


def image(seed: int, side: int = 48) -> Tensor:
    """(1, 3, side, side) in [0, 1]."""
    return torch.from_numpy(photo(side, side, seed=seed)).permute(2, 0, 1)[None]


PAIR = torch.cat([image(0), image(1)]), torch.cat([image(2), image(3)])


def test_feature_reconstruction_is_equation_2() -> None:
    layers = ["relu2_2", "relu3_1"]
    found, wanted = (Features("vgg19-distilled", layers)(images) for images in PAIR)
    total = 0.0
    for layer in layers:
        count, channels, height, width = found[layer].shape
        assert count == 2
        total += float((found[layer] - wanted[layer]).square().sum()) / (channels * height * width) / 2
    assert float(perceptual(*layers)(*PAIR)) == pytest.approx(total, rel=1e-5)
    assert float(perceptual()(*PAIR)) == float(perceptual("relu2_2")(*PAIR))


def test_unit_features_know_directions_only() -> None:
    layers = ["relu1_2", "relu4_1"]
    found, wanted = (Features("vgg19-distilled", layers)(images) for images in PAIR)
    alike = [torch.cosine_similarity(found[layer], wanted[layer]).mean() for layer in layers]
    assert float(perceptual(*layers, "unit")(*PAIR)) == pytest.approx(float(sum(2 - 2 * a for a in alike)), rel=1e-3)


def test_unit_features_of_nothing_have_gradients() -> None:
    nothing = torch.zeros(1, 4, 2, 2, requires_grad=True)
    unit_distance(nothing, torch.rand(1, 4, 2, 2)).backward()
    assert nothing.grad is not None and nothing.grad.isfinite().all()
    assert float(unit_distance(nothing.detach(), nothing.detach())) == 0


def test_a_shift_moves_both_images_at_random() -> None:
    torch.manual_seed(0)
    loss = perceptual("shift1", "relu2_2")
    found = {round(float(loss(*PAIR)), 6) for _ in range(100)}
    moved = [
        [pad(p, (1,) * 4, "reflect")[..., y : y + 48, x : x + 48] for p in PAIR] for y in range(3) for x in range(3)
    ]
    assert found == {round(float(perceptual("relu2_2")(*pair)), 6) for pair in moved}
    assert float(loss(PAIR[0], PAIR[0])) == 0


def test_without_a_shift_nothing_is_random() -> None:
    loss = perceptual("relu1_1")
    state = torch.random.get_rng_state()
    loss(*PAIR)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_options_that_cannot_be_are_said() -> None:
    with pytest.raises(InputError, match="takes one shift; got shift2 and shift4"):
        perceptual("shift2", "shift4")
    with pytest.raises(InputError, match="was given unit twice"):
        perceptual("relu2_2", "unit", "unit")
    with pytest.raises(InputError, match="48 x 48 pixels cannot be shifted by 48"):
        perceptual("shift48")(*PAIR)
    with pytest.raises(InputError, match="shift0"):
        perceptual("shift0")


def test_the_gram_matrix_is_equation_3() -> None:
    planes = torch.rand(2, 5, 4, 3)
    for n in range(2):
        for c in range(5):
            for d in range(5):
                wanted = float((planes[n, c] * planes[n, d]).sum()) / (5 * 4 * 3)
                assert float(gram(planes)[n, c, d]) == pytest.approx(wanted, rel=1e-5)


def test_style_reconstruction_is_equation_4() -> None:
    layers = ["relu1_2", "relu2_2"]
    found, wanted = (Features("vgg19-distilled", layers)(images) for images in PAIR)
    total = sum(float((gram(found[layer]) - gram(wanted[layer])).square().sum()) / 2 for layer in layers)
    assert float(style(*layers)(*PAIR)) == pytest.approx(total, rel=1e-5)


def test_all_layers_of_a_style_count_alike_by_unit() -> None:
    layers = ["relu1_1", "relu3_1"]
    found, wanted = (Features("vgg19-distilled", layers)(image) for image in PAIR)
    total = 0.0
    for layer in layers:
        one, other = gram(found[layer]), gram(wanted[layer])
        total += float(((one - other).square().sum((1, 2)) / other.square().sum((1, 2))).mean())
    assert float(style(*layers, "unit")(*PAIR)) == pytest.approx(total, rel=1e-5)


def test_style_does_not_know_where_things_are() -> None:
    one, same = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    other = one.roll(1, -1) / 2 + one / 2  # noise of another kind, in the same places
    assert float(style()(one, same)) < 0.1 * float(style()(one, other))
    assert float(perceptual()(one, same)) > float(perceptual()(one, other))


def test_style_of_an_image(tmp_path: Path) -> None:
    pixels = (photo(48, 48, seed=2) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    loss = style(str(tmp_path / "image.png"), "relu1_2")
    same = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None]
    assert float(loss(PAIR[0], PAIR[1])) == pytest.approx(float(style("relu1_2")(PAIR[0], same.expand(2, -1, -1, -1))))
    assert float(loss(same, PAIR[1][:1])) == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match=r"missing\.png"):
        style("missing.png")


def test_a_large_style_image_is_shrunk(tmp_path: Path) -> None:
    Image.new("RGB", (1500, 30)).save(tmp_path / "long.png")
    loss = style(str(tmp_path / "long.png"), "relu1_1")
    Image.new("RGB", (512, 11)).save(tmp_path / "short.png")
    assert torch.allclose(
        loss.get_buffer("relu1_1"), style(str(tmp_path / "short.png"), "relu1_1").get_buffer("relu1_1")
    )


def test_total_variation() -> None:
    steps = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]).expand(1, 3, 2, 3)
    assert float(total_variation(steps, torch.rand(1, 3, 2, 3))) == pytest.approx(0.25 / 2)
    assert float(total_variation(steps.mT, steps.mT)) == pytest.approx(0.25 / 2)


@pytest.mark.parametrize("name", ["perceptual", "style", "tv"])
def test_the_hook_gives_losses_that_teach_the_output_alone(name: str) -> None:
    loss = registry().losses[name].build()
    output = PAIR[0].clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(output, PAIR[1])
    assert value.dtype == torch.float32
    assert value.shape == ()
    value.backward()
    assert output.grad is not None and output.grad.abs().sum() > 0
    if isinstance(loss, torch.nn.Module):
        assert all(p.grad is None and not p.requires_grad for p in loss.parameters())
    reduced = output.detach() - 0.1 * output.grad / output.grad.norm()
    assert float(loss(reduced, PAIR[1])) < float(value.detach())


def test_frozen_numbers_are_not_saved_with_a_training() -> None:
    loss = perceptual("relu1_1")
    assert loss.state_dict() == style("relu1_1").state_dict() == {}
    before = float(loss(*PAIR))
    loss.load_state_dict({})
    assert float(loss(*PAIR)) == before
    with pytest.raises(RuntimeError, match="Unexpected"):
        loss.load_state_dict({"other": torch.zeros(1)})


def test_gray_counts_as_three_equal_planes() -> None:
    gray = [images[:, :1] for images in PAIR]
    for loss in (perceptual(), style(), perceptual("squeezenet/relu1", "squeezenet/fire2")):
        assert torch.equal(loss(*gray), loss(*(planes.repeat(1, 3, 1, 1) for planes in gray)))


def test_how_layers_are_named() -> None:
    assert perceptual("squeezenet/fire2", "squeezenet/fire3").features.layers == ("fire2", "fire3")
    assert float(perceptual("vgg19-distilled/relu2_2")(*PAIR)) == float(perceptual("relu2_2")(*PAIR))
    with pytest.raises(InputError, match="are layers of squeezenet and vgg19-distilled; use one network per loss"):
        perceptual("squeezenet/fire2", "relu2_2")
    with pytest.raises(InputError, match="no feature network 'vgg11'"):
        perceptual("vgg11/relu2_2")
    with pytest.raises(InputError, match="no layer 'relu9_9'"):
        style("relu9_9")
