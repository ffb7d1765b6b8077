"""Check the files that `make dist` made: their contents, and that they work in an empty environment.

    python tests/check_dist.py DIST

The environment has no compiler, no CMake and no access to anything but wheels; then the source distribution is
installed over it, with the compiler.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
LARGEST_CORE = 3e6  # bytes of the core's wheel
UNWANTED = re.compile(r"(^|/)(tests?|docs|benchmarks|examples|runs|build|__pycache__)/|\.(pyc|jpe?g|png|npz|tiff?)$")
DATA_SETS = "Set5|Set14|BSD100|Urban100|T91"  # not ours to pass on
SMALL = "import PIL.Image; PIL.Image.linear_gradient('L').resize((60, 40)).convert('RGB').save('small.png')"


def version() -> str:
    """The one place where the version stands."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "src/pysr/__init__.py").read_text(encoding="utf-8"), re.M)
    assert found
    return found[1]


def check_wheel(wheel: Path, source: Path) -> None:
    """The wheel of a folder: everything in its packages, the licence, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        (metadata,) = [name for name in sizes if name.endswith(".dist-info/METADATA")]
        facts = Parser().parsestr(archive.read(metadata).decode())
    check_names(wheel.name, list(sizes))
    assert facts["Version"] == version(), f"{wheel.name} is of version {facts['Version']}, not {version()}"
    licences = [name for name in sizes if "/licenses/" in name]
    assert any(name.endswith("/LICENSE") for name in licences), f"{wheel.name} has no licence"
    assert len(licences) == len(facts.get_all("License-File", [])), f"{wheel.name} lacks a licence that it names"
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=source, capture_output=True, text=True, check=True)
    for name in tracked.stdout.splitlines():
        inside = name.removeprefix("src/")
        size = (source / name).stat().st_size
        assert sizes.get(inside) == size, f"{wheel.name} has not {inside} of {size} bytes, but {sizes.get(inside)}"


def check_names(archive: str, names: list[str]) -> None:
    """No test, page, image or data set among the names of an archive."""
    unwanted = [name for name in names if UNWANTED.search(name) or re.search(DATA_SETS, name)]
    assert not unwanted, f"{archive} has what does not belong there: {', '.join(unwanted[:5])}"


def check_contents(dist: Path) -> None:
    """One wheel for each folder with a `pyproject.toml`, and the source of the core."""
    names = {path.name for path in dist.iterdir()}
    core = [name for name in names if re.fullmatch(rf"pysr_sdk-{version()}-cp\d+-cp\d+-\w+\.whl", name)]
    assert len(core) == 1, f"not one wheel of the core, but {core}"
    wheels = {ROOT: core[0]} | {path: f"pysr_{path.name}-{version()}-py3-none-any.whl" for path in PLUGINS}
    source = f"pysr_sdk-{version()}.tar.gz"
    assert names == {*wheels.values(), source}, f"dist has other files: {names ^ {*wheels.values(), source}}"
    for folder, name in wheels.items():
        check_wheel(dist / name, folder)
    size = (dist / core[0]).stat().st_size
    assert size <= LARGEST_CORE, f"the core's wheel has {size} bytes, more than {LARGEST_CORE:.0f}"
    with tarfile.open(dist / source) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames()]
    check_names(source, inside)
    for needed in ("CMakeLists.txt", "LICENSE", "PKG-INFO", "csrc/python/module.cpp", "src/pysr/__init__.py"):
        assert needed in inside, f"{source} lacks {needed}"
    print(f"contents: {len(names)} files as they should be; the core's wheel has {size / 1e6:.2f} MB", flush=True)


class Environment:
    """A new virtual environment, and commands in it.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        self.folder = folder
        self.programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def run(self, *command: str | Path, compiler: bool = False) -> str:
        """Run a command, which sees only the environment's programs unless a compiler is wanted."""
        path = [str(self.programs), *([os.environ["PATH"]] if compiler else [])]
        variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "CC", "CXX"}}
        variables["PATH"] = os.pathsep.join(path)
        words = [str(self.programs / command[0]), *map(str, command[1:])]
        done = subprocess.run(words, env=variables, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)} gave {done.returncode}: {done.stdout[-2000:]}"
        return done.stdout

    def upscale(self) -> None:
        """Upscale by the command line, by a plugin's weights and the native kernels."""
        (self.folder / "big.png").unlink(missing_ok=True)
        self.run("python", "-c", SMALL)
        self.run("pysr", "upscale", "small.png", "-o", "big.png", "-s", "2")
        self.run("python", "-c", "import PIL.Image; assert PIL.Image.open('big.png').size == (120, 80)")
        self.run("python", "-c", "from pysr._kernels import extract_patches")


def check_installation(dist: Path) -> None:
    """Install the wheels, then the source, and upscale with each."""
    pip = ("python", "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", ROOT / "constraints.txt")
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder))
        environment.run(*pip, "--only-binary", ":all:", "--find-links", dist, "pysr-sdk[all]")
        environment.upscale()
        failing = [line for line in environment.run("pysr", "plugins").splitlines() if "failed" in line]
        assert not failing, failing
        print("wheels: installed without a compiler, and an image upscaled", flush=True)
        environment.run(*pip, "--force-reinstall", "--no-deps", dist / f"pysr_sdk-{version()}.tar.gz", compiler=True)
        environment.upscale()
        print("source: built, installed, and an image upscaled", flush=True)


if __name__ == "__main__":
    given = Path(sys.argv[1]).absolute()
    check_contents(given)
    check_installation(given)
