"""`python -m reespack`."""

from __future__ import annotations

import sys

from reespack.cli import main

if __name__ == "__main__":
    sys.exit(main())
