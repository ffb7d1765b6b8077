"""ONNX Runtime's session for a file, and arrays as the network wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Layout = Literal["nchw", "nhwc"]

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_SLOW_TO_START = {"TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}  # build an engine for each size
_REMOTE = {"AzureExecutionProvider"}  # sends data away


def open_session(path: Path, threads: int, *, cpu: bool = False) -> onnxruntime.InferenceSession:
    """Open a file that has been checked.

    Args:
        path: The ONNX file.
        threads: How many threads compute one call.
        cpu: Whether to use the CPU though there is a GPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as torch's threads, these wait asleep
    available = onnxruntime.get_available_providers()
    providers = [name for name in available if name not in _SLOW_TO_START | _REMOTE]
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"] if cpu else providers)


def run(
    session: onnxruntime.InferenceSession, image: NDArray[np.float32], layout: Layout, peak: float
) -> NDArray[np.float32]:
    """Compute one image, in the layout and type of the network.

    Args:
        session: Of one input and one output.
        image: (n, C, h, w) float32 in [0, 1].
        layout: Of the network's input and output.
        peak: White in the network's output.

    Returns:
        (n, C, h', w') float32 in [0, 1], not clipped.
    """
    (entry,) = session.get_inputs()
    kind = TYPES[entry.type]
    given: NDArray[Any] = image if layout == "nchw" else np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    given = (given * 255).round().clip(0, 255).astype(kind) if kind == "uint8" else given.astype(kind, copy=False)
    (output,) = session.run(None, {entry.name: given})
    if layout == "nhwc":
        output = np.moveaxis(output, -1, 1)
    return np.asarray(output, np.float32) / np.float32(peak)
