"""Print the requirements of the extras named, separated by spaces: python tests/requirements.py dev plot"""

import sys
import tomllib
from pathlib import Path

extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
print(*(line.replace(" ", "") for extra in sys.argv[1:] for line in extras[extra] if not line.startswith("pysr-sdk")))
