"""The networks: what each sub-pixel may depend on, sizes, samples against the torch network, and the recipes."""

import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from pysr.plugin import channel_groups
from pysr_pixelcnn.digits import CornersConditioning, build_corners
from pysr_pixelcnn.network import Conditioning, PixelCNN, build_faces, cross_entropies, levels
from pysr_pixelcnn.prior import Prior, masked

SIZES = [(3, 16, 24), (1, 16, 16), (3, 20, 26), (3, 64, 64)]


def small(planes: int = 3) -> PixelCNN:
    torch.manual_seed(0)
    network = PixelCNN(Conditioning(planes, 4, 8, 1), 8, Prior(planes, 16, 3, 32)).eval()
    network.prior.answer.weight.data.mul_(20)
    return network


@pytest.mark.parametrize(("planes", "channels", "hidden"), SIZES)
def test_a_sub_pixel_depends_on_those_before_it_only(planes: int, channels: int, hidden: int) -> None:
    """By gradients, for every sub-pixel of a 5 x 6 image: none from itself or later ones, some from the one before."""
    torch.manual_seed(1)
    prior = Prior(planes, channels, 2, hidden)
    image = (torch.rand(1, planes, 5, 6) - 0.5).requires_grad_()
    logits = prior(image)
    for number, (i, j, plane) in enumerate(np.ndindex(5, 6, planes)):
        chosen = logits[0, plane * 256 : (plane + 1) * 256, i, j]
        (gradient,) = torch.autograd.grad(chosen.pow(2).sum(), image, retain_graph=True)
        in_order = gradient[0].permute(1, 2, 0).flatten()
        assert (in_order[number:] == 0).all(), (i, j, plane)
        if j or plane:
            assert in_order[number - 1] != 0, (i, j, plane)


