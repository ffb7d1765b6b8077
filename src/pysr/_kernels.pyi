from collections.abc import Mapping, Sequence
from typing import Any

cuda: bool

def isas() -> list[str]: ...
def isa(name: str | None = None) -> str: ...
def extract_patches(image: Any, origins: Sequence[int], out: Any, *, threads: int, stream: int) -> None: ...
def blend_patches(
    bands: Sequence[Any],
    row_starts: Sequence[int],
    row_weights: Any,
    column_starts: Sequence[int],
    column_weights: Any,
    first_row: int,
    clip: bool,
    out: Any,
    *,
    threads: int,
    stream: int,
) -> None: ...

class PixelCNN:
    def __init__(
        self,
        numbers: Mapping[str, Any],
        *,
        planes: int,
        channels: int,
        layers: int,
        hidden: int,
        features: int,
        reduced: bool,
        device: int,
    ) -> None: ...
    def draw(self, images: Any, image_ids: Any, **options: Any) -> None: ...
