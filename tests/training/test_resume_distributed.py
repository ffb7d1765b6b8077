"""Two processes started by torchrun: stopped and resumed to the same bits, and with the losses of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from resumable_training import MODEL, PROGRAM, assert_same, final, is_under_way


def start_two(program: Path, pictures: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PRECISION": "float32", **environment}
    return subprocess.Popen(
        [*command, str(program), str(pictures), str(out), "none", "0"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_two(program: Path, pictures: Path, out: Path) -> None:
    process = start_two(program, pictures, out)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors


def test_two_processes_stop_at_ctrl_c_and_resume_to_the_same_bits(pictures: Path, tmp_path: Path) -> None:
    """Ctrl-C comes twice: from the terminal, and from torchrun. Normalisation, dropout and two optimizers take part."""
    program, out = tmp_path / "two.py", tmp_path / "parts"
    pids = f"(Path({str(tmp_path)!r}) / f'pid-{{os.environ[\"RANK\"]}}').write_text(str(os.getpid()))\n"
    program.write_text(MODEL + pids + PROGRAM.removeprefix(MODEL))
    process = start_two(program, pictures, out, SLOW="0.3")
    deadline = time.monotonic() + 120
    while not is_under_way(out) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    for rank in range(2):
        os.kill(int((tmp_path / f"pid-{rank}").read_text()), signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("a checkpoint is in") == 1
    assert 5 <= final(out)[1]["step"] < 24
    finish_two(program, pictures, out)
    finish_two(program, pictures, tmp_path / "whole")
    assert_same(tmp_path / "whole", out)


def test_two_processes_have_the_losses_of_one(pictures: Path, tmp_path: Path) -> None:
    """Batch normalisation and dropout would differ by design; the network has neither here."""
    program = tmp_path / "two.py"
    plain = MODEL.replace("nn.BatchNorm2d(8), ", "").replace("nn.Dropout(0.2), ", "")
    plain = plain.replace("network.body[4]", "network.body[2]")
    program.write_text(
        plain + "\nfrom pysr.training import TrainingOptions, train\n"
        f"train(MODEL, [Path({str(pictures)!r})], Path(sys.argv[1]),\n"
        "      options=TrainingOptions(seed=3, device='cpu', precision='float32'))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(program), str(tmp_path / "one")], env=environment, check=True, timeout=120)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(program), str(tmp_path / "both")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    one, both = (
        [[float(cell) for cell in line.split(",")[2:5]] for line in (out / "log.csv").read_text().splitlines()[1:]]
        for out in (tmp_path / "one", tmp_path / "both")
    )
    assert len(one) == 5
    np.testing.assert_allclose(one, both, rtol=1e-3)
    assert json.loads(json.dumps(final(tmp_path / "both")[1]["run"]["world_size"])) == 2
