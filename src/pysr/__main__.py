"""``python -m pysr`` is the command ``pysr``."""

import sys

from .cli.app import main

sys.exit(main())
