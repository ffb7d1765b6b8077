"""How OpenMP's threads wait for each other in programs that own their process, such as the command line: they sleep.

By default they spin, so that on a busy machine they take the processor from the thread that they wait for: enlarging
100 x 100 pixels by SRCNN took several times as long. Sleeping costs a few microseconds for each layer of a network.
"""

import os
import sys


def wait_passively() -> None:
    """Let the threads sleep, unless torch is loaded already or the user's environment says how to wait."""
    if "torch" not in sys.modules and not any(
        name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    ):
        os.environ["OMP_WAIT_POLICY"] = "passive"
