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
                    2: "a92948cafcef4e88facbda1c75171061900647a3b42be447bf677cf9f5388cb1",
                    3: "02ee9ad55fbcf61b9a89466bfab9477c8a88d2cc04f1ac4d7cc94fcb86147e53",
                    4: "723410a465bd759f28fac08f64a8bd355d0b3373a44070e4e5b10b1f29b1b838",
                },
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 37.05, 3: 33.13, 4: 30.86},
            receptive_field=20,
            recipes={"shipped": lazy("pysr_vdsr.train:recipe"), "paper": lazy("pysr_vdsr.train:paper")},
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
