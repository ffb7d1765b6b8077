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
                sha256=dict.fromkeys(SCALES, "72f40ee51dab5fb87dd59b16b22b0dd2f65719178a62ca18828a2aef7c0b995a"),
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 37.21, 3: 33.24, 4: 30.93},
            receptive_field=20,
            recipes={
                "shipped": lazy("pysr_vdsr.train:recipe"),
                "finetune": lazy("pysr_vdsr.train:finetune"),
                "paper": lazy("pysr_vdsr.train:paper"),
            },
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
