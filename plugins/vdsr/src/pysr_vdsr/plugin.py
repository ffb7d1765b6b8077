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
                sha256=dict.fromkeys(SCALES, "f234d70f0c615b666297fb08acc39c244eaff24838cc807c3e6c8a636e7ab749"),
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 37.08, 3: 33.13, 4: 30.81},
            receptive_field=20,
            recipes={
                "shipped": lazy("pysr_vdsr.train:recipe"),
                "finetune": lazy("pysr_vdsr.train:finetune"),
                "paper": lazy("pysr_vdsr.train:paper"),
            },
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
