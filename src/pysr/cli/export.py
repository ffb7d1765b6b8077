"""``pysr export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import PATH, CliState, scale_option, verbosity_options, weights_option
from .terminal import eprint


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", "--out", metavar="FILE", type=PATH, help="File to write. Default: MODEL_x2.onnx.")
@scale_option("Enlargement per side: 3, x3 or 3x. Default: the model's (see `pysr info`), or the first in --weights.")
@click.option("--variant", metavar="NAME", help="Variant of the model. Default: its first.")
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@click.option("--strength", metavar="X", type=float, help="How much a model for compressed images does, 0 to 1 (all).")
@verbosity_options
@click.pass_obj
def export(
    state: CliState,
    /,
    model: str,
    output: Path | None,
    scale: int | None,
    variant: str | None,
    weights: Path | None,
    strength: float | None,
) -> None:
    """Write a model's network as an ONNX file, for images of any size.

    The file holds the network alone. Its metadata say what pysr does around it, such as enlarging the image first;
    pysr does the same when it loads the file (with the package pysr-onnx). The file is checked before it appears: what
    ONNX Runtime computes must equal what torch computes.
    """
    state.start()
    from ..upscaling.export import OPSET
    from ..upscaling.export import export as write
    from ..upscaling.loading import load

    own: dict[str, Any] = {"variant": variant, "weights": weights, "strength": strength}
    upscaler = load(model, scale, device="cpu", precision="float32", **own)
    target = output or Path(f"{upscaler.model.name}_x{upscaler.scale}.onnx")
    difference = write(upscaler, target)
    if not state.quiet:
        size = target.stat().st_size / 1e6
        eprint(f"{target}: {size:.3g} MB, opset {OPSET}; differs from torch by {difference:.1e} at most")
