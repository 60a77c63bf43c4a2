"""A bar on stderr for work that takes longer than a second, where somebody is looking."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Self

DELAY_S = 1.0
"""Work that is done by then needs no bar."""

REDRAW_S = 0.1
WIDTH = 30


class Progress:
    """The bar, for as long as the `with` lasts; afterwards its line is empty again."""

    def __init__(self, title: str) -> None:
        """Begin to count the time."""
        self._title = title
        self._next_draw = time.monotonic() + DELAY_S
        self._is_drawn = False
        self._is_seen = sys.stderr.isatty()

    def show(self, done: int, total: int) -> None:
        """Show that `done` steps of `total` are done."""
        now = time.monotonic()
        if not self._is_seen or now < self._next_draw or total == 0:
            return
        self._next_draw = now + REDRAW_S
        filled = WIDTH * done // total
        bar = "#" * filled + "." * (WIDTH - filled)
        self._write(f"\r{self._title} [{bar}] {100 * done // total:3} %")
        self._is_drawn = True

    def __enter__(self) -> Self:
        """Give the bar to the `with` statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._is_drawn:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
