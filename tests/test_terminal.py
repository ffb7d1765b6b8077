import os
import pty
import subprocess
import sys

from rich.table import Table

from pysr.terminal import print_table

SHOW = "from rich.table import Table; from pysr.terminal import print_table; print_table(Table('word ' * 60))"


def shown(capsys, *columns):
    print_table(Table(*columns))
    return capsys.readouterr().out.splitlines()


def test_a_table_in_a_pipe_is_as_wide_as_its_content(capsys, monkeypatch):
    for terminal in ("20", "500"):  # what is set for the terminal does not count there
        monkeypatch.setenv("COLUMNS", terminal)
        assert {len(line) for line in shown(capsys, "PSNR", "SSIM")} == {15}
        assert any("x" * 300 in line for line in shown(capsys, "x" * 300))


def test_a_table_on_a_terminal_stays_within_it():
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SHOW], stdout=its, env=environment, check=True)
    os.close(its)
    lines = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    assert len(lines) > 5
    assert max(map(len, lines)) < 100  # 60 and what makes letters bold
