"""The core's models, preprocessors and losses on tensors."""

import pytest
import torch
from torch import Tensor, nn

from pysr.builtin import plugin as builtin
from pysr.builtin.network import Enlarge, LumaOnly
from pysr.errors import InputError
from pysr.imaging.colour import luma, rgb_to_ycbcr
from pysr.imaging.resize import resize
from pysr.ops.resample import Resampler
from pysr.plugin import Model
from pysr.registry import registry
from pysr.testing import measured_receptive_field

STEPS = {step.name: step for step in builtin.pysr_preprocessors()}


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", ["nearest", "bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_a_resampler_is_resize(kernel: str, scale: int) -> None:
    low = noise(2, 1, 5, 6)
    network = registry().model(kernel).network(scale, None)
    assert isinstance(network, Resampler)
    assert not network.state_dict()
    assert torch.equal(network(low), resize(low, scale, kernel=kernel))


@pytest.mark.parametrize("model", builtin.pysr_models(), ids=lambda model: model.name)
def test_the_declared_receptive_field_is_the_measured_one(model: Model) -> None:
    assert model.receptive_field is not None
    for scale in model.scales:
        found = measured_receptive_field(model.network(scale, None), 1, scale, model.receptive_field)
        assert found == model.receptive_field


def test_luma_passes_on_y_and_puts_chroma_back() -> None:
    step, rgb = LumaOnly(), noise(2, 3, 6, 7)
    passed, context = step.preprocess(rgb, 3)
    torch.testing.assert_close(passed, luma(rgb))
    output = resize(passed, 3)
    torch.testing.assert_close(step.postprocess(output, context, 3), resize(rgb, 3), rtol=0, atol=1e-5)
    brighter = rgb_to_ycbcr(step.postprocess(output + 0.1, context, 3))
    torch.testing.assert_close(brighter[:, :1], output + 0.1, rtol=0, atol=1e-5)
    torch.testing.assert_close(brighter[:, 1:], resize(rgb_to_ycbcr(rgb)[:, 1:], 3), rtol=0, atol=1e-5)


def test_gray_passes_luma_as_it_is() -> None:
    step, gray = LumaOnly(), noise(1, 1, 4, 5)
    passed, context = step.preprocess(gray, 2)
    assert passed is gray
    output = noise(1, 1, 8, 10)
    assert step.postprocess(output, context, 2) is output


def test_bicubic_enlarges_first() -> None:
    step, window = Enlarge(), noise(1, 1, 4, 5)
    enlarged, context = step.preprocess(window, 4)
    assert torch.equal(enlarged, resize(window, 4))
    assert step.postprocess(enlarged, context, 4) is enlarged


@pytest.mark.parametrize("name", STEPS)
def test_declared_reaches_are_the_measured_ones(name: str) -> None:
    spec = STEPS[name]
    step, window = spec.build(), noise(1, 3, 21, 21).requires_grad_()
    passed, context = step.preprocess(window, 2)
    size = 2 if spec.enlarges else 1
    assert passed.shape[-1] == 21 * size
    assert reach(window, passed[..., 10 * size : 11 * size, 10 * size : 11 * size]) == spec.reach
    if not spec.enlarges:
        after = step.postprocess(noise(1, passed.shape[1], 42, 42), context, 2)
        assert reach(window, after[..., 20:22, 20:22]) == spec.after_reach


def reach(window: Tensor, pixels: Tensor) -> int:
    """How far from the middle of a window the values lie that the pixels depend on."""
    (gradient,) = torch.autograd.grad((pixels * noise(*pixels.shape)).sum(), window, retain_graph=True)
    rows, columns = gradient[0].abs().sum(0).nonzero(as_tuple=True)
    return int(max((rows - 10).abs().max(), (columns - 10).abs().max()))


def test_losses() -> None:
    output, target = noise(2, 1, 4, 4).requires_grad_(), torch.zeros(2, 1, 4, 4)
    values = {loss.name: loss.build()(output, target) for loss in builtin.pysr_losses()}
    assert values["l1"].item() == pytest.approx(output.mean().item())
    assert values["mse"].item() == pytest.approx(output.square().mean().item())
    assert values["charbonnier"].item() == pytest.approx((output**2 + 1e-6).sqrt().mean().item())
    for loss in builtin.pysr_losses():  # a perfect output too has a gradient, and it is finite
        perfect = nn.Parameter(torch.zeros(4))
        loss.build()(perfect, torch.zeros(4)).backward()
        assert perfect.grad is not None and torch.equal(perfect.grad, torch.zeros(4))
    assert registry().loss("charbonnier").build("0.5")(target, target).item() == pytest.approx(0.5)
    for epsilon in ("much", "0", "nan"):
        with pytest.raises(InputError, match=f"epsilon of charbonnier is '{epsilon}'; give a number above 0"):
            registry().loss("charbonnier").build(epsilon)
