"""What this distribution provides to pysr. Imports neither torch nor the network."""

from pysr.plugin import Model, Weights, hookimpl, lazy


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="aplus",
            scales=(2, 3, 4),
            network=lazy("pysr_anchored.network:build"),
            summary="A linear regressor for each of 512 kinds of patches adds detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights=Weights.shipped(
                "pysr_anchored",
                "aplus-x{scale}.safetensors",
                sha256={
                    2: "c5b146f3774d1d17b01af1c893e745319ffc446f78352c1be031466fb892b2d6",
                    3: "830d744bff6feb4dabef46d300c711118d05d3629db7cd80c023c3a65bcb57f2",
                    4: "82cddec76c8d956c6adde0cbfff5689dae4283716094c5ce187a705af2247614",
                },
                trained_on="T91",
            ),
            scores={2: 36.63, 3: 32.68, 4: 30.42},
            receptive_field=13,
            recipes={"shipped": lazy("pysr_anchored.train:recipe")},
            paper="Timofte, De Smet, Van Gool: A+: Adjusted Anchored Neighborhood Regression for Fast Super-Resolution,"
            " ACCV 2014",
        )
    ]
