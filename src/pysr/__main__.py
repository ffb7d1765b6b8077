"""``python -m pysr`` is the command ``pysr``."""

import sys

from .cli import main

sys.exit(main())
