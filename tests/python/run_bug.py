"""Load one compiled bug, call its `run`, and print what heapledger found. Run by test_bugs.py."""

from __future__ import annotations

import ctypes
import sys

import heapledger


def main() -> None:
    """Call `run` of the shared object named by the first argument and print the JSON report."""
    heapledger.start(scope="explicit")
    bug = ctypes.CDLL(sys.argv[1])
    bug.run.restype = None
    bug.run()  # the Python line of every stack
    heapledger.check()
    print(heapledger.report(format="json"))


main()
