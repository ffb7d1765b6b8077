"""VDSR: Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016."""

from torch import Tensor, nn

from pysr.plugin import limit_to_enlarged


class VDSR(nn.Module):
    """Twenty 3x3 convolutions that predict the residual of the bicubic enlargement (section 3.1, figure 2).

    Unlike the paper's, the output is limited to what the enlargement shows, except in training: flat areas stay flat.
    Input and output: (N, 1, H, W) float luma in [0, 1], already at output size; one network serves every scale.
    Half receptive field: one pixel per layer, 20 in all. Parameters: 665,921 (biases as in the authors' weights).
    """

    def __init__(self, depth: int = 20, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(width, 1, 3, padding=1))
        self.residual = nn.Sequential(*layers)
        for layer in self.residual:
            if isinstance(layer, nn.Conv2d):  # He initialisation (section 3.2)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, enlarged: Tensor) -> Tensor:  # (N, 1, H, W)
        output: Tensor = enlarged + self.residual(enlarged)
        return output if self.training else limit_to_enlarged(output, enlarged)


def build(scale: int, variant: str | None) -> VDSR:
    """Build the network of the model `vdsr`, the same for every scale."""
    return VDSR()
