"""The program under `run` as a child process: its signals, and how it ends."""

from __future__ import annotations

import os
import signal

from heapledger.cli.witness import Witness

FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What reaches the program when it is sent to us; each exactly once."""

AWAITED = (*FORWARDED, signal.SIGCHLD)

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""What this interpreter ignores at its start, and the program should not inherit as ignored."""

KILLED_STATUS_BASE = 128
"""A shell gives a program killed by signal N the status 128 + N."""


class Ending:
    """How the process `process` ended: with a status, or by a signal."""

    __slots__ = ("process", "signal", "status")

    def __init__(self, process: int, status: int, signal: int | None = None) -> None:
        """Say it."""
        self.process = process
        self.status = status
        self.signal = signal

    def described(self) -> str:
        """Return the ending as a clause."""
        if self.signal is not None:
            return f"was killed by {signal.Signals(self.signal).name}"
        return f"ended with status {self.status}, without its exit handlers"

    def repeat(self) -> None:
        """End this process by the same signal, without a core file: there is one already."""
        if self.signal is None:
            return
        import resource

        _, hard_limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard_limit))
        if self.signal != signal.SIGKILL:
            signal.signal(self.signal, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {self.signal})
        os.kill(os.getpid(), self.signal)


def run_child(command: list[str], environment: dict[str, str]) -> Ending:
    """Run a command to its end with our standard streams, forwarding signals."""
    with _BlockedSignals() as mask_before, Witness(FORWARDED) as witness:
        process = os.posix_spawn(
            command[0],
            command,
            environment,
            setsigmask=mask_before,
            setsigdef=IGNORED_BY_PYTHON,
        )
        while True:
            number = signal.sigwaitinfo(AWAITED).si_signo
            if number != signal.SIGCHLD:
                _forward(number, process, witness)
                continue
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return _ending(process, status)


class _BlockedSignals:
    """Holds the signals back, so that they are waited for; gives the mask from before."""

    def __enter__(self) -> set[int]:
        """Hold them back."""
        self._mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        return {int(number) for number in self._mask_before}

    def __exit__(self, *_: object) -> None:
        """Let them through again."""
        # What arrived together with the program's end was meant for the program.
        while signal.sigtimedwait(AWAITED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)


def _forward(number: int, process: int, witness: Witness) -> None:
    group_has_it = witness.saw(number)
    try:
        if not (group_has_it and os.getpgid(process) == os.getpgrp()):
            os.kill(process, number)
    except ProcessLookupError:
        return  # It has just ended; SIGCHLD follows.


def _ending(process: int, status: int) -> Ending:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Ending(process, KILLED_STATUS_BASE - code, -code)
    return Ending(process, code)
