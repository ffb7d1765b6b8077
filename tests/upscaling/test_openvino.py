"""What computes a network: the choice between torch and OpenVINO, and networks that OpenVINO has converted."""

import copy
import logging
import os
import pickle
import sys
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
from pysr.errors import InputError
from pysr.testing import photo
from pysr.upscaling import openvino_network
from pysr.upscaling.openvino_network import OpenVINONetwork, choose_backend
from pysr.upscaling.runner import ForeignNetwork, PreparedNetwork

CPU = torch.device("cpu")
PROBE = (1, 16, 16)


class Network(nn.Module):
    """Two layers around the image itself, as networks that learn a residual have them."""

    def __init__(self, padding_mode: str = "zeros") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode=padding_mode)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.last(self.first(image).relu())  # type: ignore[no-any-return]


class FixedSize(Network):
    """Works in torch for every size, but its traced form only for one."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image)[:, :, : int(image.shape[2])].reshape(1, 1, image.shape[2], -1)


class Fake(PreparedNetwork):
    """In OpenVINO's place: the exact network, but for an error of that size."""

    error = 0.0

    def __call__(self, image: Tensor) -> Tensor:
        return super().__call__(image) + self.error


def prepared(network: nn.Module, dtype: torch.dtype = torch.float32) -> PreparedNetwork:
    return PreparedNetwork(network, CPU, dtype, PROBE)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """OpenVINO as if it were installed."""
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: object())
    monkeypatch.setattr(
        openvino_network, "OpenVINONetwork", lambda network, prepared: Fake(network, CPU, torch.float32, PROBE)
    )
    monkeypatch.setattr(openvino_network, "_converted", lambda network, prepared, probe: network)
    return Fake


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(InputError, match="unknown backend 'tensorrt'; use 'auto', 'torch', 'openvino'"):
        pysr.load("srcnn", 2, backend="tensorrt")


@pytest.mark.parametrize(("error", "exact"), [(0.0, True), (9e-6, True), (2e-5, False)])
def test_auto_takes_openvino_only_if_it_is_exact(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: float, exact: bool
) -> None:
    caplog.set_level(logging.DEBUG, logger="pysr")
    monkeypatch.setattr(fake, "error", error)
    network = Network()
    assert isinstance(choose_backend(network, prepared(network), PROBE, "auto", "probe"), Fake) is exact
    assert ("probe is computed by OpenVINO" if exact else "its error is 2.0e-05, and 1.0e-05 is allowed") in caplog.text
    assert not isinstance(choose_backend(network, prepared(network), PROBE, "torch", "probe"), Fake)
    if not exact:
        with pytest.raises(InputError, match=r"probe cannot be computed by OpenVINO: its error .* leave out what asks"):
            choose_backend(network, prepared(network), PROBE, "openvino", "probe")


def test_lower_precision_may_be_as_far_off_as_torch(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    reduced = prepared(network, torch.bfloat16)
    image = torch.rand(1, *PROBE)
    with torch.inference_mode():
        off = float((reduced(image) - network(image)).square().mean().sqrt())
    for factor, taken in ((0.9, True), (2.0, False)):
        monkeypatch.setattr(fake, "error", factor * off)
        assert isinstance(choose_backend(network, reduced, PROBE, "auto", "probe"), Fake) is taken


def test_where_it_is_not_installed_torch_computes_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: None)
    caplog.set_level(logging.DEBUG, logger="pysr")
    pysr.load("srcnn", 2, device="cpu")
    assert "srcnn is computed by torch; not by OpenVINO: it is not installed (pip install" in caplog.text
    with pytest.raises(InputError, match=r"srcnn cannot be computed by OpenVINO: it is not installed \(pip install"):
        pysr.load("srcnn", 2, device="cpu", backend="openvino")


def test_int8_without_openvino_has_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: None)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"leave out .* precision='int8'"):  # backend='torch' would be refused
        pysr.load("srcnn", 2, device="cpu", precision="int8", calibration=tmp_path)


def test_networks_without_parameters_stay_with_torch(fake: type[Fake]) -> None:
    network = nn.Upsample(scale_factor=2)
    assert not isinstance(choose_backend(network, prepared(network), PROBE, "openvino", "probe"), Fake)


class Elsewhere(nn.Module):
    """A network that another runtime computes, which can hand it over."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2

    def to_openvino(self) -> nn.Module:
        return self


def test_networks_of_other_runtimes_move_only_if_asked_to(fake: type[Fake]) -> None:
    network = Elsewhere()
    own = ForeignNetwork(network, 0)
    for backend, moved in (("auto", False), ("torch", False), ("openvino", True)):
        assert isinstance(choose_backend(network, own, PROBE, backend, "file"), Fake) is moved


def test_a_runtime_that_keeps_its_networks_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "openvino", object())
    network = nn.Upsample(scale_factor=2)
    with pytest.raises(
        InputError, match=r"file cannot be computed by OpenVINO: .*no way .*; leave out what asks for it"
    ):
        choose_backend(network, ForeignNetwork(network, 0), PROBE, "openvino", "file")


# ---- OpenVINO itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def installed() -> Any:
    return pytest.importorskip("openvino")


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_what_torch_does(installed: Any, dtype: torch.dtype, padding_mode: str) -> None:
    network = Network(padding_mode).eval()
    converted = choose_backend(network, prepared(network, dtype), PROBE, "openvino", "probe")
    assert isinstance(converted, OpenVINONetwork)
    assert isinstance(converted.network, Network), "what `pysr.export` takes"
    for shape in ((1, 1, 16, 16), (3, 1, 40, 23)):
        image = torch.rand(shape)
        with torch.inference_mode():
            exact = network(image)
        off = (converted(image) - exact).abs().max()
        assert off < (1e-5 if dtype == torch.float32 else 0.01)


def test_a_network_of_one_size_is_left_to_torch(installed: Any) -> None:
    network = FixedSize().eval()
    assert not isinstance(choose_backend(network, prepared(network), PROBE, "auto", "probe"), OpenVINONetwork)


def test_threads_share_it(installed: Any) -> None:
    up, images = pysr.load("srcnn", 2, device="cpu", backend="openvino"), [photo(20, 20 + i) for i in range(4)]
    expected = [up.upscale(image) for image in images]
    results: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: up.upscale(images[i])})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[i], expected[i]) for i in range(4))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda up: pickle.loads(pickle.dumps(up))])
def test_it_can_be_copied_and_pickled(installed: Any, copied: Callable[[Any], Any]) -> None:
    up, image = pysr.load("srcnn", 2, device="cpu", backend="openvino"), photo(20, 21)
    assert np.array_equal(copied(up).upscale(image), up.upscale(image))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_torch_computes_it_in_a_forked_child(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = Network().eval(), torch.rand(1, 1, 16, 16)
    in_torch = prepared(network)
    converted, expected = choose_backend(network, in_torch, PROBE, "openvino", "probe"), in_torch(image)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    monkeypatch.setattr(converted, "_of_thread", None)  # not to be touched
    assert torch.equal(converted(image), expected)
