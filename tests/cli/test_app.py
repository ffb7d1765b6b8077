import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from pysr import registry
from pysr.cli import app
from pysr.errors import InputError, OutOfMemoryError
from pysr.registry import Plugin

HEAVY = {"torch", "numpy", "rich", "PIL", "importlib.metadata", "ctypes"}


def run(*args):
    return app.main([str(arg) for arg in args])


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def size(path):
    with Image.open(path) as image:
        return image.size


def python(code, *args, check=True):
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=check)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["upscale", "--help"], ["train", "-h"], []])
def test_help_and_version_import_nothing_heavy(args):
    code = "import sys; from pysr.cli import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    shown, modules = python(code, *args).stdout.split("MODULES")
    assert "pysr" in shown
    assert not HEAVY & {name for name in modules.split() if not name.startswith("pysr")}


def test_lists_do_not_import_torch():
    code = "import sys; from pysr.cli import main; main(['models']); main(['plugins']); print('torch' in sys.modules)"
    assert python(code).stdout.endswith("False\n")


def test_without_click_it_says_what_to_install():
    done = python("import sys; sys.modules['click'] = None; import pysr.cli", check=False)
    assert done.returncode
    assert done.stderr.count("\n") == 1
    assert "pip install 'pysr-sdk[cli]'" in done.stderr


def test_help_tells_the_exit_codes(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"\n    {code} " in out for code in (0, 1, 2, 3, 4, 130, 143))


def test_models_as_json(capsys):
    assert run("models", "--json") == 0
    bicubic = next(model for model in json.loads(capsys.readouterr().out) if model["name"] == "bicubic")
    assert bicubic["scales"][0] == 2
    assert bicubic["colour"] == "any"
    assert bicubic["weights"] == []


def test_models_as_a_table(capsys):
    assert run("models") == 0
    out = capsys.readouterr().out
    assert "bicubic" in out
    assert "x2 x3 x4" in out


BROKEN = Plugin("hat", "pysr-hat", "1.2", "failed", "ImportError: " + "no module called timm, " * 12 + "the end")


@pytest.fixture
def broken_plugin(monkeypatch):
    found = registry.Registry([])
    found.plugins = (Plugin("core", "pysr-sdk", "0.1", "ok", models=("bicubic",)), BROKEN)
    monkeypatch.setattr(registry, "registry", lambda: found)


def test_a_broken_plugin_is_shown_with_its_whole_error(broken_plugin, capsys):
    assert run("plugins") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "failed" in out
    assert BROKEN.error in out


def test_plugins_as_json(broken_plugin, capsys):
    assert run("plugins", "--json") == 0
    core, hat = json.loads(capsys.readouterr().out)
    assert list(core) == [
        "name",
        "distribution",
        "version",
        "state",
        "error",
        "models",
        "losses",
        "preprocessors",
        "metrics",
    ]
    assert core["models"] == ["bicubic"]
    assert (hat["state"], hat["error"]) == ("failed", BROKEN.error)


def test_one_file(photo, capsys):
    target = photo.with_name("big.jpg")
    assert run("upscale", photo, "-o", target, "-m", "bicubic", "-s", "3") == 0
    assert size(target) == (90, 60)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "90 x 60 pixels" in captured.err


@pytest.mark.parametrize("given", ["3", "x3", "3x", "X3"])
def test_without_output_the_result_lies_beside_the_input(photo, given):
    assert run("upscale", "-i", photo, "-n", "nearest", "-s", given, "-q") == 0
    assert size(photo.with_name("photo_x3.png")) == (90, 60)


def test_without_scale_it_is_the_models_first(photo):
    assert run("upscale", photo, "-m", "nearest") == 0
    assert size(photo.with_name("photo_x2.png")) == (60, 40)


@pytest.mark.parametrize(("model", "scale", "side"), [("nearest+bicubic", 4, 4), ("nearest:2+bicubic:3", None, 6)])
def test_models_in_a_row(photo, capsys, model, scale, side):
    assert run("upscale", photo, "-m", model, *(["-s", scale] if scale else []), "--json") == 0
    assert size(photo.with_name(f"photo_x{side}.png")) == (30 * side, 20 * side)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["model"], facts["scale"]) == (f"nearest:2+bicubic:{side // 2}", side)


def test_a_folder_goes_into_a_folder(photo):
    Image.open(photo).save(photo.with_name("other.JPG"))
    photo.with_name("notes.txt").write_text("not an image")
    photo.with_name(".hidden.png").write_bytes(b"not an image")
    out = photo.parent / "new" / "out"
    assert run("upscale", photo.parent, "-o", out, "-m", "nearest", "-s", "2", "-f", "png") == 0
    assert sorted(path.name for path in out.iterdir()) == ["other.png", "photo.png"]


