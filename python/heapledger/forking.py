"""What a forked child must have anew."""

from __future__ import annotations

import os
import threading


class ForkLock:
    """A lock that a forked child has anew: a thread of its parent that had it is not there.

    Take `lock` afresh each time. One per module: it stays registered for as long as the process
    lives.
    """

    def __init__(self) -> None:
        """Make the lock, and have every child make its own."""
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()
