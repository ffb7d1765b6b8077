"""How fast the PixelCNN sampler is, against torch, and whether it draws the same: 32 x 32 RGB, the paper's prior.

    python benchmarks/pixelcnn.py [--json FILE] [--quick]

One thread each, processor time, medians of rounds in which the contestants take turns. The prior has 64 channels, 20
layers and a hidden layer of 1024, with random weights. Contestants: "forward", the prior once over a whole image in
torch (channels last); "naive", which runs it for each of the 3,072 sub-pixels (3,072 times the measured forward); and
"cached", a sampler in torch that computes every value once, as far as torch's calls allow (measured over the first
rows). Shares of the peak count the operations that the layers say; in float32 the sampler gets by with a fifth fewer.
Needs pysr-pixelcnn. Where a CUDA GPU and the kernels for it are there, they draw one image and 1,024 too.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from pysr import InputError, _kernels
from pysr.ops.pixelcnn import NoiseSource, PixelCNNSampler, channel_groups
from pysr_pixelcnn.prior import GatedLayer, Prior, gate, masked

SIDE, PLANES = 32, 3
SUB_PIXELS = SIDE * SIDE * PLANES
CLOSE = 1e-4  # scores nearer than this may change places by rounding
ROWS = {1: 4, 16: 2, 64: 1}  # that the cached sampler is measured over, after the first
EXERCISE = 3_000_000  # rounds of multiply-adds in registers: about a fiftieth of a second


@dataclass
class Layer:
    """Of a gated layer, matrices for single pixels: left taps, centre, out."""

    gated: GatedLayer
    centre: Tensor
    out: Tensor
    bias: Tensor


class CachedSampler:
    """In torch: the vertical stack row by row, the left taps of all layers in one call, then plane by plane."""

    def __init__(self, prior: Prior) -> None:
        self.prior, self.size = prior, prior.channels
        weights = masked(prior)
        self.layers = []
        left = []
        for number, gated in enumerate(prior.layers):
            horizontal = weights[f"layers.{number}.horizontal.weight"][:, :, 0]
            left.append(torch.cat([horizontal[..., 0].T, horizontal[..., 1].T]))
            out = weights[f"layers.{number}.out.weight"][:, :, 0, 0].T.contiguous()
            self.layers.append(Layer(gated, horizontal[..., 2].T.contiguous(), out, gated.out.bias))
        self.left = torch.stack(left)  # (layers, 2 C, 2 C)
        first = weights["first.weight"]
        self.first_above, self.first_left = first[:, :, :3], first[:, :, 3, :3].flatten(1).T.contiguous()
        self.first_centre = first[:, :, 3, 3].T.contiguous()
        self.ends = np.cumsum(channel_groups(prior.hidden, PLANES)).tolist()
        widen, answer = weights["widen.weight"][:, :, 0, 0].T, weights["answer.weight"][:, :, 0, 0]
        self.widen = [widen[:, :end].contiguous() for end in self.ends]
        self.answer = [answer[q * 256 : (q + 1) * 256, :end].T.contiguous() for q, end in enumerate(self.ends)]

    def begin(self, noise: Tensor) -> None:
        """Room for images with Gumbel noise (N, SIDE * SIDE * 3, 256), to be drawn row by row."""
        count = len(noise)
        self.noise, self.levels = noise, torch.zeros(count, SIDE, SIDE, PLANES, dtype=torch.long)
        self.pixels = torch.zeros(count, PLANES, SIDE + 3, SIDE + 6)
        self.above = [torch.zeros(count, self.size, SIDE + 2, SIDE + 4) for _ in range(len(self.layers) + 1)]

    def row(self, i: int) -> None:
        """Draw row i, after those before it, into `levels`."""
        count, size, depth, pixels = len(self.noise), self.size, len(self.layers), self.pixels
        first = F.conv2d(pixels[:, :, i : i + 3], self.first_above, self.prior.first.bias)[:, :, 0]
        given = self._row_above(self.above, i)
        here = torch.zeros(depth, count, SIDE + 2, size)
        for j in range(SIDE):
            before = torch.baddbmm(given[:, j], here[:, :, j : j + 2].reshape(depth, count, 2 * size), self.left)
            start = torch.addmm(first[:, :, j], pixels[:, :, i + 3, j : j + 3].reshape(count, -1), self.first_left)
            for plane in range(PLANES):
                stack, logits = self._pixel(start, before, plane)
                drawn = (logits + self.noise[:, (i * SIDE + j) * PLANES + plane]).argmax(-1)
                self.levels[:, i, j, plane] = drawn
                pixels[:, plane, i + 3, j + 3] = drawn / 255 - 0.5
                start = start + pixels[:, plane, i + 3, j + 3, None] * self.first_centre[plane]
            here[:, :, j + 2] = torch.stack(stack)
            self.above[0][:, :, i + 2, j + 2] = start

    def _row_above(self, above: list[Tensor], i: int) -> Tensor:
        """The vertical stack of a row, and of each layer what its horizontal stack gets: (layers, SIDE, N, 2 C)."""
        given = []
        for number, layer in enumerate(self.layers):
            vertical = layer.gated.vertical(above[number][:, :, i : i + 2])
            above[number + 1][:, :, i + 2, 2:-2] = gate(vertical)[:, :, 0]
            across = layer.gated.across(vertical)[:, :, 0] + layer.gated.horizontal.bias[:, None]
            given.append(across.permute(2, 0, 1))
        return torch.stack(given)

    def _pixel(self, here: Tensor, before: Tensor, plane: int) -> tuple[list[Tensor], Tensor]:
        """A pixel through all layers: the horizontal stack before each, and one plane's logits."""
        stack = []
        for layer, known in zip(self.layers, before, strict=True):
            stack.append(here)
            signal, opening = torch.addmm(known, here, layer.centre).chunk(2, 1)
            gated = torch.tanh(signal).mul_(torch.sigmoid(opening))
            here = torch.addmm(layer.bias, gated, layer.out).add_(here)
        hidden = torch.addmm(self.prior.widen.bias[: self.ends[plane]], here, self.widen[plane]).relu_()
        bias = self.prior.answer.bias[plane * 256 : (plane + 1) * 256]
        return stack, torch.addmm(bias, hidden, self.answer[plane])


