"""The adversarial loss over features: what it learns, and what it leaves alone."""

import numpy as np
import pytest
import torch

from pysr.errors import InputError
from pysr.testing import photo
from pysr_perceptual.projected import DRIFT, Head, Projected, projected

TRUTHS = torch.stack([torch.from_numpy(photo(48, 48, seed)).permute(2, 0, 1) for seed in range(4)])
BLURRED = torch.nn.functional.avg_pool2d(TRUTHS, 5, 1, 2, count_include_pad=False)


def taught(steps: int) -> Projected:
    torch.manual_seed(0)
    loss = projected()
    for _ in range(steps):
        loss.update(BLURRED, TRUTHS)
    return loss


def test_discriminators_learn_to_tell_and_the_loss_follows_them() -> None:
    loss = taught(20)
    told = loss.update(BLURRED, TRUTHS)
    assert told["discriminators"] < 0.45  # ln 2 and more in the beginning
    assert all(told[layer] > 0.6 for layer in loss.heads)
    assert float(loss(BLURRED, TRUTHS)) > 1.0
    halfway = BLURRED.lerp(TRUTHS, 0.5)
    assert float(loss(TRUTHS, TRUTHS)) < float(loss(halfway, TRUTHS)) < float(loss(BLURRED, TRUTHS))


def test_an_output_that_is_the_target_is_neither_truer_nor_less_true() -> None:
    assert float(taught(3)(TRUTHS, TRUTHS)) == pytest.approx(np.log(2), abs=1e-5)


def test_it_teaches_the_output_and_only_its_own_step_changes_it() -> None:
    loss = taught(1)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.optimizers[0].zero_grad()
    output = BLURRED.clone().requires_grad_()
    loss(output, TRUTHS).backward()
    assert output.grad is not None and output.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in loss.heads.parameters())
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    loss.update(BLURRED, TRUTHS)
    assert all(not torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_features_are_scaled_by_the_truths_alone() -> None:
    one, other = projected("relu1_1"), projected("relu1_1")
    for loss, outputs in ((one, BLURRED), (other, 1 - BLURRED)):
        torch.manual_seed(1)
        loss.update(outputs, TRUTHS)
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(one.heads["relu1_1"].norm, name), getattr(other.heads["relu1_1"].norm, name))


def test_large_verdicts_cost_the_discriminators() -> None:
    loss = projected("relu1_1")
    head = loss.heads["relu1_1"]
    assert isinstance(head, Head) and head.last.bias is not None
    torch.nn.init.constant_(head.last.bias, 100.0)
    assert loss.update(TRUTHS, TRUTHS)["discriminators"] == pytest.approx(2 * DRIFT * 100**2 + np.log(2), rel=0.02)


def test_both_are_moved_alike_and_by_chance() -> None:
    loss = projected("relu1_1")
    seen: list[torch.Tensor] = []
    loss.features.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    torch.manual_seed(0)
    for _ in range(12):
        loss(TRUTHS, TRUTHS)
        loss.update(TRUTHS, TRUTHS)
    assert all(torch.equal(one, other) for one, other in zip(seen[0::2], seen[1::2], strict=True))
    assert all(len({float(part[0, 0, 20, 20]) for part in parts}) > 8 for parts in (seen[0::4], seen[2::4]))


def test_bfloat16_teaches_nearly_the_same() -> None:
    loss, gradients = taught(10), []
    for enabled in (False, True):
        output = BLURRED.clone().requires_grad_()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = loss(output, TRUTHS)
        assert value.dtype == torch.float32
        value.backward()
        assert output.grad is not None
        gradients.append(output.grad.flatten())
    assert float(torch.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.98


def test_the_discriminators_are_few_and_small() -> None:
    assert sum(p.numel() for p in projected().heads.parameters()) == 733_925
    with pytest.raises(InputError, match="has no layer 'shift4'"):
        projected("shift4")
