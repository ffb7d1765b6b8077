import subprocess
import sys

import pytest

SHOW = """
import gc, sys
from pysr.cli.collector import collector_at_rest
{before}
try:
    with collector_at_rest():
        print(gc.isenabled(), end=" ")
        kept = [[] for _ in range(1000)]
        raise ValueError
except ValueError:
    print(gc.isenabled(), gc.get_freeze_count() >= 1000)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "False True True"),
        ("sys.modules['torch'] = sys", "True True False"),
        ("gc.disable()", "False False False"),
    ],
)
def test_the_collector_rests_where_torch_is_still_to_be_imported(before: str, expected: str) -> None:
    code = SHOW.replace("{before}", before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_upscale_imports_torch_while_it_rests() -> None:
    code = """
import gc, sys
import pysr.cli.upscale as upscale
plan = upscale.jobs_of
upscale.jobs_of = lambda *given: print("torch" in sys.modules, gc.isenabled()) or plan(*given)
from pysr.cli.app import main
main(["upscale", "missing.png"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"
