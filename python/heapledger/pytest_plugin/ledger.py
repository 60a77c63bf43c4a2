"""The ledger's totals, as the timeline reads them at the ends of its stretches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from heapledger._native import interface
from heapledger.occurrences import Occurrences
from heapledger.stretches import Stretch

if TYPE_CHECKING:
    from heapledger._native.structures import StatisticsStructure
    from heapledger.pytest_plugin.subjects import Subject

CHECKED_BLOCK_MAX = 1_000
"""Blocks in the ledger up to which damage is looked for when any subject leaves; with more, only
when it allocated something. A look costs some three microseconds for each block."""


class Reading(NamedTuple):
    """The ledger's totals at one moment, and its mark of that moment."""

    allocated: int
    errors: bytes
    mark: int


class Ledger:
    """Reads the totals, and books what happened between two readings."""

    def __init__(self) -> None:
        """Begin now: what was found before is nobody's."""
        self._occurrences = Occurrences()
        self._totals = interface.Totals()

    def book(self, subject: Subject, part: int, begin: Reading, end: Reading) -> None:
        """Book what happened in between for a part of the subject."""
        if end.errors != begin.errors:
            for error in self._occurrences.take_new(begin.mark):
                _book(subject, error)
        if end.allocated != begin.allocated:
            subject.parts.setdefault(part, []).append(Stretch(begin.mark, end.mark))

    def reading(
        self, before: Reading | None, is_checked: bool = True, is_last: bool = False
    ) -> Reading:
        """Read the totals; damage is looked for first, or it would fall on a later subject."""
        totals = self._totals.read()
        recorded = totals.live_blocks + totals.quarantined_blocks
        has_allocated = before is None or before.allocated != totals.total_blocks
        is_cheap = is_last and recorded <= CHECKED_BLOCK_MAX
        if recorded and is_checked and (has_allocated or is_cheap):
            interface.check_blocks()
            totals = self._totals.read()
        return reading_of(totals, before)


def reading_of(totals: StatisticsStructure, before: Reading | None) -> Reading:
    """Return what the totals say; `before` itself when that is the same."""
    # Bytes are compared faster than ten numbers are added.
    allocated, errors = totals.total_blocks, bytes(totals.findings)
    if before is not None and before.allocated == allocated and before.errors == errors:
        return before
    return Reading(allocated, errors, interface.mark())


def _book(subject: Subject, error: dict[str, Any]) -> None:
    known = subject.errors.get(error["fingerprint"])
    count = error["count"] + (0 if known is None else known["count"])
    subject.errors[error["fingerprint"]] = (known or error) | {"count": count}
