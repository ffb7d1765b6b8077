"""The garbage collector rests while torch is imported, which makes half a million objects and no garbage.

Looking through them again and again takes a tenth of the import's time. What was made stays out of later collections.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Collect nothing in the block, in which torch is imported, and never what the block leaves.

    Does nothing where torch has been imported already, or the collector has been switched off.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
