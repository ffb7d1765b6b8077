import os
import subprocess
import sys

import pytest

SHOW = (
    "from pysr.cli.waiting import wait_passively; wait_passively(); import os; print(os.environ.get('OMP_WAIT_POLICY'))"
)


@pytest.mark.parametrize(
    ("given", "code", "expected"),
    [
        ({}, SHOW, "passive"),
        ({"OMP_WAIT_POLICY": "active"}, SHOW, "active"),
        ({"GOMP_SPINCOUNT": "10"}, SHOW, "None"),
        ({}, "import sys; sys.modules['torch'] = None;" + SHOW, "None"),
    ],
)
def test_threads_sleep_unless_the_user_or_torch_has_decided(given: dict[str, str], code: str, expected: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP", "KMP"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own | given)
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("command", ["upscale", "evaluate"])
def test_commands_decide_it_before_torch_is_loaded(command: str) -> None:
    code = f"""
import sys
import pysr.cli.waiting
pysr.cli.waiting.wait_passively = lambda: print("torch" in sys.modules)
from pysr.cli.app import main
main(["{command}", "bicubic", "--data", "missing"] if "{command}" == "evaluate" else ["{command}", "missing.png"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
