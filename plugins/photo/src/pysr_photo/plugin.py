"""What this distribution provides to pysr. Imports neither torch nor the networks."""

from pysr.plugin import Model, Weights, hookimpl, lazy

TRAINED_ON = "T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test, degraded at random"
HALF_FIELD = 40  # input pixels, as of SRResNet; the neighbourhoods that limit the output are smaller


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="photo",
            scales=(4, 2),
            network=lazy("pysr_photo.network:build"),
            weights=Weights.shipped(
                "pysr_photo",
                "photo-x{scale}.safetensors",
                sha256={
                    2: "7c900b204696a14dc12ddec93d8eacb4a42c0cf2b43486510b2e17468d0c48b7",
                    4: "002f57b15fb2ac3c3fff3ce3bca0147f0761c55fb7cf28a5f8469be5b9d454f5",
                },
                trained_on=TRAINED_ON,
            ),
            summary="SRResNet for photographs as people have them: compressed, noisy and soft",
            made_for="compressed",
            scores={4: 30.68, 2: 34.35},
            strength_from={2: "srresnet", 4: "srresnet"},  # their weights are too far apart to be mixed
            receptive_field=HALF_FIELD,
            recipes={"shipped": lazy("pysr_photo.train:recipe")},
        ),
        Model(
            name="photo-sharp",
            scales=(4,),
            network=lazy("pysr_photo.network:build"),
            weights=Weights.shipped(
                "pysr_photo",
                "photo-sharp-x{scale}.safetensors",
                sha256={4: "07da41e1d43b92b2f74ac853176afeda4ac0a9dc274e0100f4f19fe301d91e8f"},
                trained_on=TRAINED_ON,
            ),
            summary="SRResNet for photographs as people have them, trained against discriminators to look real",
            made_for="compressed",
            scores={4: 29.67},
            receptive_field=HALF_FIELD,
            recipes={"shipped": lazy("pysr_photo.train:sharp_recipe")},
        ),
    ]
