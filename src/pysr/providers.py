"""Which package of this repository provides which name: for messages where it is not installed."""

PROVIDERS: dict[str, dict[str, str]] = {
    "model": {
        "srcnn": "pysr-srcnn",
        "vdsr": "pysr-vdsr",
        "aplus": "pysr-anchored",
        "perceptual": "pysr-perceptual",
        "perceptual-style": "pysr-perceptual",
        "srresnet": "pysr-srgan",
        "srgan": "pysr-srgan",
        "photo": "pysr-photo",
        "photo-sharp": "pysr-photo",
        "pixelcnn": "pysr-pixelcnn",
        "pixelcnn-faces": "pysr-pixelcnn",
        "pixelcnn-mnist-corners": "pysr-pixelcnn",
    },
    "loss": dict.fromkeys(("perceptual", "style", "tv", "checkerboard", "projected"), "pysr-perceptual")
    | {"adversarial": "pysr-srgan"},
    "metric": {"perceptual": "pysr-perceptual"},
    "engine": {"ray": "pysr-ray"},
}
