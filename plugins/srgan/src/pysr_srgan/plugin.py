"""What this distribution provides to pysr. Imports neither torch nor the networks."""

from pysr.plugin import Loss, Model, Weights, hookimpl, lazy

PAPER = "Ledig et al.: Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017"
TRAINED_ON = "T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test"
HALF_FIELD = 40  # input pixels: 4 of the first layer, 2 per block, 1 of the merge, 3 of the layers that enlarge


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="srresnet",
            scales=(4, 2),
            network=lazy("pysr_srgan.network:build"),
            weights=Weights.shipped(
                "pysr_srgan",
                "srresnet-x{scale}.safetensors",
                sha256={
                    2: "3af4a88150c99465bfa204b00ec89189194f630f7eb228d669bb7a196b6eed7e",
                    4: "21837e6ed3e59a9ef8181e119c24a8e0127b3063fd665d572b2507f02a12205c",
                },
                trained_on=TRAINED_ON,
            ),
            scores={2: 37.38, 4: 31.57},
            summary="Sixteen residual blocks at low resolution, then pixel shuffle; trained for the lowest mean error",
            receptive_field=HALF_FIELD,
            recipes={
                "shipped": lazy("pysr_srgan.train:resnet_recipe"),
                "finetune": lazy("pysr_srgan.train:resnet_finetune"),
                "finetune-x2": lazy("pysr_srgan.train:resnet_finetune_x2"),
                "paper": lazy("pysr_srgan.train:resnet_paper"),
            },
            paper=PAPER,
        ),
        Model(
            name="srgan",
            scales=(4,),
            network=lazy("pysr_srgan.network:build"),
            weights=Weights.shipped(
                "pysr_srgan",
                "srgan-x{scale}.safetensors",
                sha256={4: "692660b4043e0127269ee15675e12e5888ae19f5b432997ca94ef3b8405e901e"},
                trained_on=TRAINED_ON,
            ),
            scores={4: 30.72},
            summary="SRResNet, trained against a discriminator to look real",
            receptive_field=HALF_FIELD,
            recipes={"shipped": lazy("pysr_srgan.train:gan_recipe"), "paper": lazy("pysr_srgan.train:gan_paper")},
            paper=PAPER,
        ),
    ]


@hookimpl
def pysr_losses() -> list[Loss]:
    summary = "Discriminator on pixels, trained along with the network; adversarial:96,1e-4"
    return [Loss("adversarial", lazy("pysr_srgan.losses:adversarial"), summary)]
