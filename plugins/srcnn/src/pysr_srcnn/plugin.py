"""What this distribution tells pysr. Imports neither torch nor the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Model, Weights, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from pysr.plugin import Recipe

MIDDLE = {"955": 5, "915": 1}  # side of the second layer's filters, by variant
DIGESTS = {
    (2, "955"): "083e9a35f8d4e59bb1775025e49efed3654c6df21ef55bb3c7ffba394b14efbd",
    (3, "955"): "b4f711e5440f6b652c99d214c2c3cd0fd8b26a39c294fb5c465b05563d1e4c74",
    (4, "955"): "3b87f16d2be71b205a764f76c89c5939d3d84e3452ff9c32936ab3a8b02d7c5c",
    (2, "915"): "d05f7aab4d4015afc756c8cb52dadc828e2bf5d9e2862a2c65f8e5bb5c8e2548",
    (3, "915"): "cbc3264408c048d46dc75b9c1217633782cbc95cc0113018684637293d86fb36",
    (4, "915"): "e78ccf9fd056615b407042072b903757e3720c261ba9d9492b1e3c140eca907e",
}


def weights(scale: int, variant: str) -> Weights:
    return Weights(
        file=Path(__file__).with_name("weights") / f"srcnn-{variant}-x{scale}.safetensors",
        sha256=DIGESTS[scale, variant],
        licence="Apache-2.0; trained on research image sets without a formal licence",
        trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
    )


def network(scale: int, variant: str | None) -> nn.Module:
    from .network import SRCNN

    return SRCNN(MIDDLE[variant or "955"])


def recipe() -> Recipe:
    from .train import recipe

    return recipe()


def paper() -> Recipe:
    from .train import paper

    return paper()


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="srcnn",
            scales=(2, 3, 4),
            network=network,
            summary="Three convolutions on the bicubic enlargement, the first network for super-resolution",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights={key: weights(*key) for key in DIGESTS},
            variants=tuple(MIDDLE),
            receptive_field=8,
            needs_float32=True,
            recipes={"shipped": recipe, "paper": paper},
            paper="Dong, Loy, He, Tang: Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016",
        )
    ]
