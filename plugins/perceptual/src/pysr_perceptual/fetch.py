"""``python -m pysr_perceptual.fetch vgg19``: download the weights of feature networks that are not shipped."""

import argparse
import sys
from pathlib import Path

import torch

from pysr.errors import PysrError, WeightsError

from .features import NETWORKS, Download


def fetch(download: Download) -> Path:
    """Download a file and check its digest, unless it is there already.

    Args:
        download: What to download.

    Returns:
        The path of the file.

    Raises:
        WeightsError: It could not be downloaded, or has another digest.
    """
    path = download.file
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(download.url, str(path), hash_prefix=download.digest)
    except (OSError, RuntimeError) as error:  # no network; a wrong digest
        raise WeightsError(
            f"{download.url} could not be downloaded ({error}); try again, or get it elsewhere and put it into"
            f" {path.parent}"
        ) from None
    return path


def main() -> None:
    downloads = {name: spec.weights for name, spec in NETWORKS.items() if isinstance(spec.weights, Download)}
    parser = argparse.ArgumentParser(prog="python -m pysr_perceptual.fetch", description=__doc__)
    parser.add_argument("networks", metavar="NETWORK", nargs="+", choices=downloads, help=", ".join(downloads))
    try:
        for name in parser.parse_args().networks:
            print(fetch(downloads[name]))
    except PysrError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
