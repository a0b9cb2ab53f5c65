"""``python -m pipeline.cli``, as torchrun starts it."""

import sys

from pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
