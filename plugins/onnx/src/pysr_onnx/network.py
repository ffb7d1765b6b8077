"""The network of an ONNX file, as an ``nn.Module`` that ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysr.errors import InputError, PluginError

from .session import TYPES, Layout, open_session, run


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

    def to_openvino(self) -> Any:
        """Return the network as an ``openvino.Model``: (N, C, h, w) float32 in [0, 1] of any size, as `forward` has it.

        Raises:
            InputError: ONNX Runtime computes it elsewhere than on the CPU; or it has one size, is computed image by
                image, takes 8-bit integers, or has another white than 1.
        """
        (entry,) = self._session.get_inputs()
        reasons = {
            "ONNX Runtime computes it on another device": self._session.get_providers() != ["CPUExecutionProvider"],
            "it takes only one image at a time": not self.batched,
            "it takes 8-bit integers": TYPES[entry.type] == "uint8",
            f"its white is {self.peak:g}, not 1": self.peak != 1,
            "it takes only one size": sum(isinstance(side, int) for side in entry.shape) > 1,
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            raise InputError(reason)
        import openvino
        from openvino.preprocess import PrePostProcessor

        steps = PrePostProcessor(openvino.Core().read_model(self.path))
        for end in (steps.input(), steps.output()):
            end.tensor().set_element_type(openvino.Type.f32).set_layout(openvino.Layout("NCHW"))
            end.model().set_layout(openvino.Layout(self.layout.upper()))
        return steps.build()
