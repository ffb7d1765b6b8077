"""Upscaling against what else there is: eager torch, ONNX Runtime, OpenVINO, Pillow; and where a file's time goes.

    python benchmarks/speed.py [--threads N] [--runs N] [--side N] [--megapixels N] [--json FILE] [--plot FILE]

Contestants that are not installed are left out, and named. Each runs in its own process and in turn with the others (A
B C A B C ...); the figures are medians of the ratios of neighbouring runs, in processor time with one thread and in
wall time with more. Networks take one gray or colour image whose result has --side pixels a side; "eager" is the plain
network in float32 with torch's defaults, "untuned" is pysr in a program that sets nothing either; the others have the
command line's allocator.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NETWORKS = {"vdsr": 2, "srresnet": 4}  # and the scale of each
NETWORK_CONTESTANTS = {
    "eager torch": "torch",
    "pysr, torch": "torch",
    "pysr, torch, untuned": "torch",
    "pysr, openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "openvino, float32": "openvino",
    "openvino, bfloat16": "openvino",
}
PARTS = ("start", "decode", "upscale", "encode")  # of a file's way
Call = Callable[[], object]


def network_call(model: str, name: str, side: int) -> Call:
    """Prepare one upscaling, or one run of the bare network."""
    import torch

    import pysr

    scale = NETWORKS[model]
    upscaler = pysr.load(model, scale, device="cpu", backend="openvino" if name == "pysr, openvino" else "torch")
    channels = upscaler.model.channels
    image = torch.rand(channels, side // scale, side // scale, generator=torch.Generator().manual_seed(0))
    if name.startswith("pysr"):
        return lambda: upscaler.upscale(image)
    from pysr.imaging.resize import resize

    network = pysr.load(model, scale, device="cpu", precision="float32", backend="torch")._stages[0].stage.runner
    bare = network._network[0].to(memory_format=torch.contiguous_format)
    inputs = (resize(image, scale) if model == "vdsr" else image)[None].contiguous()
    if name == "eager torch":
        return torch.inference_mode()(lambda: bare(inputs))
    return foreign_call(bare, inputs, name)


def foreign_call(network: Any, inputs: Any, name: str) -> Call:
    """Prepare one run of a network in another runtime."""
    import torch

    threads, values = torch.get_num_threads(), inputs.numpy()
    if name == "onnxruntime":
        import onnxruntime

        with TemporaryDirectory() as folder:
            file = Path(folder, "network.onnx")
            torch.onnx.export(network, (inputs,), file, dynamo=False, input_names=["x"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(file, options)
        return lambda: session.run(None, {"x": values})
    import openvino

    traced = torch.jit.trace(network, inputs, check_trace=False)
    precision = {"openvino, float32": "f32", "openvino, bfloat16": "bf16"}[name]
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(openvino.convert_model(traced, input=[inputs.shape]), "CPU", options)
    return lambda: compiled([values])


def resampling_call(kernel: str, name: str, megapixels: float) -> Call:
    """Prepare one enlargement by 2 of 8-bit RGB."""
    import numpy as np
    from PIL import Image

    import pysr

    height = round((megapixels * 2e6 / 3) ** 0.5)
    width = height * 3 // 2
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    if name == "Pillow":
        return lambda: image.resize((2 * width, 2 * height), Image.Resampling[kernel.upper()])
    upscaler, pixels = pysr.load(kernel, 2), np.asarray(image)
    return lambda: upscaler.upscale(pixels)


def own_process() -> None:
    """Set what the command line sets, before torch is imported."""
    from pysr.cli.allocator import tune_allocator
    from pysr.cli.waiting import wait_passively

    tune_allocator()
    wait_passively()


def serve(options: argparse.Namespace) -> None:
    """Time one call for each line on standard input."""
    kind, what, name = options.serve
    if name not in ("eager torch", "pysr, torch, untuned"):
        own_process()
    import torch

    torch.set_num_threads(options.threads)
    is_network = kind == "network"
    call = network_call(what, name, options.side) if is_network else resampling_call(what, name, options.megapixels)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    call()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        call()
        print(clock() - start, flush=True)


def race(kind: str, what: str, names: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Time contestants in turn; return the ratio of the first one's time to that of each."""
    common = [sys.executable, __file__, "--threads", str(options.threads), "--side", str(options.side)]
    common += ["--megapixels", str(options.megapixels)]
    threads = {"OMP_NUM_THREADS": str(options.threads)}
    untouched = {"THP_MEM_ALLOC_ENABLE": "0"}  # torch's default, which importing pysr would change
    workers = [
        subprocess.Popen(
            [*common, "--serve", kind, what, name],
            stdin=-1,
            stdout=-1,
            text=True,
            bufsize=1,
            env=os.environ | threads | (untouched if name == "eager torch" else {}),
        )
        for name in names
    ]
    for name, worker in zip(names, workers, strict=True):
        assert worker.stdout and worker.stdout.readline() == "ready\n", f"{name} failed to start"
    rounds: list[list[float]] = []
    for _ in range(options.runs):
        rounds.append([])
        for worker in workers:
            assert worker.stdin and worker.stdout
            print(file=worker.stdin, flush=True)
            rounds[-1].append(float(worker.stdout.readline()))
    for worker in workers:
        worker.communicate()
    ratios = {}
    for number, name in enumerate(names):
        seconds = statistics.median(taken[number] for taken in rounds)
        ratios[name] = statistics.median(taken[0] / taken[number] for taken in rounds)
        print(f"  {name:24s} {seconds:8.3f} s   {ratios[name]:6.2f} x {names[0]}")
    return ratios


