"""Telling a signal sent to the whole process group from one sent to this process only.

Ctrl-C reaches every process of the terminal's foreground group, so the program under `run` has it
already; `kill PID` reaches only us, so it has to be forwarded. The kernel does not say which it
was. A witness does: a process in the same group that gets the one and not the other.
"""

from __future__ import annotations

import os
import select
import signal

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import NoReturn, Self

ANSWER_SECONDS = 0.1
"""How long the witness may take to tell what it got; it only waits for signals."""

ORPHAN_CHECK_SECONDS = 1.0


class Witness:
    """A process that gets the signals of this process group, for as long as the `with` lasts.

    The signals must be blocked in this process before, and stay blocked.
    """

    def __init__(self, signals: Collection[signal.Signals]) -> None:
        """Start the witness."""
        self._told, telling = os.pipe()
        parent = os.getpid()
        self._process = os.fork()
        if self._process == 0:
            _testify(signals, telling, parent)
        os.close(telling)

    def saw(self, number: int) -> bool:
        """Tell whether the witness got the signal too, that is, whether the whole group did."""
        while select.select([self._told], [], [], ANSWER_SECONDS)[0]:
            numbers = os.read(self._told, 1)
            if not numbers:
                return False
            if numbers[0] == number:
                return True
        return False

    def __enter__(self) -> Self:
        """Give the witness to the `with` statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Dismiss the witness."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._told)


def _testify(signals: Collection[signal.Signals], telling: int, parent: int) -> NoReturn:
    """Tell each signal as one byte, until the parent is gone. Runs in the witness."""
    try:
        # A pipe that the program's output goes through must not stay open because of us.
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        while os.getppid() == parent:
            received = signal.sigtimedwait(signals, ORPHAN_CHECK_SECONDS)
            if received is not None:
                os.write(telling, bytes([received.si_signo]))
    finally:
        os._exit(0)
