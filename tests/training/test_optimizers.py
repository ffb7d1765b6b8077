"""Muon: an update with nearly equal singular values."""

import pytest
import torch
from torch import nn

from pysr.training.optimizers import Muon, muon_and_adam, orthogonalised


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(64, 576), (32, 32), (8, 100), (1, 9)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_singular_values_are_near_one(shape: tuple[int, int], size: float) -> None:
    matrix = noise(*shape) * size
    values = torch.linalg.svdvals(orthogonalised(matrix))
    wide = shape[1] > shape[0]  # of a square matrix, the smallest singular values stay below one
    assert 0.6 < float(values.median()) < 1.25
    assert float(values.max()) < 1.3
    assert not wide or float(values.min()) > 0.5


def test_the_directions_are_kept() -> None:
    left, _, right = torch.linalg.svd(noise(16, 50), full_matrices=False)
    matrix = left @ torch.diag(torch.linspace(1, 3, 16)) @ right
    found = left.T @ orthogonalised(matrix) @ right.T
    assert (found.diagonal() > 0.6).all()
    assert float((found - torch.diag(found.diagonal())).abs().max()) < 0.05


def test_more_rows_than_columns_and_no_gradient_at_all() -> None:
    values = torch.linalg.svdvals(orthogonalised(noise(90, 10)))
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_first_step_goes_along_the_orthogonalised_gradient(memory_format: torch.memory_format) -> None:
    start = noise(8, 4, 3, 3)
    parameter = nn.Parameter(start.clone(memory_format=memory_format))
    gradient = noise(8, 4, 3, 3).flip(0)
    parameter.grad = gradient.clone(memory_format=memory_format)
    Muon([parameter], lr=0.5).step()
    expected = start - 0.5 * orthogonalised(gradient.reshape(8, 36)).reshape(8, 4, 3, 3)
    torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=0.02)  # bfloat16 inside
    assert torch.equal(parameter.grad, gradient)


def test_momentum_remembers_the_way() -> None:
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer = Muon([parameter], lr=1.0)
    for gradient in [torch.eye(2)] * 20 + [-0.5 * torch.eye(2)]:  # one step against twenty
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimizer.step()
    assert (parameter.detach() - before).diagonal().max() < -0.5


def test_muon_solves_a_least_squares_problem() -> None:
    layer = nn.Conv2d(4, 4, 3, bias=False)
    nn.init.zeros_(layer.weight)
    images, target = noise(4, 4, 9, 9), nn.Conv2d(4, 4, 3, bias=False).requires_grad_(False)
    target.weight.copy_(noise(4, 4, 3, 3) / 6)
    optimizer = Muon(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(100):
        loss = (layer(images) - target(images)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_parameters_without_a_gradient_stay() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    Muon([parameter], lr=1.0).step()
    assert torch.equal(parameter.detach(), torch.ones(2, 2))
    with pytest.raises(ValueError, match="no closure"):
        Muon([parameter], lr=1.0).step(lambda: 0.0)


def test_muon_takes_the_hidden_weights_and_adam_all_others() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    hidden = network.get_parameter("1.weight")
    muon, adam = muon_and_adam(network, [hidden], (0.02, 0.001), betas=(0.8, 0.95))
    assert [p.shape for group in muon.param_groups for p in group["params"]] == [hidden.shape]
    names = [name for name, p in network.named_parameters() if any(p is q for q in adam.param_groups[0]["params"])]
    assert names == ["0.weight", "0.bias", "1.bias"]
    assert (muon.defaults["lr"], adam.defaults["lr"], adam.defaults["betas"]) == (0.02, 0.001, (0.8, 0.95))
