"""How a plugin's module behaves when it is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SLOWEST_IMPORT = 1.0  # seconds of processor time: every command waits for every plugin
LONGEST_WAIT = 10  # seconds for the import of a module
HEAVY = {"torch", "numpy", "PIL", "scipy", "cv2", "pandas", "onnxruntime", "tensorflow"}
TRIAL = """
import io, json, os, sys, threading, time
import pysr.plugin, pysr.registry
from importlib import import_module
sys.stdout, sys.stderr, answer = io.StringIO(), io.StringIO(), sys.stdout
before, environment, folder = set(sys.modules), dict(os.environ), os.getcwd()
began, error = time.process_time(), None
try:
    pysr.registry._collect(import_module(sys.argv[1]))
except BaseException as raised:
    error = f"{type(raised).__name__}: {raised}"
changed = [name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)]
facts = {
    "seconds": time.process_time() - began,
    "error": error,
    "printed": sys.stdout.getvalue() + sys.stderr.getvalue(),
    "modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
    "threads": [thread.name for thread in threading.enumerate()[1:] if not thread.daemon],
    "changed": sorted(changed) + ["the current folder"] * (folder != os.getcwd()),
}
print(json.dumps(facts), file=answer, flush=True)
if facts["threads"]:
    os._exit(0)
"""


def check_import(module: str) -> None:
    """Check how a plugin's module behaves when it is imported and its hooks are called, in a process of its own.

    Args:
        module: The module that the entry point names.

    Raises:
        AssertionError: It raises, takes long, prints, imports something heavy, starts a thread, or changes the process.
    """
    command = [sys.executable, "-c", TRIAL, module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_WAIT, check=False)
    except subprocess.TimeoutExpired:
        raise AssertionError(
            f"{module} is still being imported after {LONGEST_WAIT} seconds, and pysr waits for it; do in hooks and at "
            "import only what takes no time, and the rest behind lazy()"
        ) from None
    assert done.returncode == 0 and done.stdout, f"{module} ended the process that imported it: {done.stderr[-500:]}"
    facts: dict[str, Any] = json.loads(done.stdout)
    assert not facts["error"], f"{module} cannot be used: {facts['error']}"
    heavy = sorted(HEAVY & set(facts["modules"]))
    assert not heavy, (
        f"{module} imports {', '.join(heavy)}, for which every command would wait; put what needs it into another "
        "module, and name it by lazy('package.module:name')"
    )
    assert facts["seconds"] <= SLOWEST_IMPORT, (
        f"{module} takes {facts['seconds']:.1f} s to import, for which every command would wait; do the work in the "
        "functions that the descriptions name"
    )
    assert not facts["printed"], (
        f"{module} prints {facts['printed'][:80]!r} when it is imported, into the output of every command; use logging"
    )
    assert not facts["changed"], f"{module} changes {', '.join(facts['changed'])} when it is imported; leave them alone"
    assert not facts["threads"], (
        f"{module} starts the thread {facts['threads'][0]!r} when it is imported, and commands end only when it does; "
        "start it in the functions that the descriptions name, with daemon=True"
    )
