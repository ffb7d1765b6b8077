"""``python -m pysr`` is the command ``pysr``."""

import sys

from pysr_command import main

sys.exit(main())
