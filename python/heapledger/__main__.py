"""`python -m heapledger`: the same as the command `heapledger`."""

from __future__ import annotations

import sys

from heapledger.cli import main

if __name__ == "__main__":
    sys.exit(main())
