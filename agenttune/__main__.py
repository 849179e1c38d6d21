"""``python -m agenttune``, so that launchers such as torchrun can start a command."""

import sys

from agenttune.cli import main

if __name__ == "__main__":
    sys.exit(main())
