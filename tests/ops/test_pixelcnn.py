"""The native sampler against the same network in torch, run as a whole for every sub-pixel."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pysr.errors import InputError, PysrError
from pysr.ops.pixelcnn import KnownPixels, NoiseSource, PixelCNNSampler, with_memory_of_torch

kernels = pytest.importorskip("pysr._kernels")
Pixels = np.ndarray[Any, Any]


class Network(nn.Module):
    """The prior and the last layer of a conditioning network, plainly, from masked weights by name."""

    def __init__(self, planes: int, channels: int, layers: int, hidden: int, features: int, seed: int = 0) -> None:
        super().__init__()
        self.planes, self.channels, self.layers, self.features = planes, channels, layers, features
        generator = torch.Generator().manual_seed(seed)
        self.weights: dict[str, Tensor] = {}

        def add(name: str, *shape: int, gain: float = 1.0, mask: Tensor | None = None) -> None:
            weight = torch.randn(shape, generator=generator) * gain / math.sqrt(math.prod(shape[1:]))
            self.weights[f"{name}.weight"] = weight if mask is None else weight * mask
            if name.rpartition(".")[2] != "across":
                self.weights[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.05

        member, wide = self._plane_of(channels), self._plane_of(hidden)
        first = torch.ones(channels, planes, 4, 7)
        first[:, :, 3, 4:] = 0
        first[:, :, 3, 3] = (torch.arange(planes)[None] < member[:, None]).float()
        add("first", channels, planes, 4, 7, gain=3, mask=first)
        for layer in range(layers):
            both = member.repeat(2)
            centre = torch.ones(2 * channels, channels, 1, 3)
            centre[..., 0, 2] = self._sees(both, member)
            add(f"layers.{layer}.vertical", 2 * channels, channels, 2, 5, gain=2)
            add(f"layers.{layer}.across", 2 * channels, 2 * channels, 1, 1)
            add(f"layers.{layer}.horizontal", 2 * channels, channels, 1, 3, mask=centre)
            add(f"layers.{layer}.out", channels, channels, 1, 1, mask=self._sees(member, member)[..., None, None])
        add("widen", hidden, channels, 1, 1, gain=2, mask=self._sees(wide, member)[..., None, None])
        answer = torch.arange(planes).repeat_interleave(256)
        add("answer", planes * 256, hidden, 1, 1, gain=2, mask=self._sees(answer, wide)[..., None, None])
        if features:
            add("condition", planes * 256, features, 1, 1)

    def _plane_of(self, channels: int) -> Tensor:
        quarter = channels // 4
        shares = [channels] if self.planes == 1 else [channels - 2 * quarter, quarter, quarter]
        return torch.arange(self.planes).repeat_interleave(torch.tensor(shares))

    @staticmethod
    def _sees(outputs: Tensor, inputs: Tensor) -> Tensor:
        return (inputs[None] <= outputs[:, None]).float()

    def _conv(self, name: str, planes: Tensor) -> Tensor:
        return F.conv2d(planes, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _gate(self, planes: Tensor) -> Tensor:
        return torch.tanh(planes[:, : self.channels]) * torch.sigmoid(planes[:, self.channels :])

    def forward(self, images: Pixels, features: Tensor | None = None) -> Tensor:
        """(N, H, W, planes) uint8 to (N, H, W, planes, 256)."""
        planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5
        above = here = self._conv("first", F.pad(planes, (3, 3, 3, 0)))
        for layer in range(self.layers):
            vertical = self._conv(f"layers.{layer}.vertical", F.pad(above, (2, 2, 2, 0))[:, :, : above.shape[2] + 1])
            across = self._conv(f"layers.{layer}.across", vertical)
            horizontal = self._conv(f"layers.{layer}.horizontal", F.pad(here, (2, 0))) + across
            above, here = self._gate(vertical), here + self._conv(f"layers.{layer}.out", self._gate(horizontal))
        logits = self._conv("answer", self._conv("widen", here).relu())
        if features is not None:
            logits = logits + self._conv("condition", features.permute(0, 3, 1, 2))
        return logits.permute(0, 2, 3, 1).unflatten(-1, (self.planes, 256))


def gumbel(count: int, values: int) -> Tensor:
    uniform = torch.rand(count, values, 256, generator=torch.Generator().manual_seed(9)).clamp(1e-7, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


def naive(network: Network, noise: Tensor, height: int, width: int, features: Tensor | None) -> tuple[Pixels, Pixels]:
    """The whole network for every sub-pixel: images, and by how much each level was ahead of the second best."""
    images = np.zeros((len(noise), height, width, network.planes), np.uint8)
    ahead = np.zeros(images.shape, np.float32)
    for number, (i, j, plane) in enumerate(np.ndindex(height, width, network.planes)):
        scores = network(images, features)[:, i, j, plane] + noise[:, number]
        best = scores.topk(2).values
        images[:, i, j, plane], ahead[:, i, j, plane] = scores.argmax(-1), best[:, 0] - best[:, 1]
    return images, ahead


def known(levels: Pixels, mask: np.ndarray[Any, Any]) -> KnownPixels:
    return KnownPixels(torch.from_numpy(levels), torch.from_numpy(mask))


SMALL = {"planes": 3, "channels": 16, "layers": 3, "hidden": 48, "features": 5}
NETWORKS = [
    SMALL,
    {"planes": 1, "channels": 16, "layers": 3, "hidden": 32, "features": 0},
    {"planes": 3, "channels": 32, "layers": 2, "hidden": 64, "features": 8},
    {"planes": 3, "channels": 20, "layers": 2, "hidden": 50, "features": 3},
    {"planes": 3, "channels": 64, "layers": 2, "hidden": 96, "features": 32},
]
SIZES = [(1, 1), (5, 7), (8, 8), (3, 40), (19, 2), (16, 21)]


@pytest.fixture(params=kernels.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.isa()
    kernels.isa(request.param)
    yield request.param
    kernels.isa(before)


def some_images(network: Network, count: int, height: int, width: int) -> tuple[Pixels, Tensor | None]:
    random = np.random.default_rng(height * width)
    images = random.integers(0, 256, (count, height, width, network.planes), dtype=np.uint8)
    size = (count, height, width, network.features)
    return images, torch.from_numpy(random.normal(size=size).astype(np.float32)) if network.features else None


@pytest.mark.parametrize("sizes", NETWORKS, ids=lambda sizes: "-".join(map(str, sizes.values())))
def test_logits_and_likelihoods_are_those_of_the_network(isa: str, sizes: dict[str, int]) -> None:
    network = Network(**sizes)
    sampler = PixelCNNSampler(network.weights, threads=1)
    for height, width in SIZES if isa != "baseline" else SIZES[:3]:
        images, features = some_images(network, 3, height, width)
        expected = network(images, features)
        assert np.abs(sampler.logits(images, features) - expected.numpy()).max() < 1e-4
        chosen = expected.double().log_softmax(-1).gather(-1, torch.from_numpy(images).long()[..., None])
        found = sampler.log_likelihood(images, features)
        assert np.allclose(found, chosen.sum((1, 2, 3, 4)).numpy(), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("width", range(1, 10))
def test_columns_that_are_made_in_pairs_see_what_is_inside_the_image(isa: str, width: int) -> None:
    network = Network(**NETWORKS[1])
    sampler = PixelCNNSampler(network.weights, threads=1)
    flat = {name: torch.zeros_like(value) if "vertical" in name else value for name, value in network.weights.items()}
    for height in (1, 2, 3, 8):
        images, _ = some_images(network, 2, height, width)
        found = sampler.logits(images)
        assert np.abs(found - network(images).numpy()).max() < 1e-4, height
        assert np.abs(found - PixelCNNSampler(flat, threads=1).logits(images)).max() > 0.1, "the test sees nothing"


@pytest.mark.parametrize("sizes", NETWORKS[:3], ids=lambda sizes: "-".join(map(str, sizes.values())))
def test_samples_are_those_of_the_whole_network_run_for_every_sub_pixel(sizes: dict[str, int]) -> None:
    network = Network(**sizes)
    height, width = (12, 12) if sizes is SMALL else (6, 9)
    features = some_images(network, 2, height, width)[1]
    noise = gumbel(2, height * width * network.planes)
    expected, ahead = naive(network, noise, height, width, features)
    found = PixelCNNSampler(network.weights).sample(
        2, (height, width), features=features, noise=NoiseSource(values=noise)
    )
    first = next((place for place in np.ndindex(expected.shape[1:]) if (found != expected)[:, *place].any()), None)
    assert first is None or ahead[:, *first].min() < 1e-4, f"differs first at {first}"
    assert len(np.unique(found)) > 20


def test_the_same_seed_gives_the_same_image_everywhere() -> None:
    network = Network(**NETWORKS[2])
    features = some_images(network, 5, 8, 8)[1]
    assert features is not None
    expected = PixelCNNSampler(network.weights, threads=1).sample(5, (8, 8), features=features, seed=2**63 + 5)
    before = kernels.isa()
    try:
        for isa in kernels.isas():
            kernels.isa(isa)
            for threads in (1, 2, 3):
                sampler = PixelCNNSampler(network.weights, threads=threads)
                found = sampler.sample(5, (8, 8), features=features, seed=2**63 + 5)
                assert np.array_equal(found, expected), (isa, threads)
                order = [3, 0, 4]
                found = sampler.sample(
                    3, (8, 8), features=features[order], seed=2**63 + 5, noise=NoiseSource(image_ids=order)
                )
                assert np.array_equal(found, expected[order]), (isa, threads)
    finally:
        kernels.isa(before)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_images_of_several_sizes_are_those_drawn_alone(isa: str, threads: int) -> None:
    """Image i of every shape has the noise of image id i, on every instruction set and number of threads."""
    network = Network(**SMALL)
    alone, together = (PixelCNNSampler(network.weights, threads=number) for number in (1, threads))
    shapes = [(5, 7), (1, 1), (19, 2), (3, 20), (5, 7), (8, 8)]
    features = [some_images(network, 2, *shape)[1] for shape in shapes]
    levels = [some_images(network, 2, *shape)[0] for shape in shapes]
    kept = [known(given, np.random.default_rng(1).random(given.shape[:3]) < 0.3) for given in levels]
    for masks in (None, kept):
        drawn = together.sample_each(2, shapes, features=features, seed=7, known=masks)
        for number, (shape, images) in enumerate(zip(shapes, drawn, strict=True)):
            one = masks and masks[number]
            expected = alone.sample(2, shape, features=features[number], seed=7, known=one)
            assert np.array_equal(images, expected), shape
            ids = NoiseSource(image_ids=[1])
            second = None if one is None else known(one.levels.numpy()[1:], one.mask.numpy()[1:])
            again = alone.sample(1, shape, features=features[number][1:], seed=7, known=second, noise=ids)
            assert np.array_equal(images[1:], again), shape


def test_many_images_of_two_sizes_take_turns_in_the_same_memory() -> None:
    sampler = PixelCNNSampler(Network(**NETWORKS[1]).weights, threads=1)
    shapes = [(4, 9), (9, 4)] * 5
    drawn = sampler.sample_each(1, shapes, seed=2)
    for shape, images in zip(shapes, drawn, strict=True):
        assert np.array_equal(images, sampler.sample(1, shape, seed=2))
    with pytest.raises(InputError, match="known are given for 1 shapes of 10; give them for each"):
        sampler.sample_each(1, shapes, known=[known(np.zeros((1, 4, 9, 1), np.uint8), np.zeros((1, 4, 9), bool))])


@pytest.mark.parametrize("threads", [2, 3, 7])  # 7: more than layers
def test_threads_that_share_an_image_give_the_same_bits(isa: str, threads: int) -> None:
    network = Network(**SMALL)
    alone, shared = (PixelCNNSampler(network.weights, threads=number) for number in (1, threads))
    for height, width in SIZES:
        images, features = some_images(network, 1, height, width)
        mask = np.random.default_rng(width).random((1, height, width)) < 0.3
        expected = alone.sample(1, (height, width), features=features, known=known(images, mask), seed=5)
        for _ in range(3):
            found = shared.sample(1, (height, width), features=features, known=known(images, mask), seed=5)
            assert np.array_equal(found, expected), (height, width)
        assert np.array_equal(shared.logits(images, features), alone.logits(images, features))
        assert shared.log_likelihood(images, features) == alone.log_likelihood(images, features)


def test_noise_depends_on_seed_and_image() -> None:
    sampler = PixelCNNSampler(Network(**NETWORKS[1]).weights)
    drawn = sampler.sample(3, (8, 8))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn, sampler.sample(3, (8, 8), seed=1))
    assert not np.array_equal(drawn, sampler.sample(3, (8, 8), seed=1 << 32))
    assert not np.array_equal(
        drawn, sampler.sample(3, (8, 8), noise=NoiseSource(image_ids=[1 << 32, 1 << 33, 1 << 34]))
    )


def test_levels_come_as_often_as_their_probability_says() -> None:
    network = Network(**NETWORKS[1])
    sampler = PixelCNNSampler(network.weights)
    drawn = sampler.sample(20_000, (1, 1)).ravel()
    odds = network(np.zeros((1, 1, 1, 1), np.uint8))[0, 0, 0, 0].double().softmax(-1).numpy()
    counts = np.bincount(drawn, minlength=256)
    assert ((counts - 20_000 * odds) ** 2 / (20_000 * odds)).sum() < 255 + 5 * math.sqrt(2 * 255)


def test_the_noise_is_that_of_philox() -> None:
    """Known answers of Random123: counter and key all ones, and the first block of zeros."""
    words = kernels.philox(0, 0, 0)
    assert [int(words[word, 0]) for word in range(4)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_temperature() -> None:
    network = Network(**NETWORKS[1])
    sampler = PixelCNNSampler(network.weights)
    noise = gumbel(1, 30)
    greedy = sampler.sample(1, (5, 6), temperature=0, seed=3)
    assert np.array_equal(greedy, sampler.sample(1, (5, 6), temperature=0, seed=4))
    assert np.array_equal(greedy, naive(network, torch.zeros(1, 30, 256), 5, 6, None)[0])
    cold = sampler.sample(1, (5, 6), temperature=0.5, noise=NoiseSource(values=noise))
    halved = {**network.weights, **{name: 2 * network.weights[name] for name in ("answer.weight", "answer.bias")}}
    assert np.array_equal(cold, PixelCNNSampler(halved).sample(1, (5, 6), noise=NoiseSource(values=noise)))


def test_known_values_stay_and_the_others_fit_them() -> None:
    network = Network(**SMALL)
    sampler = PixelCNNSampler(network.weights)
    images, features = some_images(network, 2, 7, 9)
    mask = np.random.default_rng(1).random((2, 7, 9)) < 0.4
    drawn = sampler.sample(2, (7, 9), features=features, known=known(images, mask))
    assert (drawn[mask] == images[mask]).all() and (drawn[~mask] != images[~mask]).any()
    free = sampler.sample(2, (7, 9), features=features)
    single = np.zeros((2, 7, 9, 3), bool)
    single[:, 0, 0, 0] = True
    changed = np.where(single, free + np.uint8(128), 0).astype(np.uint8)
    assert (sampler.sample(2, (7, 9), features=features, known=known(changed, single)) != free).sum() > 2
    assert np.array_equal(sampler.sample(2, (7, 9), features=features, known=known(free, single)), free)
    assert np.array_equal(
        sampler.sample(2, (7, 9), features=features, known=known(images, np.ones((2, 7, 9), bool))), images
    )


def test_features_may_be_shared() -> None:
    network = Network(**SMALL)
    sampler = PixelCNNSampler(network.weights)
    features = some_images(network, 1, 6, 6)[1]
    assert features is not None
    shared = sampler.sample(4, (6, 6), features=features)
    assert np.array_equal(shared, sampler.sample(4, (6, 6), features=features.expand(4, -1, -1, -1)))


def test_bfloat16_is_near_float32() -> None:
    network = Network(**NETWORKS[4])
    try:
        reduced = PixelCNNSampler(network.weights, precision="bfloat16")
    except InputError as error:
        assert "no bfloat16 instructions" in str(error)  # noqa: PT017
        pytest.skip("this processor has no bfloat16 instructions")
    images, features = some_images(network, 2, 9, 9)
    exact = PixelCNNSampler(network.weights)
    difference = np.abs(reduced.logits(images, features) - exact.logits(images, features))
    assert 0 < difference.max() < 0.2
    bits = [sampler.log_likelihood(images, features).sum() / images.size / math.log(2) for sampler in (exact, reduced)]
    assert abs(bits[0] - bits[1]) < 5e-3


@pytest.mark.skipif(not kernels.exercise(1, reduced=True), reason="this processor has no bfloat16 instructions")
def test_bfloat16_images_do_not_depend_on_their_company() -> None:
    network = Network(**NETWORKS[3])  # of odd depths, which pairs fill up
    features = some_images(network, 5, 9, 9)[1]
    assert features is not None
    sampler = PixelCNNSampler(network.weights, precision="bfloat16", threads=1)
    together = sampler.sample(5, (9, 9), features=features)
    for image in range(5):
        alone = sampler.sample(1, (9, 9), features=features[[image]], noise=NoiseSource(image_ids=[image]))
        assert np.array_equal(alone[0], together[image]), image


def test_bfloat16_is_refused_where_there_are_no_instructions() -> None:
    before = kernels.isa()
    kernels.isa("baseline")
    try:
        with pytest.raises(InputError, match="no bfloat16 instructions"):
            PixelCNNSampler(Network(**SMALL).weights, precision="bfloat16")
    finally:
        kernels.isa(before)


def test_progress_ends_at_most_at_the_total_and_an_exception_in_it_comes_out() -> None:
    sampler = PixelCNNSampler(Network(**NETWORKS[4]).weights, threads=2)
    seen: list[tuple[int, int]] = []
    features = np.zeros((1, 64, 64, 32), np.float32)
    sampler.sample(12, (64, 64), features=features, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] <= 12 * 64 * 64 and {total for _, total in seen} == {12 * 64 * 64}

    stopped: list[int] = []

    def stop(done: int, total: int) -> None:
        stopped.append(done)
        raise KeyError(f"enough {len(stopped)}")

    started = time.process_time()
    with pytest.raises(KeyError, match="enough 1"):
        sampler.sample(400, (64, 64), features=features, progress=stop)
    assert time.process_time() - started < 5  # of the processor's time, which other programs do not take
    assert len(stopped) == 1


@pytest.mark.parametrize(("count", "side"), [(2000, 64), (1, 1000)])
def test_ctrl_c_stops_it(count: int, side: int) -> None:
    sampler = PixelCNNSampler(Network(**NETWORKS[4]).weights, threads=2)
    features = np.zeros((1, side, side, 32), np.float32)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sampler.sample(count, (side, side), features=features)
    assert time.process_time() - pressed[0] < 2  # both threads work for 0.2 s at most, whatever else runs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first.weight": None}, "lack first.weight"),
        ({"layers.1.out.bias": None}, r"lack layers\.1\.out\.bias"),
        (
            {"widen.weight": torch.zeros(48, 8, 1, 1)},
            r"widen.weight has shape \(48, 8, 1, 1\); it must be \(48, 16, 1, 1\)",
        ),
        ({"answer.bias": torch.full((768,), math.nan)}, "answer.bias must hold finite floats"),
        ({"first.weight": torch.zeros(16, 2, 4, 7)}, "images of 2 planes; the sampler draws 1 .gray. or 3 .RGB."),
    ],
)
def test_bad_weights_are_refused(change: dict[str, Tensor | None], words: str) -> None:
    weights = {name: value for name, value in (Network(**SMALL).weights | change).items() if value is not None}
    with pytest.raises(InputError, match=words):
        PixelCNNSampler(weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "0 images of 6 x 6 pixels cannot be drawn"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"seed": -1}, "seed is -1; give"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"features": None}, "features are missing: the weights have 5 features a pixel"),
        (
            {"features": np.zeros((2, 6, 6, 4), np.float32)},
            r"features has shape \(2, 6, 6, 4\); it must be \(2, 6, 6, 5\)",
        ),
        ({"features": np.full((2, 6, 6, 5), np.inf, np.float32)}, "features must hold finite floats"),
        (
            {"noise": NoiseSource(values=np.zeros((2, 5, 256), np.float32))},
            r"noise has shape \(2, 5, 256\); it must be \(2, 108, 256\)",
        ),
        ({"noise": NoiseSource([1])}, "image_ids must be 2 whole numbers from 0"),
        ({"noise": NoiseSource([1, -1])}, "image_ids must be 2 whole numbers from 0"),
        (
            {"known": known(np.zeros((2, 5, 6, 3), np.uint8), np.zeros((2, 6, 6), bool))},
            r"the images are \(2, 6, 6, 3\)",
        ),
        ({"known": known(np.zeros((2, 6, 6, 3)), np.zeros((2, 6, 6), bool))}, "known levels are float64"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"count": 2, "shape": (6, 6), "features": np.zeros((2, 6, 6, 5), np.float32)}
    given |= change
    with pytest.raises(InputError, match=words):
        PixelCNNSampler(Network(**SMALL).weights).sample(**given)


def test_given_images_are_checked() -> None:
    sampler = PixelCNNSampler(Network(**NETWORKS[1]).weights)
    for images in (np.zeros((2, 6, 6, 3), np.uint8), np.zeros((2, 6, 6, 1)), np.zeros((6, 6, 1), np.uint8)):
        with pytest.raises(InputError, match="give uint8"):
            sampler.logits(images)
    with pytest.raises(InputError, match="features are given: the weights have no conditioning network"):
        sampler.logits(np.zeros((2, 6, 6, 1), np.uint8), np.zeros((2, 6, 6, 4), np.float32))


@pytest.mark.parametrize(("layer", "factor"), [("answer.weight", 1e38), ("layers", 1e37), ("layers.0.vertical", 1e38)])
def test_overflowing_weights_draw_nothing(layer: str, factor: float) -> None:
    weights = Network(**NETWORKS[1]).weights
    sampler = PixelCNNSampler({name: v * (factor if name.startswith(layer) else 10) for name, v in weights.items()})
    for call in (lambda: sampler.sample(1, (6, 6)), lambda: sampler.log_likelihood(np.zeros((1, 6, 6, 1), np.uint8))):
        with pytest.raises(PysrError, match="network's logits became"):
            call()


def test_a_full_gpu_is_tried_again_without_what_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))

    def draw(times: int) -> None:
        calls.append("drawn")
        if calls.count("drawn") <= times:
            raise MemoryError

    with_memory_of_torch(lambda: draw(1), torch.device("cuda"))
    assert calls == ["drawn", "emptied", "drawn"]
    for device, expected in (("cuda", ["drawn", "emptied", "drawn"]), ("cpu", ["drawn"])):
        calls.clear()
        with pytest.raises(MemoryError):
            with_memory_of_torch(lambda: draw(2), torch.device(device))
        assert calls == expected


@pytest.mark.parametrize("sizes", NETWORKS, ids=lambda sizes: "-".join(map(str, sizes.values())))
def test_flops_count_the_weights_that_masks_leave(sizes: dict[str, int]) -> None:
    network = Network(**sizes)
    left = sum(int((value != 0).sum()) for name, value in network.weights.items() if name.endswith("weight"))
    assert PixelCNNSampler(network.weights).flops((5, 7)) == 2 * 5 * 7 * left
