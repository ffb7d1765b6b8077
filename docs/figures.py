"""The comparisons that pages show, most made by examples/demo.py: python docs/figures.py [srcnn vdsr ...]

Each is written as NAME.jpg into this folder; without names, all are.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import pysr
from pysr.evaluation.comparison import Panel, draw

HERE = Path(__file__).parent
PHOTO = HERE.parent / "examples" / "chelsea.png"
EYE = (132, 85, 213, 139)  # left, top, right, bottom in PHOTO
STYLES = {"starry-night": "The Starry Night", "wave": "The Great Wave"}
FIGURES = {  # the scale, and the models beside the original; none: all for photographs
    "aplus": (3, ("bicubic", "aplus", "srcnn")),
    "comparison": (4, ()),
    "features": (4, ("bicubic", "srresnet", "perceptual")),
    "srcnn": (3, ("nearest", "bicubic", "srcnn")),
    "vdsr": (3, ("bicubic", "srcnn", "vdsr")),
}


def make(name: str) -> None:
    scale, models = FIGURES[name]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE.parent / "examples" / "demo.py"), "--scale", str(scale), "--out", folder]
        subprocess.run([*command, *(["--models", *models] if models else [])], check=True)
        made = {"comparison": name} | ({"jpeg": "jpeg"} if name == "comparison" else {})
        for sheet, file in made.items():
            with Image.open(Path(folder, f"{sheet}.png")) as image:
                image.convert("RGB").save(HERE / f"{file}.jpg", quality=90)


def make_styles() -> None:
    with Image.open(PHOTO) as file:
        photo = file.convert("RGB")
    drawn = {title: pysr.load("perceptual-style", variant=name).upscale(photo) for name, title in STYLES.items()}
    panels = [Panel("the photograph", photo), *(Panel(title, image) for title, image in drawn.items())]
    draw(panels, EYE).save(HERE / "styles.jpg", quality=85)


if __name__ == "__main__":
    for figure in sys.argv[1:] or [*FIGURES, "styles"]:
        if figure == "styles":
            make_styles()
        else:
            make(figure)
