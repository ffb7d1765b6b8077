"""A+: Timofte, De Smet, Van Gool, "Adjusted Anchored Neighborhood Regression for Fast Super-Resolution", ACCV 2014."""

import operator
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

ANCHORS = 512  # why these: see the reasons in `train.recipe`
FEATURES = 28
MARGIN = 2  # pixels around a patch that its gradients reach
NEAR = 0.1  # anchors count if their similarity is below the best by less than this fraction of it
CHUNK = 8192  # patches in memory at a time, but at least a row of them
BLOCK = 32  # anchors at a time in an exported graph, which bounds its memory


class APlus(nn.Module):
    """Every patch gets the residual that the linear regressors of its nearest anchors predict (section 3).

    Input and output: (N, 1, H, W) float luma in [0, 1], already at output size. A cell is the ``scale`` x ``scale``
    pixels of one low-resolution pixel; a patch is 3 x 3 cells, and there is one around every cell. Half receptive
    field: the patches over a pixel reach two cells beyond its own, the gradients two pixels more, 3 * scale + 1 in all.
    There are no parameters, only buffers, which `train.fit` fills.

    Args:
        scale: Upscaling factor.
        anchors: Number of anchors, K.
        features: Number of features of a patch, d.

    Attributes:
        kernel: (d, 1, 3 * scale + 4, 3 * scale + 4), the linear map from a patch with its margin to its features.
        anchors: (K, d), unit vectors. An anchor also stands for its opposite: both share one regressor.
        regressors: (K, d, 9 * scale**2) float16, from features to the residual of a patch, row by row.
    """

    kernel: Tensor
    anchors: Tensor
    regressors: Tensor

    def __init__(self, scale: int, anchors: int = ANCHORS, features: int = FEATURES) -> None:
        super().__init__()
        self.scale, self.side = scale, 3 * scale
        reach = self.side + 2 * MARGIN
        self.register_buffer("kernel", torch.zeros(features, 1, reach, reach))
        self.register_buffer("anchors", torch.zeros(anchors, features))
        self.register_buffer("regressors", torch.zeros(anchors, features, self.side**2, dtype=torch.float16))

    def features(self, planes: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, d, rows, columns): features of every patch that lies inside with its margin."""
        return functional.conv2d(planes, self.kernel, stride=self.scale)

    def forward(self, enlarged: Tensor) -> Tensor:  # (N, 1, H, W)
        scale, (height, width) = self.scale, enlarged.shape[-2:]
        rows, columns = (height + scale - 1) // scale, (width + scale - 1) // scale  # cells: up, as graphs do
        before = 2 * scale + MARGIN  # patches around the cells beyond the border contribute, too
        after_rows, after_columns = rows * scale - height + before, columns * scale - width + before
        padded = functional.pad(enlarged, (before, after_columns, before, after_rows), mode="replicate")
        if torch.compiler.is_exporting():
            total = self._residual(self.features(padded), self.regressors.float())  # a graph has no loop over chunks
        else:
            total = self._residual_by_chunks(padded, (rows, columns))
        return enlarged + total[:, :, 2 * scale :, 2 * scale :][:, :, :height, :width] / 9

    def _residual_by_chunks(self, padded: Tensor, cells: tuple[int, int]) -> Tensor:
        scale, (rows, columns) = self.scale, cells
        total = padded.new_zeros(len(padded), 1, (rows + 4) * scale, (columns + 4) * scale)
        regressors = self.regressors.float()
        step = max(1, CHUNK // (len(padded) * (columns + 2)))
        for first in range(0, rows + 2, step):
            last = min(first + step, rows + 2)
            part = padded[:, :, first * scale : (last + 2) * scale + 2 * MARGIN]
            total[:, :, first * scale : (last + 2) * scale] += self._residual(self.features(part), regressors)
        return total

    def _residual(self, features: Tensor, regressors: Tensor) -> Tensor:
        """(N, d, rows, columns) -> (N, 1, (rows + 2) * scale, (columns + 2) * scale): the sum of the patches."""
        count, width, rows, columns = features.shape
        patches = self._regress(features.permute(0, 2, 3, 1).reshape(-1, width), regressors)  # (P, side * side)
        size = (rows + 2) * self.scale, (columns + 2) * self.scale
        patches = patches.view(count, rows * columns, -1).transpose(1, 2)
        return functional.fold(patches, size, kernel_size=self.side, stride=self.scale)

    def _regress(self, features: Tensor, regressors: Tensor) -> Tensor:
        """(P, d) -> (P, side * side): features times the regressors of their anchors, one product per anchor."""
        weights = self._weights(features)
        if torch.compiler.is_exporting():
            return _regress_all(features, weights, regressors)
        weights = weights.T.contiguous()  # (K, P)
        anchor, patch = weights.nonzero(as_tuple=True)  # by anchor
        weighted = features[patch] * weights[anchor, patch, None]
        groups = torch.split(weighted, anchor.bincount(minlength=len(regressors)).tolist())
        rows = torch.cat([group @ regressor for group, regressor in zip(groups, regressors, strict=True)])
        return features.new_zeros(len(features), self.side**2).index_add(0, patch, rows)

    @torch.no_grad()
    def _weights(self, features: Tensor) -> Tensor:
        """(P, d) -> (P, K): the weight of each anchor for each patch; they add up to one, and most are zero.

        An anchor's weight falls to zero as its similarity falls below the best. This makes the residual continuous in
        the features: where two anchors are almost equally near, rounding does not decide between them.
        """
        similarity = (features @ self.anchors.T).abs_()
        best = similarity.amax(1, keepdim=True).clamp_min_(1e-12)  # a flat patch resembles none, and gets no residual
        weights = similarity.div_(best).sub_(1 - NEAR).clamp_min_(0)
        return weights.div_(weights.sum(1, keepdim=True).clamp_min_(1e-12))


def _regress_all(features: Tensor, weights: Tensor, regressors: Tensor) -> Tensor:
    """`APlus._regress` with all anchors for all patches: the zeros are multiplied, too, but a graph can hold it."""
    blocks = zip(weights.split(BLOCK, 1), regressors.split(BLOCK), strict=True)
    parts = [(some[:, :, None] * features[:, None]).flatten(1) @ matrices.flatten(0, 1) for some, matrices in blocks]
    total: Tensor = reduce(operator.add, parts)
    return total


def build(scale: int, variant: str | None) -> APlus:
    """Build the network of the model `aplus`."""
    return APlus(scale)