def test_a_pixel_sees_the_rows_above_up_to_the_columns_that_waves_need() -> None:
    prior = Prior(3, 16, 6, 16)
    image = (torch.rand(1, 3, 8, 24) - 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(prior(image)[0, :, 7, 4].pow(2).sum(), image)
    for above in range(1, 5):
        columns = gradient[0, :, 7 - above].abs().sum(0).nonzero()
        assert int(columns.max()) - 4 == 3 + 2 * (above - 1)


def test_the_paper_has_this_many_parameters() -> None:
    assert sum(value.numel() for value in Prior().parameters()) == 3_405_120
    assert channel_groups(64, 3) == (32, 16, 16) and channel_groups(64, 1) == (64,)
    effective = sum(int((value != 0).sum()) for name, value in masked(Prior()).items() if name.endswith("weight"))
    assert effective == 3_102_256


def test_samples_are_the_torch_networks() -> None:
    """The greedy image is what the whole network gives, sub-pixel by sub-pixel."""
    network, low = small(), torch.rand(1, 3, 2, 3)
    found = network.sample(low, 1, temperature=0)[:, 0]
    image = torch.zeros(1, 3, 8, 12)
    with torch.no_grad():
        for i, j, plane in np.ndindex(8, 12, 3):
            image[0, plane, i, j] = network.logits(low, image)[1][0, i, j, plane].argmax() / 255
    assert (found != image).float().mean() < 0.01


def test_sampling_keeps_what_is_known() -> None:
    network, low = small(1), torch.rand(2, 1, 3, 3)
    known = torch.randint(0, 256, (2, 1, 12, 12), dtype=torch.uint8)
    mask = torch.rand(2, 12, 12) < 0.5
    drawn = network.sample(low, 3, known=known, mask=mask)
    assert drawn.shape == (2, 3, 1, 12, 12)
    where = mask[:, None, None].expand_as(drawn)
    assert torch.equal(drawn[where], (known[:, None].expand_as(drawn).float() / 255)[where])


def test_the_likelihood_is_the_cross_entropy() -> None:
    network, low, high = small(), torch.rand(2, 3, 2, 2), torch.randint(0, 256, (2, 3, 8, 8)) / 255
    nats = network.log_likelihood(low, high)
    with torch.no_grad():
        expected = cross_entropies(network, low, high)["joint"]
    assert float(-nats.sum() / high.numel()) == pytest.approx(float(expected), rel=1e-5)


def test_both_cross_entropies_train_their_networks() -> None:
    network, low, high = small().train(), torch.rand(2, 3, 2, 2), torch.randint(0, 256, (2, 3, 8, 8)) / 255
    losses = cross_entropies(network, low, high)
    losses["conditioning"].backward(retain_graph=True)
    assert network.prior.answer.weight.grad is None and network.condition.weight.grad is not None
    losses["joint"].backward()
    assert network.prior.answer.weight.grad is not None


def test_new_numbers_are_sampled_from_and_copies_have_their_own() -> None:
    network, low = small(), torch.rand(1, 3, 2, 2)
    before = network.sample(low, 1)
    other = small()
    other.load_state_dict({name: value * 1.5 for name, value in network.state_dict().items()})
    after = other.sample(low, 1)
    network.load_state_dict(other.state_dict())
    assert not torch.equal(before, after) and torch.equal(network.sample(low, 1), after)


def test_changed_numbers_are_sampled_from_and_networks_travel() -> None:
    network, low = small(), torch.rand(1, 3, 2, 2)
    before = network.sample(low, 1)
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(again.sample(low, 1), before)
    network.prior.answer.weight.data.mul_(3)
    assert not torch.equal(network.sample(low, 1), before)


def test_a_network_made_in_inference_mode_samples() -> None:
    with torch.inference_mode():
        low = torch.rand(1, 3, 2, 2)
        assert torch.equal(small().sample(low, 1), small().sample(low, 1))


def test_a_batch_does_not_change_an_image() -> None:
    network, low = small(), torch.rand(5, 3, 2, 2)
    assert torch.equal(network.sample(low, 2)[3], network.sample(low[3:4], 2)[0])


def test_inputs_of_several_sizes_give_what_each_gives_alone() -> None:
    network, lows = small(), [torch.rand(1, 3, *shape) for shape in ((2, 2), (1, 4), (3, 2), (2, 2), (1, 1))]
    seen: list[tuple[int, int]] = []
    drawn = network.sample_each(lows, 3, seed=4, progress=lambda *now: seen.append(now))
    for low, samples in zip(lows, drawn, strict=True):
        assert torch.equal(samples, network.sample(low, 3, seed=4))
    assert seen[-1] == (16 * 3 * (4 + 4 + 6 + 4 + 1),) * 2


def test_levels_go_there_and_back() -> None:
    image = torch.arange(256).view(1, 1, 16, 16) / 255
    assert torch.equal(levels(image).flatten(), torch.arange(256))


def test_the_models_have_their_sizes() -> None:
    for network, low, high in (
        (build_faces(), (2, 3, 8, 8), (2, 32, 32, 3, 256)),
        (build_corners(), (1, 1, 28, 28), (1, 56, 56, 1, 256)),
    ):
        size: tuple[int, ...] = low[0], low[1], high[1], high[2]
        with torch.no_grad():
            given, both = network.eval().logits(torch.rand(low), torch.rand(size))
        assert given.shape == both.shape == high


def test_the_corners_see_far_enough() -> None:
    """18 layers see 39 rows up: more than the 28 between a pixel and the same of a digit in the other corner."""
    network = build_corners()
    image = (torch.rand(1, 1, 56, 56) - 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(network.prior(image)[0, :, 45, 40].pow(2).sum(), image)
    rows = gradient[0, 0].abs().sum(1).nonzero()
    assert int(rows.min()) == 45 - 39


def test_the_corners_conditioning_knows_places() -> None:
    network = CornersConditioning(1).eval()
    with torch.no_grad():
        features: Tensor = network(torch.zeros(1, 1, 28, 28))
    assert features.shape == (1, 32, 56, 56)
    assert not torch.allclose(features[..., 10, 10], features[..., 38, 38])
    assert math.isfinite(float(features.sum()))
