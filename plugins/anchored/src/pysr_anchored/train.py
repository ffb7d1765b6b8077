"""How the shipped weights of A+ were made: principal components, anchors and regressors from patches of pictures."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pysr.errors import InputError
from pysr.imaging.resize import resize
from pysr.plugin import Fit, Progress
from pysr.training import TrainingImage

from .network import MARGIN, APlus

SAMPLES = 4_000_000
NEIGHBOURS = 2048
RIDGE = 0.1
FLAT = 0.1  # features of a patch that are no longer than this are left out
SAMPLES_FOR_COMPONENTS = 150_000
SAMPLES_FOR_ANCHORS = 300_000
ROUNDS = 15
TOGETHER = 8  # anchors whose neighbours are sought at once
BORDER = 2  # cells at a picture's border that are left out: bicubic enlargement mirrors there

GRADIENTS = torch.zeros(4, 1, 5, 5)  # horizontal and vertical, of first and second order
GRADIENTS[0::2, 0, MARGIN] = torch.tensor([[0, -1, 0, 1, 0], [0.5, 0, -1, 0, 0.5]])
GRADIENTS[1::2] = GRADIENTS[0::2].mT

AxisPlan = Callable[[Tensor, Tensor], tuple[Tensor, ...]]  # two planes (1, H, W) -> (n, ...) of every patch, row by row


def fit(network: nn.Module, pictures: Sequence[TrainingImage], scale: int, seed: int, progress: Progress) -> None:
    """Fill an `APlus` from luma pictures: (1, H, W) uint8, with the low-resolution version of that scale.

    Raises InputError when a picture is not luma, or when too few patches are there that are not flat.
    """
    assert isinstance(network, APlus)
    if colours := [len(picture.high) for picture in pictures if len(picture.high) != 1]:
        raise InputError(f"A+ is fitted to luma; a picture of {colours[0]} planes was given, not of one")
    generator = torch.Generator().manual_seed(seed)
    anchors = len(network.anchors)
    total = ROUNDS + anchors
    progress(0, total)
    network.kernel.copy_(_kernel(network, pictures, generator))
    progress(0, total)
    features, residuals = _samples(network, pictures, generator)
    if len(features) < max(NEIGHBOURS, anchors):
        raise InputError(
            f"the training pictures give {len(features)} patches that are not flat, too few for {anchors} anchors with "
            f"{NEIGHBOURS} neighbours each; use more or larger pictures"
        )
    for done, found in enumerate(_anchors(features, anchors, generator), start=1):
        network.anchors.copy_(found)
        progress(done, total)
    for k, regressor in enumerate(_regressors(network.anchors, features, residuals)):
        network.regressors[k] = regressor
        progress(ROUNDS + k + 1, total)


def _kernel(network: APlus, pictures: Sequence[TrainingImage], generator: torch.Generator) -> Tensor:
    """(d, 1, reach, reach): gradients, then the principal components of patches of them, as one convolution.

    The components are those of the second moments, without a mean: flat patches have no features.
    """

    def gradients(enlarged: Tensor, residual: Tensor) -> tuple[Tensor]:
        return (_patches(network, functional.conv2d(enlarged[None], GRADIENTS)[0]),)

    width, size = len(network.kernel), 4 * network.side**2
    moments = torch.zeros(size, size)
    for (patches,) in _drawn(network, pictures, SAMPLES_FOR_COMPONENTS, gradients, generator):
        moments.addmm_(patches.T, patches)
    components = torch.linalg.eigh(moments.double()).eigenvectors[:, -width:].float()  # (size, d)
    maps = components.T.flip(0).reshape(width, 4, network.side, network.side)
    return functional.conv_transpose2d(maps, GRADIENTS)


def _samples(network: APlus, pictures: Sequence[TrainingImage], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features, (n, d) unit vectors, and residuals, (n, side * side) float16, divided by the same lengths."""

    def both(enlarged: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        inner = residual[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return network.features(enlarged[None])[0].flatten(1).T, _patches(network, inner)

    found: list[tuple[Tensor, Tensor]] = [(torch.zeros(0, len(network.kernel)), torch.zeros(0, network.side**2))]
    for features, residuals in _drawn(network, pictures, SAMPLES, both, generator):
        length = features.norm(dim=1, keepdim=True)
        kept = length[:, 0] > FLAT
        found.append(((features / length)[kept], (residuals / length)[kept].half()))
    return torch.cat([features for features, _ in found]), torch.cat([residuals for _, residuals in found])


def _patches(network: APlus, planes: Tensor) -> Tensor:
    """(C, H, W) -> (n, C * side * side): patches a cell apart, row by row."""
    return functional.unfold(planes[None], network.side, stride=network.scale)[0].T


def _drawn(
    network: APlus, pictures: Sequence[TrainingImage], wanted: int, cut: AxisPlan, generator: torch.Generator
) -> Iterator[tuple[Tensor, ...]]:
    """What ``cut`` makes of each picture's enlargement and residual, of about ``wanted`` patches in all.

    Each picture is turned another way: the reduced copies of one then show all its directions.
    """
    scale, margin = network.scale, BORDER * network.scale - MARGIN
    lows = [picture.low[scale] for picture in pictures]
    counts = [max(0, low.shape[1] - 2 * BORDER - 2) * max(0, low.shape[2] - 2 * BORDER - 2) for low in lows]
    for turn, (picture, low, count) in enumerate(zip(pictures, lows, counts, strict=True)):
        if count:
            enlarged = resize(low, scale)
            planes = torch.stack([enlarged, picture.high / 255 - enlarged])[..., margin:-margin, margin:-margin]
            planes = planes.rot90(turn, (-2, -1))
            values = cut(*(planes.mT if turn % 8 >= 4 else planes))
            chosen = torch.rand(count, generator=generator) < wanted / sum(counts)
            yield tuple(value[chosen] for value in values)


def _anchors(features: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """(count, d) unit vectors after each round of k-means by absolute correlation, on a part of the samples."""
    part = features[torch.randperm(len(features), generator=generator)[:SAMPLES_FOR_ANCHORS]]
    anchors = part[:count]
    for _ in range(ROUNDS):
        total = torch.zeros_like(anchors)
        for block in torch.split(part, 2**14):
            likeness = block @ anchors.T  # (P, count)
            best = likeness.abs().argmax(1)
            total.index_add_(0, best, block * likeness.gather(1, best[:, None]).sign())
        length = total.norm(dim=1, keepdim=True)
        anchors = torch.where(length > 0, total / length, anchors)  # one that nobody is near stays
        yield anchors


def _regressors(anchors: Tensor, features: Tensor, residuals: Tensor) -> Iterator[Tensor]:
    """(d, side * side) of each anchor: ridge regression on the samples nearest to it (section 3.2)."""
    ridge = RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    for group in torch.split(anchors, TOGETHER):
        for near in (group @ features.T).abs_().topk(NEIGHBOURS, sorted=False).indices:
            inputs, targets = features[near].double(), residuals[near].double()
            yield torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)


def recipe() -> Fit:
    """What differs from the paper (section 4): k-means instead of K-SVD, and the values with a reason."""
    return Fit(
        fit=fit,
        scales=(2, 3, 4),
        rescale_augment=tuple(0.98**k for k in range(12)),
        reasons={  # the gains in dB are those at x3 on every tenth picture of BSDS500's test set
            "rescale_augment": "the paper's pyramid: twelve sizes, each 0.98 of the one before",
            "fit: SAMPLES": "a million from four sizes gave 0.04 dB less",
            "fit: FLAT": "scaled like its features, the noise of a flat patch is large: 0.01 dB",
            "fit: turns": "each picture in another of the eight: T91 is small, at x4 above all",
            "network: ANCHORS": "512, as they stand for their opposites too; 1024 gave 0.02 dB for twice the size",
            "network: FEATURES": "28 instead of about 30, so that the weights of all scales take less than 8 MB",
            "network: NEAR": "all near anchors share: continuous, and 0.02 dB more than the nearest alone",
        },
    )
