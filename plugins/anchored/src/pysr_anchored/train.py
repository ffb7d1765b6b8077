"""How the shipped weights of A+ were made: principal components, anchors and regressors from patches of images."""

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pysr.errors import InputError
from pysr.plugin import Fit, Progress, resize
from pysr.training import TrainingImage

from .network import MARGIN, APlus

logger = logging.getLogger(__name__)

SAMPLES = 4_000_000  # for the regressors
NEIGHBOURS = 2048  # samples that each regressor is fitted to, as in the paper
RIDGE = 0.1  # lambda of the regression, as in the paper
FLAT = 0.1  # patches whose feature vector is no longer than this are left out
SAMPLES_FOR_COMPONENTS = 150_000  # ample for the second moments of a few hundred values
SAMPLES_FOR_ANCHORS = 300_000  # some 600 for each anchor
ROUNDS = 15  # of k-means
ANCHORS_AT_ONCE = 8  # anchors whose neighbours are searched at once, for memory
BORDER = 2  # cells at an image's border that are left out: bicubic enlargement mirrors there

GRADIENTS = torch.zeros(4, 1, 5, 5)  # horizontal and vertical, of first and second order
GRADIENTS[0::2, 0, MARGIN] = torch.tensor([[0, -1, 0, 1, 0], [0.5, 0, -1, 0, 0.5]])
GRADIENTS[1::2] = GRADIENTS[0::2].mT

Cut = Callable[[Tensor, Tensor], tuple[Tensor, ...]]  # two planes (1, H, W) -> (n, ...) of every patch, row by row


def fit(network: nn.Module, images: Sequence[TrainingImage], scale: int, seed: int, progress: Progress) -> None:
    """Fill an `APlus`; called as `Fit.fit` describes.

    Args:
        network: The `APlus` to fill.
        images: Luma images: ``high`` is (1, H, W) uint8, ``low`` has the version for that scale.
        scale: Upscaling factor.
        seed: Seed of the choice of samples and of the first anchors.
        progress: Called with the number of rounds of k-means and regressors that are done.

    Raises:
        InputError: An image is not luma, or there are too few patches that are not flat.
    """
    assert isinstance(network, APlus)
    if channels := [len(image.high) for image in images if len(image.high) != 1]:
        raise InputError(f"A+ is fitted to luma, but an image has {channels[0]} channels; give images with one")
    generator = torch.Generator().manual_seed(seed)
    anchors = len(network.anchors)
    total = ROUNDS + anchors
    progress(0, total)
    logger.info("fitting principal components")
    network.kernel.copy_(_kernel(network, images, generator))
    logger.info("collecting samples")
    features, residuals = _samples(network, images, generator)
    if len(features) < max(NEIGHBOURS, anchors):
        raise InputError(
            f"the training images give {len(features)} patches that are not flat, too few for {anchors} anchors with "
            f"{NEIGHBOURS} neighbours each; use more or larger images"
        )
    logger.info("fitting %d anchors to %d samples", anchors, len(features))
    for done, found in enumerate(_anchors(features, anchors, generator), start=1):
        network.anchors.copy_(found)
        progress(done, total)
    logger.info("fitting regressors")
    for k, regressor in enumerate(_regressors(network.anchors, features, residuals)):
        network.regressors[k] = regressor
        progress(ROUNDS + k + 1, total)


def _kernel(network: APlus, images: Sequence[TrainingImage], generator: torch.Generator) -> Tensor:
    """(d, 1, reach, reach): gradients and then the principal components of their patches, as one convolution.

    The components are those of the second moments, without a mean: flat patches have no features.
    """

    def gradients(enlarged: Tensor, residual: Tensor) -> tuple[Tensor]:
        return (_patches(network, functional.conv2d(enlarged[None], GRADIENTS)[0]),)

    width, size = len(network.kernel), 4 * network.side**2
    moments = torch.zeros(size, size)
    for (patches,) in _drawn(network, images, SAMPLES_FOR_COMPONENTS, gradients, generator):
        moments.addmm_(patches.T, patches)
    components = torch.linalg.eigh(moments.double()).eigenvectors[:, -width:].float()  # (size, d)
    maps = components.T.flip(0).reshape(width, 4, network.side, network.side)
    return functional.conv_transpose2d(maps, GRADIENTS)


