"""What this distribution provides to pysr. Imports neither torch nor the networks."""

from pysr.plugin import Model, hookimpl, lazy

HALF_FIELD = 40  # input pixels, as of SRResNet; the neighbourhoods that limit the output are smaller


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="photo",
            scales=(4, 2),
            network=lazy("pysr_photo.network:build"),
            summary="SRResNet for photographs as people have them: compressed, noisy and soft",
            receptive_field=HALF_FIELD,
            recipes={"shipped": lazy("pysr_photo.train:recipe")},
        ),
        Model(
            name="photo-sharp",
            scales=(4,),
            network=lazy("pysr_photo.network:build"),
            summary="The same, trained against discriminators to look real",
            receptive_field=HALF_FIELD,
            recipes={"shipped": lazy("pysr_photo.train:sharp_recipe")},
        ),
    ]
