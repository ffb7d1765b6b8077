"""What this distribution provides to pysr. Imports neither torch nor the network."""

from pysr.plugin import Model, Weights, hookimpl, lazy

SCALES = (2, 3, 4)  # one network serves all


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="vdsr",
            scales=SCALES,
            network=lazy("pysr_vdsr.network:build"),
            summary="Twenty 3x3 layers that add detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights=Weights.shipped(
                "pysr_vdsr",
                "vdsr.safetensors",
                sha256=dict.fromkeys(SCALES, "16c81608972199189c779e5adcc7365b6e7603e1d62a9c58a5ca7a71792573ff"),
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 37.26, 3: 33.28, 4: 30.95},
            receptive_field=20,
            recipes={
                "shipped": lazy("pysr_vdsr.train:recipe"),
                "finetune": lazy("pysr_vdsr.train:finetune"),
                "paper": lazy("pysr_vdsr.train:paper"),
            },
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