def _samples(network: APlus, images: Sequence[TrainingImage], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features, (n, d) unit vectors, and residuals, (n, side * side) float16, divided by the same lengths."""

    def both(enlarged: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        inner = residual[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return network.features(enlarged[None])[0].flatten(1).T, _patches(network, inner)

    found: list[tuple[Tensor, Tensor]] = [(torch.zeros(0, len(network.kernel)), torch.zeros(0, network.side**2))]
    for features, residuals in _drawn(network, images, SAMPLES, both, generator):
        length = features.norm(dim=1, keepdim=True)
        kept = length[:, 0] > FLAT
        found.append(((features / length)[kept], (residuals / length)[kept].half()))
    return torch.cat([features for features, _ in found]), torch.cat([residuals for _, residuals in found])


def _patches(network: APlus, planes: Tensor) -> Tensor:
    """(C, H, W) -> (n, C * side * side): patches a cell apart, row by row."""
    return functional.unfold(planes[None], network.side, stride=network.scale)[0].T


def _drawn(
    network: APlus, images: Sequence[TrainingImage], wanted: int, cut: Cut, generator: torch.Generator
) -> Iterator[tuple[Tensor, ...]]:
    """Apply ``cut`` to each image's enlargement and residual, and yield about ``wanted`` patches in all.

    Consecutive images get different symmetries of the square, so that the reduced copies of one show all directions.
    """
    scale, margin = network.scale, BORDER * network.scale - MARGIN
    lows = [image.low[scale] for image in images]
    counts = [max(0, low.shape[1] - 2 * BORDER - 2) * max(0, low.shape[2] - 2 * BORDER - 2) for low in lows]
    for turn, (image, low, count) in enumerate(zip(images, lows, counts, strict=True)):
        if count:
            enlarged = resize(low, scale)
            planes = torch.stack([enlarged, image.high / 255 - enlarged])[..., margin:-margin, margin:-margin]
            planes = planes.rot90(turn, (-2, -1))
            values = cut(*(planes.mT if turn % 8 >= 4 else planes))
            chosen = torch.rand(count, generator=generator) < wanted / sum(counts)
            yield tuple(value[chosen] for value in values)


def _anchors(features: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """(count, d) unit vectors after each round of k-means by absolute correlation, on a subset of the samples."""
    part = features[torch.randperm(len(features), generator=generator)[:SAMPLES_FOR_ANCHORS]]
    anchors = part[:count]
    for _ in range(ROUNDS):
        total = torch.zeros_like(anchors)
        for block in torch.split(part, 2**14):
            similarity = block @ anchors.T  # (P, count)
            best = similarity.abs().argmax(1)
            total.index_add_(0, best, block * similarity.gather(1, best[:, None]).sign())
        length = total.norm(dim=1, keepdim=True)
        anchors = torch.where(length > 0, total / length, anchors)  # an anchor without samples stays
        yield anchors


def _regressors(anchors: Tensor, features: Tensor, residuals: Tensor) -> Iterator[Tensor]:
    """(d, side * side) of each anchor: ridge regression on the samples nearest to it (section 3.2)."""
    ridge = RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    for group in torch.split(anchors, ANCHORS_AT_ONCE):
        for near in (group @ features.T).abs_().topk(NEIGHBOURS, sorted=False).indices:
            inputs, targets = features[near].double(), residuals[near].double()
            yield torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)


def recipe() -> Fit:
    """How the shipped weights were made. Unlike the paper (section 4): k-means, not K-SVD, and `reasons`."""
    return Fit(
        fit=fit,
        scales=(2, 3, 4),
        rescale_augment=tuple(0.98**k for k in range(12)),
        reasons={  # gains in dB are at x3 on every tenth image of BSDS500's test set
            "rescale_augment": "the paper's pyramid: twelve sizes, each 0.98 of the one before",
            "fit: SAMPLES": "a million from four sizes gave 0.04 dB less",
            "fit: FLAT": "scaled like its features, the noise of a flat patch is large: 0.01 dB",
            "fit: turns": "consecutive images in different symmetries: T91 is small, above all at x4",
            "network: ANCHORS": "512, as each also stands for its opposite; 1024 gave 0.02 dB for twice the size",
            "network: FEATURES": "28 instead of about 30, so that the weights of all scales take less than 8 MB",
            "network: NEAR": "all near anchors contribute: continuous, and 0.02 dB more than the nearest alone",
        },
    )
