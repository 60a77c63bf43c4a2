"""The timeline: to which subject the present belongs, and what happened in its stretches of time.

Subjects are a stack: a fixture that is set up within a test takes the time over, and gives it back.
A stretch in which nothing was recorded leaves no trace, so that a test which has nothing to do with
native memory costs two looks at the ledger's totals; and none before the timeline is awake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heapledger.pytest_plugin.subjects import AROUND

if TYPE_CHECKING:
    from heapledger.pytest_plugin.ledger import Ledger, Reading
    from heapledger.pytest_plugin.subjects import Subject


class _Turn:
    """Whose time it is."""

    __slots__ = ("part", "subject")

    def __init__(self, subject: Subject, part: int) -> None:
        self.subject = subject
        self.part = part


class Timeline:
    """The stack of subjects; the lowest is the session itself."""

    def __init__(self, session: Subject) -> None:
        """Begin with the session's own time, asleep: nothing is recorded yet."""
        self._turns = [_Turn(session, AROUND)]
        self._ledger: Ledger | None = None
        self._begin: Reading | None = None

    @property
    def subject(self) -> Subject:
        """Whose time it is."""
        return self._turns[-1].subject

    def awake(self) -> None:
        """Look at the ledger from now on."""
        from heapledger.pytest_plugin.ledger import Ledger

        self._ledger = Ledger()
        self._begin = self._ledger.reading(None)

    def enter(self, subject: Subject, part: int = AROUND) -> None:
        """Give the time to `subject`, until it leaves."""
        self._close()
        self._turns.append(_Turn(subject, part))

    def enter_below(self, subject: Subject) -> None:
        """Give the time to `subject` as if it had entered first of all that has not left."""
        if len(self._turns) == 1:
            self._close()
        self._turns.insert(1, _Turn(subject, AROUND))

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
        ledger, begin = self._ledger, self._begin
        if ledger is None or begin is None:
            return
        end = ledger.reading(begin, is_checked, is_last)
        if end is not begin:
            turn = self._turns[-1]
            ledger.book(turn.subject, turn.part, begin, end)
            self._begin = end
