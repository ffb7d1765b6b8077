"""What this distribution provides to pysr. Imports neither torch nor the network."""

from pysr.plugin import Model, Weights, hookimpl, lazy


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="srcnn",
            scales=(2, 3, 4),
            network=lazy("pysr_srcnn.network:build"),
            summary="Three convolutions on the bicubic enlargement, the first network for super-resolution",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights=Weights.shipped(
                "pysr_srcnn",
                "srcnn-{variant}-x{scale}.safetensors",
                sha256={
                    (2, "955"): "083e9a35f8d4e59bb1775025e49efed3654c6df21ef55bb3c7ffba394b14efbd",
                    (3, "955"): "858f1d79bbe64ffa752468c879a9b7309c8d378afcd0438652ddb6300f188c09",
                    (4, "955"): "da933ab3f7c691897d652b163e065e099baf42ab9ae2da9567f0268985b6d1d1",
                    (2, "915"): "d05f7aab4d4015afc756c8cb52dadc828e2bf5d9e2862a2c65f8e5bb5c8e2548",
                    (3, "915"): "cbc3264408c048d46dc75b9c1217633782cbc95cc0113018684637293d86fb36",
                    (4, "915"): "4ab4221d99f56b298bb6a7573add539a8692eb910eba2d86c709a1ed94d168f9",
                },
                trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
            ),
            scores={2: 36.71, 3: 32.74, 4: 30.43},
            variants=("955", "915"),  # sides of the filters of its three layers
            receptive_field=8,
            needs_float32=True,
            recipes={
                "shipped": lazy("pysr_srcnn.train:recipe"),
                "finetune": lazy("pysr_srcnn.train:finetune"),
                "paper": lazy("pysr_srcnn.train:paper"),
            },
            paper="Dong, Loy, He, Tang: Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016",
        )
    ]
