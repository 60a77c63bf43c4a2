"""The timeline: to which subject the present belongs, and what happened in its stretches of time.

Subjects are a stack: a fixture that is set up within a test takes the time over, and gives it back.
A stretch in which nothing was recorded leaves no trace, so that a test which has nothing to do with
native memory costs two looks at the ledger's totals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heapledger._native import interface
from heapledger.occurrences import Occurrences
from heapledger.pytest_plugin.subjects import AROUND, Subject
from heapledger.stretches import Stretch

CHECKED_BLOCK_MAX = 1_000
"""Blocks in the ledger up to which damage is looked for when any subject leaves; with more, only
when it allocated something. A look costs some three microseconds for each block."""


@dataclass(slots=True)
class _Turn:
    """Whose time it is."""

    subject: Subject
    part: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """The ledger's totals at the beginning of a stretch, and its mark once there is one."""

    allocated: int
    errors: int
    mark: int


class Timeline:
    """The stack of subjects; the lowest is the session itself."""

    def __init__(self, session: Subject) -> None:
        """Begin with the session's own time."""
        self._turns = [_Turn(session, AROUND)]
        self._begin = self._reading(None)
        self._occurrences = Occurrences()

    @property
    def subject(self) -> Subject:
        """Whose time it is."""
        return self._turns[-1].subject

    def enter(self, subject: Subject, part: int = AROUND) -> None:
        """Give the time to `subject`, until it leaves."""
        self._close()
        self._turns.append(_Turn(subject, part))

    def leave(self, subject: Subject) -> None:
        """Give the time back; whoever was entered since and has not left is dropped."""
        if all(turn.subject is not subject for turn in self._turns[1:]):
            return
        self._close(is_last=True)
        while self._turns.pop().subject is not subject:
            pass

    def turn_to(self, subject: Subject, part: int) -> None:
        """Begin another part of the subject whose time it is; of any other, do nothing."""
        if self.subject is subject:
            # Whatever part does damage, it is the subject's: it is looked for when that leaves.
            self._close(is_checked=False)
            self._turns[-1].part = part

    def drop_all(self) -> None:
        """Return to the session's own time: what was under way will not come to its end."""
        if len(self._turns) > 1:
            self._close()
            del self._turns[1:]

    def _close(self, *, is_checked: bool = True, is_last: bool = False) -> None:
        """End the present stretch, and book what happened in it."""
        turn, begin = self._turns[-1], self._begin
        end = self._reading(begin, is_checked, is_last)
        if end.errors != begin.errors:
            for error in self._occurrences.take_new(begin.mark):
                _book(turn.subject, error)
        if end.allocated != begin.allocated:
            turn.subject.parts.setdefault(turn.part, []).append(Stretch(begin.mark, end.mark))
        self._begin = end

    def _reading(
        self, before: _Reading | None, is_checked: bool = True, is_last: bool = False
    ) -> _Reading:
        """Read the totals; damage is looked for first, or it would fall on a later subject."""
        totals = interface.statistics()
        recorded = totals.live_blocks + totals.quarantined_blocks
        has_allocated = before is None or before.allocated != totals.total_blocks
        is_cheap = is_last and recorded <= CHECKED_BLOCK_MAX
        if recorded and is_checked and (has_allocated or is_cheap):
            interface.check_blocks()
            totals = interface.statistics()
        allocated, errors = totals.total_blocks, sum(totals.findings)
        if before is not None and (before.allocated, before.errors) == (allocated, errors):
            return before
        return _Reading(allocated, errors, interface.mark())


def _book(subject: Subject, error: dict[str, Any]) -> None:
    known = subject.errors.get(error["fingerprint"])
    count = error["count"] + (0 if known is None else known["count"])
    subject.errors[error["fingerprint"]] = (known or error) | {"count": count}
