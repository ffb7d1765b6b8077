"""What a training changes in the whole process: random numbers, threads, and how CUDA computes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS gives the same bits again only with a workspace of fixed size


@contextmanager
def preserve_global_state() -> Iterator[None]:
    """Within the ``with`` block all of it may change; afterwards it is as it was before."""
    random_state, numpy_state, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    cudnn, workspace = torch.backends.cudnn, os.environ.get(CUBLAS)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn_state = cudnn.deterministic, cudnn.benchmark
    gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(gpus):
        try:
            yield
        finally:
            random.setstate(random_state)
            np.random.set_state(numpy_state)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            cudnn.deterministic, cudnn.benchmark = cudnn_state
            os.environ.pop(CUBLAS, None)
            os.environ.update({CUBLAS: workspace} if workspace is not None else {})


def enable_determinism() -> None:
    """Ask CUDA for algorithms that give the same bits again; torch warns of an operation that has none."""
    os.environ.setdefault(CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