def test_existing_outputs_are_replaced(photo):
    target = photo.with_name("photo_x2.png")
    target.write_bytes(b"old")
    assert run("upscale", photo, "-m", "nearest") == 0
    assert size(target) == (60, 40)


def test_one_bad_file_costs_only_itself(photo, capsys):
    photo.with_name("a-bad.png").write_bytes(photo.read_bytes()[:200])
    out = photo.parent / "out"
    assert run("upscale", photo.parent, "-o", out, "-m", "nearest") == 3
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("pysr: error: ") and "a-bad.png" in line for line in lines)
    assert lines[-1].startswith("1 of 2 images failed: ")
    assert lines[-1].endswith("a-bad.png")


def test_json_has_a_line_per_file(photo, capsys):
    photo.with_name("a-bad.png").write_bytes(b"")
    assert (
        run(
            "upscale", photo.parent, "-o", photo.parent / "out", "-m", "nearest", "-s", "4", "--json", "--device", "cpu"
        )
        == 3
    )
    bad, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert "a-bad.png" in bad["error"]
    assert (good["input"], good["width"], good["height"]) == (str(photo), 120, 80)
    assert (good["model"], good["scale"], good["device"]) == ("nearest", 4, "cpu")


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tif", "bmp", "ppm"])
def test_results_beyond_pillows_limit_are_reported(photo, monkeypatch, capsys, form):
    Image.open(photo).save(photo.with_name("another.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # it warns above that and raises above twice that
    code = run("upscale", photo.parent, "-o", photo.parent / "out", "-m", "nearest", "-s", "3", "-f", form, "--json")
    assert code == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(fact["width"], fact["height"]) for fact in facts] == [(90, 60)] * 2


def test_comparison(photo):
    target = photo.with_name("comparison.png")
    assert run("upscale", photo, "-m", "lanczos", "--comparison", target) == 0
    assert size(target)[0] > 1000


def test_quiet_says_nothing(photo, capsys):
    assert run("upscale", photo, "-m", "nearest", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_options_reach_load(photo, monkeypatch):
    asked = []

    def load(*args, **options):
        asked.append((args, options))
        raise InputError("enough")

    monkeypatch.setattr("pysr.upscaling.loading.load", load)
    arguments = ["upscale", photo, "-m", "vdsr", "-s", "3"]
    run(*arguments)
    run(*arguments, "-t", "64", "-g", "1", "--fp32", "--mode", "blend", "--max-memory", "4G", "--match-histogram")
    run(*arguments, "--patch", "0", "--device", "cpu", "--precision", "bfloat16")
    run(*arguments[:2], "-s", "3", "--variant", "thin", "--pre-upsampler", "lanczos", "--weights", "my.safetensors")
    defaults = {
        "device": "auto",
        "precision": "auto",
        "patch": "auto",
        "mode": "auto",
        "max_memory": None,
        "match_histogram": False,
    }
    defaults |= {"variant": None, "pre_upsampler": None, "weights": None}
    assert [args for args, _ in asked] == [("vdsr", 3)] * 4
    assert [options for _, options in asked] == [
        defaults,
        defaults
        | {
            "device": "cuda:1",
            "precision": "float32",
            "patch": 64,
            "mode": "blend",
            "max_memory": 4 * 2**30,
            "match_histogram": True,
        },
        defaults | {"device": "cpu", "precision": "bfloat16"},
        defaults | {"variant": "thin", "pre_upsampler": "lanczos", "weights": Path("my.safetensors")},
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-m", "nearest"], "nothing to upscale"),
        (["photo.png", "-m", "nearest", "-s", "2.5"], "'2.5' is not a scale"),
        (["photo.png", "-m", "nearest", "-s", "99"], "99"),
        (["photo.png", "-m", "naerest"], "nearest"),
        (["photo.png", "-m", "nearest+lanczos", "-s", "6"], "name the parts, as in nearest:2+lanczos:2"),
        (["photo.png", "-m", "nearest", "--pre-upsampler", "bicubic"], "nearest cannot take the pre_upsampler bicubic"),
        (["missing.png", "-m", "nearest"], "missing.png"),
        (["empty", "-m", "nearest"], "no image in it"),
        (["photo.png", "-m", "nearest", "-g", "0", "--device", "cpu"], "only one of them"),
        (["photo.png", "-m", "nearest", "--fp32", "--precision", "float16"], "only one of them"),
        (["photo.png", "-m", "nearest", "--max-memory", "lots"], "4G"),
        (["photo.png", "-m", "nearest", "-f", "xyz"], ".png"),
        (["photo.png", "-m", "nearest", "-o", "big.xyz"], "big.xyz"),
        (["photo.png", "photo.png", "-m", "nearest", "-o", "big.png"], "give a folder"),
        (["photo.png", "photo.png", "-m", "nearest"], "would all become"),
        (["photo.png", "-m", "nearest", "-o", "big.png", "-f", "jpg"], "leave out --format"),
        (["photo.png", "b.png", "-m", "nearest", "-o", "out", "--comparison", "c.png"], "draws one image"),
        (["photo.png", "-m", "nearest", "--comparison", "photo.png"], "--comparison"),
    ],
)
def test_wrong_usage_is_one_sentence(photo, monkeypatch, capsys, args, message):
    monkeypatch.chdir(photo.parent)
    Path("empty").mkdir()
    assert run("upscale", *args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pysr: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def links(photo):
    photo.with_name("soft.png").symlink_to(photo)
    os.link(photo, photo.with_name("hard.png"))
    return ["photo.png", "soft.png", "hard.png", "../" + photo.parent.name + "/photo.png"]


def test_an_input_is_never_overwritten(photo, monkeypatch, capsys):
    monkeypatch.chdir(photo.parent)
    before = photo.read_bytes()
    for target in links(photo):
        assert run("upscale", "photo.png", "-m", "nearest", "-o", target) == 2
    for link in ("soft.png", "hard.png"):
        Path(link).unlink()
    assert run("upscale", ".", "-m", "nearest", "-o", ".") == 2
    assert run("upscale", "photo.png", "-m", "nearest", "--suffix", "") == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert photo.read_bytes() == before
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.fixture
def fails_with(photo, monkeypatch):
    """Makes a command that upscales a photo, and the upscaling raise."""

    def prepare(error):
        upscaler = SimpleNamespace(scale=2, upscale_file=Mock(side_effect=error))
        monkeypatch.setattr("pysr.upscaling.loading.load", lambda *args, **options: upscaler)
        return "upscale", photo, "-m", "nearest"

    return prepare


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("it has no pixels"), 2, "it has no pixels"),
        (OutOfMemoryError("even 16 x 16 did not fit"), 4, "even 16 x 16 did not fit"),
        (OSError(28, "No space left on device", "big.png"), 4, "No space left on device: 'big.png'"),
        (MemoryError(), 4, "memory"),
        (ZeroDivisionError("division by zero"), 1, "this is a bug; please report it"),
    ],
)
def test_errors_are_one_line_and_a_code(fails_with, capsys, error, code, message):
    command = fails_with(error)
    assert run(*command) == code
    err = capsys.readouterr().err
    assert err.startswith("pysr: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert run(*command, "-v") == code
    assert "Traceback" in capsys.readouterr().err


# --- being stopped ---

SLOW = """
import sys, time
import pysr.upscaling.loading
from pysr.cli.app import main
from pysr.atomic import atomic_write

class Slow:
    scale = 2

    def upscale_file(self, source, target, progress=None):
        with atomic_write(target) as file:
            file.write(b"half")
            file.flush()
            print("started", flush=True)
            while True:
                time.sleep(0.01)
                progress and progress(1, 2)

pysr.upscaling.loading.load = lambda *args, **options: Slow()
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_stopped_is_clean(photo, number, code):
    target = photo.with_name("big.png")
    target.write_bytes(b"old")
    command = [sys.executable, "-c", SLOW, "upscale", photo, "-o", target, "-m", "nearest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (code, "Stopped.\n")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in photo.parent.iterdir()) == ["big.png", "photo.png"]


def test_a_signal_that_was_ignored_stays_so(photo):
    """As a shell ignores Ctrl-C for what it runs in the background."""
    command = [sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_IGN)\n{SLOW}", "upscale", photo]
    with subprocess.Popen([*command, "-m", "nearest"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 143


def test_a_bar_is_drawn_on_a_terminal(photo):
    ours, its = pty.openpty()
    command = [sys.executable, "-c", SLOW, "upscale", photo, "-o", photo.with_name("big.png"), "-m", "nearest"]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, env=environment) as process:
        os.close(its)
        shown, until = b"", time.monotonic() + 20
        while b"50%" not in shown and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
    os.close(ours)
    assert b"photo.png" in shown
    assert b"MP/s" in shown
