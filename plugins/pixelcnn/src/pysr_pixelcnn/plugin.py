"""What this distribution provides to pysr. Imports neither torch nor the networks."""

from pysr.plugin import Model, Weights, hookimpl, lazy

PAPER = "Dahl, Norouzi, Shlens: Pixel Recursive Super Resolution, ICCV 2017"
FACES = Weights.shipped(
    "pysr_pixelcnn",
    "pixelcnn-faces.safetensors",
    sha256="b277dae421f29ae2053bd4c8665ef1c16e669ce272372e599731842845bf76a6",
    licence="non-commercial research only, as the images that it was trained on",
    trained_on="UTKFace, part 1 (aligned faces), at 32 x 32 pixels",
)


def _digits(file: str, sha256: str) -> Weights:
    return Weights.shipped(
        "pysr_pixelcnn",
        file,
        sha256=sha256,
        licence="CC BY-SA 3.0, as MNIST is commonly quoted",
        trained_on="MNIST's 60,000 training digits, each placed in one of two corners",
    )


CORNERS = _digits(
    "pixelcnn-mnist-corners.safetensors", "0a5bdaa71d7628b326a824d5c17753ec8ff043a457fd2be02da2bf1feb7ccf91"
)
HEADS = {  # of the study of ambiguity, beside PixelCNN
    "l2": _digits("corners-l2.safetensors", "d00f9e764ec07d49a98990e4f1f2865d73b6ddfb744f1579be7799f4b93a5628"),
    "cross_entropy": _digits(
        "corners-cross-entropy.safetensors", "9013ed6c5af6d51b3cbf3b44b6b3f4dffbd30f785363b2b6890299cfc0eeb094"
    ),
}


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="pixelcnn-faces",
            aliases=("pixelcnn",),
            scales=(4,),
            network=lazy("pysr_pixelcnn.network:build_faces"),
            summary="Draws faces pixel by pixel: each sample is another face that fits the small image",
            domain="face",
            weights={4: FACES},
            stochastic=True,
            recipes={"shipped": lazy("pysr_pixelcnn.train:faces_recipe"), "paper": lazy("pysr_pixelcnn.train:paper")},
            paper=PAPER,
        ),
        Model(
            name="pixelcnn-mnist-corners",
            scales=(2,),
            network=lazy("pysr_pixelcnn.digits:build_corners"),
            summary="Puts a digit into one of two corners, at random: the paper's study of ambiguity",
            colour="luma",
            domain="digit",
            weights={2: CORNERS},
            stochastic=True,
            recipes={"shipped": lazy("pysr_pixelcnn.train:corners_recipe")},
            paper=PAPER,
        ),
    ]
