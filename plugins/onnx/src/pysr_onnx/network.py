"""The network of an ONNX file, as an ``nn.Module`` that ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pysr.errors import PluginError

from .session import Layout, open_session, run


class OnnxNetwork(nn.Module):
    """(N, C, h, w) float32 in [0, 1] to (N, C, h * scale, w * scale), on the CPU. Threads may share it.

    Args:
        path: The file; it has been checked.
        layout: Of its input and output.
        peak: White in its output.
        batched: Whether it takes several images in one call.
    """

    def __init__(self, path: Path, layout: Layout, peak: float, batched: bool) -> None:
        super().__init__()
        self.path, self.layout, self.peak, self.batched = path, layout, peak, batched
        self._session = open_session(path, torch.get_num_threads())

    def forward(self, low: Tensor) -> Tensor:
        image = low.numpy()
        try:
            parts = [image] if self.batched else np.split(image, len(image))
            outputs = [run(self._session, part, self.layout, self.peak) for part in parts]
        except Exception as error:  # ONNX Runtime has an exception for each of its codes, and no common base
            reason = str(error).splitlines()[0]
            if "bad_alloc" in reason or "Failed to allocate memory" in reason:
                raise MemoryError(reason) from error
            raise PluginError(f"ONNX Runtime could not compute {self.path} ({reason})") from error
        return torch.from_numpy(np.concatenate(outputs))
