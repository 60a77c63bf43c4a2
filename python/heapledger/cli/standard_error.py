"""What is said on stderr. A closed stderr is nobody's loss."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Write a text for people."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def complain(sentence: str) -> None:
    """Say what went wrong with the run itself."""
    show(f"heapledger: {sentence}\n")
