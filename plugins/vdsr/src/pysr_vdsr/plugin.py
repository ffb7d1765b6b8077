"""What this distribution provides to pysr. Imports neither torch nor the network."""

from pysr.plugin import Model, Weights, hookimpl, lazy


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="vdsr",
            scales=(2, 3, 4),
            network=lazy("pysr_vdsr.network:build"),
            summary="Twenty 3x3 layers that add detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights=Weights.shipped(
                "pysr_vdsr",
                "vdsr-x{scale}.safetensors",
                sha256={
                    2: "0a3a5b3210ee8386a42bbd23576d952b54264007f4c1e6d8627f56490b9426d4",
                    3: "f4795a16dbb76b0f842e2afeb663ff38456c21ce8a1af727409de4c04187e837",
                    4: "02843606a5c9f86b40f6e15062de31778f149bf3bb1c6135482d6337eb5908ff",
                },
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 37.05, 3: 33.13, 4: 30.86},
            receptive_field=20,
            recipes={
                "shipped": lazy("pysr_vdsr.train:recipe"),
                "finetune": lazy("pysr_vdsr.train:finetune"),
                "paper": lazy("pysr_vdsr.train:paper"),
            },
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
