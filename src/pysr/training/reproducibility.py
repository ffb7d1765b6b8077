"""Process-wide state that training changes: random number generators, thread count and CUDA determinism."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS is reproducible only with a workspace of fixed size
TWO_BUFFERS_OF_4_MIB = ":4096:8"  # one of the two settings that NVIDIA documents as reproducible; the faster one


@contextmanager
def preserve_global_state() -> Iterator[None]:
    """Save and restore RNG, thread-count and cuDNN settings around the ``with`` block."""
    random_state, numpy_state, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    cudnn, workspace = torch.backends.cudnn, os.environ.get(CUBLAS_WORKSPACE)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn_state = cudnn.deterministic, cudnn.benchmark
    gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    with torch.random.fork_rng(gpus):
        try:
            yield
        finally:
            random.setstate(random_state)
            np.random.set_state(numpy_state)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            cudnn.deterministic, cudnn.benchmark = cudnn_state
            os.environ.pop(CUBLAS_WORKSPACE, None)
            os.environ.update({CUBLAS_WORKSPACE: workspace} if workspace is not None else {})


def enable_determinism() -> None:
    """Make CUDA use deterministic algorithms; torch warns of operations that have none."""
    os.environ.setdefault(CUBLAS_WORKSPACE, TWO_BUFFERS_OF_4_MIB)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
