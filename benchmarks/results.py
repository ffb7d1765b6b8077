"""Every installed model on every test set: writes the page docs/results.md.

    python benchmarks/results.py --data BENCH [--out docs/results.md] [--sets Set5 Set14] [--models vdsr srcnn]

BENCH is a folder of folders, each a test set of true images. Models that are random or not made for photographs are
left out. Below the measured rows stand those of the papers, where they have that set.
"""

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

import pysr
from pysr.atomic import atomic_write, check_place
from pysr.cli.terminal import Bar
from pysr.evaluation.protocols import Evaluation
from pysr.evaluation.report import by_data, markdown_row, markdown_table, scales_of
from pysr.files import image_files
from pysr.registry import registry

SCALES = (2, 3, 4)
COMPLETE = {  # how many images the published sets have
    "Set5": 5,
    "Set14": 14,
    "BSD100": 100,
    "Urban100": 100,
}
PAPERS = {  # PSNR / SSIM by set and scale: Dong et al. 2016, tables 2 to 4; Kim et al. 2016, table 3
    "A+ in its paper": {
        "Set5": ("36.54 / 0.9544", "32.59 / 0.9088", "30.28 / 0.8603"),
        "Set14": ("32.28 / 0.9056", "29.13 / 0.8188", "27.32 / 0.7491"),
    },
    "SRCNN in its paper": {
        "Set5": ("36.66 / 0.9542", "32.75 / 0.9090", "30.49 / 0.8628"),
        "Set14": ("32.45 / 0.9067", "29.30 / 0.8215", "27.50 / 0.7513"),
    },
    "VDSR in its paper": {
        "Set5": ("37.53 / 0.9587", "33.66 / 0.9213", "31.35 / 0.8838"),
        "Set14": ("33.03 / 0.9124", "29.77 / 0.8314", "28.01 / 0.7674"),
        "BSD100": ("31.90 / 0.8960", "28.82 / 0.7976", "27.29 / 0.7251"),
        "Urban100": ("30.76 / 0.9140", "27.14 / 0.8279", "25.18 / 0.7524"),
    },
}
PAGE = """# Results

PSNR in dB / SSIM by the protocol `y-shave`, as in the papers' tables: luma of BT.601, images cropped to a multiple of
the scale and shrunk by MATLAB's bicubic, outputs rounded to 8 bits, `scale` pixels shaved off every side, means over
the images. The best measured value of a column is bold. Written by `{command}` with pysr {pysr}
and torch {torch}; `pysr models` tells what the weights were trained on.

A gray file (`bridge` of Set14) is compared as it is, from 0 to 255, as in the papers' code; a neutral image stored as
RGB (`man` of Set14) in luma, from 16 to 235, where the same errors score 20 log10(255 / 219) = 1.32 dB more.

{tables}"""


def model_names() -> list[str]:
    """Return the installed models for photographs that are not random, plain resampling first."""
    models = [m for m in pysr.models() if m.domain == "photo" and not m.stochastic]
    return [model.name for model in models if set(model.trained_scales) & set(SCALES)]


def set_names(data: Path) -> list[str]:
    """Return the published sets of which a folder has a sub-folder."""
    found = [name for name in COMPLETE if (data / name).is_dir()]
    if not found:
        raise pysr.InputError(f"{str(data)!r} holds none of {', '.join(COMPLETE)}; give --data the folder above them")
    return found


def measure(names: list[str], folders: list[Path]) -> list[Evaluation]:
    """Measure the models at those of `SCALES` that they offer."""
    offered = {scale for name in names for scale in registry().model(name).scales}
    with Bar("evaluating", unit="images") as bar:
        return pysr.evaluate(names, folders, [scale for scale in SCALES if scale in offered], progress=bar.update)


def section(data: str, evaluations: list[Evaluation], images: int) -> str:
    """Format the heading and the table of one set."""
    whole = COMPLETE.get(data, images)
    count = f"{images} images" if images == whole else f"{images} of its {whole} images, so not comparable with papers"
    table = markdown_table(data, evaluations)
    if images == whole and tuple(scales_of(evaluations)) == SCALES:
        table += "".join(markdown_row([name, *sets[data]]) for name, sets in PAPERS.items() if data in sets)
    return f"## {data}\n\n{count}\n\n{table}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure all models on all test sets.")
    parser.add_argument("--data", type=Path, required=True, help="folder of test sets")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--sets", nargs="+", help="only these folders")
    parser.add_argument("--models", nargs="+", help="only these models")
    options = parser.parse_args()

    try:
        check_place(options.out)
        folders = [options.data / name for name in options.sets or set_names(options.data)]
        evaluations = measure(options.models or model_names(), folders)
    except pysr.PysrError as error:
        sys.exit(f"results.py: error: {error}")
    blocks = by_data(evaluations)
    tables = [section(folder.name, blocks[folder.name], len(image_files(folder))) for folder in folders]
    sets = f" --sets {' '.join(options.sets)}" if options.sets else ""
    page = PAGE.format(
        command=f"python benchmarks/results.py --data BENCH{sets}",
        pysr=pysr.__version__,
        torch=version("torch"),
        tables="\n".join(tables),
    )
    with atomic_write(options.out) as file:
        file.write(page.rstrip().encode() + b"\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