def gumbel(count: int, values: int, seed: int) -> Tensor:
    uniform = torch.rand(count, values, 256, generator=torch.Generator().manual_seed(seed)).clamp(1e-7, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def speeds(prior: Prior, batch: int, rounds: int) -> dict[str, float]:
    """Seconds of processor time a contestant takes for a batch, and fp32 operations a second at the peak.

    All are medians of rounds, as are the ratios "forward / NAME" and "peak fraction", each of two times of one round,
    for which the clock is about the same: it falls and rises with the load and warmth of the machine.
    """
    weights = masked(prior)
    samplers = {"float32": PixelCNNSampler(weights, threads=1)}
    with suppress(InputError):  # where the processor has no instructions for it
        samplers["bfloat16"] = PixelCNNSampler(weights, threads=1, precision="bfloat16")
    images = (torch.rand(batch, PLANES, SIDE, SIDE) - 0.5).contiguous(memory_format=torch.channels_last)
    prior = prior.to(memory_format=torch.channels_last)
    cached = CachedSampler(prior)
    cached.begin(gumbel(batch, SUB_PIXELS, 1))
    cached.row(0)
    work: dict[str, Callable[[], object]] = {
        "forward": lambda: prior(images),
        "cached": lambda: [cached.row(row) for row in range(1, 1 + ROWS[batch])],
        **{name: partial(sampler.sample, batch, (SIDE, SIDE)) for name, sampler in samplers.items()},
        "exercise": lambda: _kernels.exercise(EXERCISE, False),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            spent = seconds(run)
            if turn or rounds == 1:  # the first round warms up
                times[name].append(spent)
    found = {name: median(values) for name, values in times.items()}
    found["cached"] *= SIDE / ROWS[batch]
    at_peak, operations = _kernels.exercise(1, False) * EXERCISE, samplers["float32"].flops((SIDE, SIDE)) * batch
    found["peak"] = at_peak / found.pop("exercise")
    pairs = zip(times["exercise"], times["float32"], strict=True)
    found["peak fraction"] = median(operations / at_peak * peak / spent for peak, spent in pairs)
    for name in samplers:
        pairs = zip(times["forward"], times[name], strict=True)
        found[f"forward / {name}"] = median(forward / spent for forward, spent in pairs)
    return found


def flips_of_a_full_loop(prior: Prior, side: int) -> tuple[int, int, int]:
    """The whole prior for every sub-pixel of a small image, against the sampler: flips, raw flips, sub-pixels."""
    noise = gumbel(1, side * side * PLANES, 2)
    found = PixelCNNSampler(masked(prior)).sample(1, (side, side), noise=NoiseSource(values=noise))
    image = torch.zeros(1, PLANES, side, side)
    flips = raw = 0
    for number, (i, j, plane) in enumerate(np.ndindex(side, side, PLANES)):
        scores = prior(image)[0, plane * 256 : (plane + 1) * 256, i, j] + noise[0, number]
        differs, far = _compared(scores[None], torch.tensor([int(found[0, i, j, plane])]))
        raw, flips = raw + differs, flips + far
        image[0, plane, i, j] = int(found[0, i, j, plane]) / 255 - 0.5
    return flips, raw, side * side * PLANES


def is_cached_right(prior: Prior, rows: int) -> bool:
    """Whether the cached sampler in torch, with the same noise, begins its images as ours does."""
    noise, cached = gumbel(2, SUB_PIXELS, 3), CachedSampler(prior)
    cached.begin(noise)
    for row in range(rows):
        cached.row(row)
    found = PixelCNNSampler(masked(prior)).sample(2, (SIDE, SIDE), noise=NoiseSource(values=noise))
    return bool((cached.levels[:, :rows] == torch.from_numpy(found)[:, :rows]).float().mean() > 0.99)


def flips_teacher_forced(prior: Prior, count: int) -> tuple[int, int, int]:
    """Images of the sampler through the prior in torch, with the same noise: flips, raw flips, sub-pixels."""
    sampler = PixelCNNSampler(masked(prior))
    flips = raw = 0
    for number in range(count):
        noise = gumbel(1, SUB_PIXELS, 100 + number)
        image = torch.from_numpy(sampler.sample(1, (SIDE, SIDE), noise=NoiseSource(values=noise)))
        logits = prior(image.permute(0, 3, 1, 2).float() / 255 - 0.5).permute(0, 2, 3, 1).reshape(SUB_PIXELS, 256)
        differs, far = _compared(logits + noise[0], image.flatten().long())
        raw, flips = raw + differs, flips + far
    return flips, raw, count * SUB_PIXELS


def _compared(scores: Tensor, drawn: Tensor) -> tuple[int, int]:
    """How many drawn levels are not the best, (N, 256) scores; and of these, where the two best are not close."""
    best = scores.topk(2).values
    differs = scores.argmax(-1) != drawn
    return int(differs.sum()), int((differs & (best[:, 0] - best[:, 1] > CLOSE)).sum())


def on_cuda(prior: Prior, rounds: int) -> dict[str, float]:
    """Wall time of drawing on a CUDA GPU, medians, and how far its logits are from the processor's; empty without."""
    if not (torch.cuda.is_available() and _kernels.cuda):
        return {}
    weights = masked(prior)
    cpu, cuda = PixelCNNSampler(weights), PixelCNNSampler(weights, device="cuda")
    times: dict[int, list[float]] = {1: [], 1024: []}
    for batch, spent in times.items():
        for _ in range(rounds + 1):
            started = time.perf_counter()
            cuda.sample(batch, (SIDE, SIDE))
            spent.append(time.perf_counter() - started)
    one, many = (median(spent[1:]) for spent in times.values())  # the first round warms up
    image = cpu.sample(1, (SIDE, SIDE))
    apart = np.abs(cuda.logits(image).cpu().numpy() - cpu.logits(image)).max()
    return {"cuda_ms_b1": one * 1e3, "cuda_images_per_second_b1024": 1024 / many, "cuda_logits_apart": float(apart)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the PixelCNN sampler against torch.")
    parser.add_argument("--json", type=Path, help="file for the ratios")
    parser.add_argument("--quick", action="store_true", help="one round, and fewer sub-pixels for exactness")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    prior = Prior().eval()
    prior.answer.weight.mul_(20)  # logits as far apart as those of a trained prior
    rounds = {1: 1, 16: 1, 64: 1} if options.quick else {1: 40, 16: 7, 64: 2}
    table = {batch: speeds(prior, batch, rounds[batch]) for batch in ROWS}
    print(f"{'batch':>5}{'forward':>10}{'naive':>10}{'cached':>10}{'float32':>10}{'bfloat16':>10}   seconds an image")
    for batch, found in table.items():
        row = [found["forward"], found["forward"] * SUB_PIXELS, found["cached"], found["float32"]]
        cells = "".join(f"{value / batch:10.4f}" for value in [*row, found.get("bfloat16", float("nan"))])
        print(f"{batch:5}{cells}")
    facts: dict[str, object] = {
        "naive_ratio_fp32": table[1]["forward / float32"] * SUB_PIXELS,
        "naive_ratio_bf16": table[1]["forward / bfloat16"] * SUB_PIXELS if "bfloat16" in table[1] else None,
        "forward_ratio_fp32": {str(batch): found["forward / float32"] for batch, found in table.items()},
        "cached_ratio_fp32": {str(batch): found["cached"] / found["float32"] for batch, found in table.items()},
        "peak_gflops_fp32": table[16]["peak"] / 1e9,
        "peak_fraction_fp32_b16": table[16]["peak fraction"],
    }
    if not is_cached_right(prior, 3):
        raise SystemExit("the cached sampler in torch draws other images: the comparison would mean nothing")
    loop = flips_of_a_full_loop(prior, 6 if options.quick else 12)
    forced = flips_teacher_forced(prior, 10 if options.quick else 33)
    facts |= {"flips": loop[0] + forced[0], "flips_raw": loop[1] + forced[1], "flips_of": loop[2] + forced[2]}
    facts |= on_cuda(prior, 1 if options.quick else 7)
    print(json.dumps(facts, indent=2))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
