"""What this distribution provides to pysr. Imports neither torch nor the networks."""

from pysr.plugin import Loss, Metric, Model, Weights, hookimpl, lazy

PAPER = "Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016"
TRAINED_ON = "T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test"


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="perceptual",
            scales=(4, 8),
            network=lazy("pysr_perceptual.network:build_super_resolution"),
            weights=Weights.shipped(
                "pysr_perceptual",
                "perceptual-{variant}-x{scale}.safetensors",
                sha256={
                    (4, "features"): "6245cef5a21b0e6fe1a25745298961d6ab05b5d489f8d996f9054dd493c12536",
                    (4, "pixels"): "005feba312977c5eead2433f32c99b9f4eb9fe63efa85d22340a32eab4e58f6e",
                    (8, "features"): "913ac5f00c655cbfad16c983a521699e903b3979cbefdc64ab64ec4d5192ff8a",
                    (8, "pixels"): "a4207d35c11d26ba7b80a08f9b22a2e010633f659716d88df84482e95c275b24",
                },
                trained_on=TRAINED_ON,
            ),
            scores={4: 29.48},  # none at x8, where it is for comparison, so that `auto` does not take it
            variants=("features", "pixels"),  # the loss that it was trained with
            summary="Trained with a feature loss: sharper than its variant for pixels, at a lower PSNR",
            receptive_field=14,
            needs_float32=True,
            recipes={
                "shipped": lazy("pysr_perceptual.train:recipe"),
                "pixel": lazy("pysr_perceptual.train:pixel"),
                "shipped-x8": lazy("pysr_perceptual.train:recipe_x8"),
                "pixel-x8": lazy("pysr_perceptual.train:pixel_x8"),
                "paper": lazy("pysr_perceptual.train:paper"),
            },
            paper=PAPER,
        ),
        Model(
            name="perceptual-style",
            scales=(1,),
            network=lazy("pysr_perceptual.network:build_style_transfer"),
            weights=Weights.shipped(
                "pysr_perceptual",
                "style-{variant}.safetensors",
                sha256={
                    (1, "starry-night"): "ab0d7ef6be2b4a811836092b1f4d62932bd54cc8ab775e18e66d5bc4e65fdce2",
                    (1, "wave"): "39cd7ae4ff861e62d941be8b25ec1bc31beb6a61634c880f291bbb30b1fdbde1",
                },
                trained_on=f"{TRAINED_ON}; the style on one painting",
            ),
            variants=("starry-night", "wave"),  # van Gogh 1889, Hokusai 1831
            summary="Redraws the image in the style of a painting, at the same size",
            domain="style",
            receptive_field=57,
            multiple_of=4,
            minimum_size=8,
            needs_float32=True,
            recipes={"shipped": lazy("pysr_perceptual.train:style")},
            paper=PAPER,
        ),
    ]


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss(
            "perceptual",
            lazy("pysr_perceptual.losses:perceptual"),
            "Distance of features; perceptual:relu3_3, perceptual:squeezenet/fire3",
        ),
        Loss(
            "style",
            lazy("pysr_perceptual.losses:style"),
            "Distance of Gram matrices of features; style:image.jpg, style:relu1_2,relu2_2",
        ),
        Loss("tv", lambda: lazy("pysr_perceptual.losses:total_variation"), "Total variation of the output"),
        Loss(
            "projected",
            lazy("pysr_perceptual.projected:projected"),
            "Discriminators on features, trained along with the network",
        ),
        Loss(
            "checkerboard",
            lazy("pysr_perceptual.checkerboard:checkerboard"),
            "Grid patterns that the target does not have; checkerboard:4 for scale 4",
        ),
    ]


@hookimpl
def pysr_metrics() -> list[Metric]:
    return [
        Metric(
            "perceptual",
            lambda: lazy("pysr_perceptual.distance:perceptual_distance"),
            "Distance of SqueezeNet's features, in the form of LPIPS but not calibrated as it is",
            "perceptual distance",
            colour="rgb",
            lower_is_better=True,
            smallest=31,  # what SqueezeNet's deepest layer needs
        )
    ]