def whole_way(model: str, source: str, target: str) -> None:
    """Print the seconds of the parts of a file's way, in this process from its start."""
    times = [time.perf_counter()]
    own_process()
    import pysr
    from pysr.files import read_raster, write_raster

    upscaler = pysr.load(model, 2, device="cpu", backend="torch")
    times.append(time.perf_counter())
    image = read_raster(source)
    times.append(time.perf_counter())
    result = upscaler._upscale(image, None, None)
    times.append(time.perf_counter())
    write_raster(result, Path(target))
    times.append(time.perf_counter())
    print(*(after - before for before, after in pairwise(times)))


def draw(figures: dict[str, Any], side: int, file: Path) -> None:
    """Plot speeds beside the first contestant's, and the parts of a file's way, as PNG, PDF or SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.32 * sum(map(len, figures.values()))), layout="constrained")
    heights = [len(ratios) for name, ratios in figures.items() if name != "file"]
    *axes, way = figure.subplots(len(heights) + 1, height_ratios=[*heights, 2])
    races = [(name, ratios) for name, ratios in figures.items() if name != "file"]
    for axis, (name, ratios) in zip(axes, races, strict=True):
        axis.barh(list(ratios), list(ratios.values()), color=["C0" if "pysr" in one else "0.7" for one in ratios])
        axis.bar_label(axis.containers[0], fmt="%.2f", padding=3)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        what = f"{side} x {side} out" if name in NETWORKS else "x2"
        axis.set_title(f"{name}, {what}: speed, {next(iter(ratios))} = 1", fontsize="medium", loc="left")
    left = dict.fromkeys(("bicubic", "vdsr"), 0.0)
    for number, part in enumerate(PARTS):
        widths = [figures["file"][f"{model} {part}"] for model in left]
        way.barh(list(left), widths, left=list(left.values()), label=part, color=f"C{number}")
        left = {model: start + width for (model, start), width in zip(left.items(), widths, strict=True)}
    way.invert_yaxis()
    way.legend(ncols=len(PARTS), fontsize="small", frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    way.set_title("a PNG file of 768 x 512 pixels, x2: seconds", fontsize="medium", loc="left")
    figure.savefig(file, dpi=80)


def profile() -> dict[str, float]:
    """Time the parts of the way of a PNG file of 768 x 512 pixels, x2: seconds."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0).normal(0, 6, (512, 768, 3))  # noise on ramps compresses about as photos do
    pixels = np.add.outer(np.linspace(20, 120, 512), np.linspace(0, 100, 768))[..., None] + random
    parts: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "in.png"), Path(folder, "out.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(source)
        for model in ("bicubic", "vdsr"):
            command = [sys.executable, __file__, "--whole", model, str(source), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = dict(zip(PARTS, map(float, done.stdout.split()), strict=True))
            print(f"  {model:10s}" + "".join(f"{name} {value:6.3f} s   " for name, value in seconds.items()))
            parts |= {f"{model} {name}": value for name, value in seconds.items()}
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant (default 1)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant (default 5)")
    parser.add_argument("--side", type=int, default=512, help="sides of the networks' results (default 512)")
    parser.add_argument("--megapixels", type=float, default=24, help="of the image to resample (default 24)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--plot", type=Path, help="also plot them: a PNG, PDF or SVG (needs matplotlib)")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--whole", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options)
    if options.whole:
        return whole_way(*options.whole)
    figures: dict[str, Any] = {}
    for kernel in ("bicubic", "lanczos"):
        print(f"{kernel} x2 of {options.megapixels:g} MP")
        figures[kernel] = race("resampling", kernel, ["Pillow", "pysr"], options)
    for name, package in NETWORK_CONTESTANTS.items():
        if not find_spec(package):
            print(f"without {name}: {package} is not installed")
    installed = [name for name, package in NETWORK_CONTESTANTS.items() if find_spec(package)]
    for model in NETWORKS:
        print(f"{model}, {options.side} x {options.side} out")
        figures[model] = race("network", model, installed, options)
    print("a PNG file of 768 x 512 pixels, x2")
    figures["file"] = profile()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        draw(figures, options.side, options.plot)
    return None


if __name__ == "__main__":
    main()
