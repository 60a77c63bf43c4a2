"""Running the body of a test several times, to tell what grows from what is allocated once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from heapledger.amounts import counted
from heapledger.pytest_plugin.subjects import AROUND

if TYPE_CHECKING:
    from collections.abc import Generator

    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.timeline import Timeline
    from heapledger.pytest_plugin.window import Window

FIRST_RUN = 1
REASON_LENGTH_MAX = 100


class Repeat:
    """Repeats what passes. Fixtures are set up once; the runs share them."""

    def __init__(self, timeline: Timeline, window: Window) -> None:
        """Know whose time it is, and which test's."""
        self._timeline = timeline
        self._window = window

    # Innermost, so that output of all runs is captured, and time limits are for all of them.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run the body once as usual, then again."""
        subject = self._window.subject
        if subject is None or subject.rules.repeat == 1 or not subject.rules.enabled:
            return (yield)
        body = _Body(item)
        try:
            self._timeline.turn_to(subject, FIRST_RUN)
            result = yield
            subject.run_count = FIRST_RUN
            self._repeat(body, subject)
        finally:
            self._timeline.turn_to(subject, AROUND)
        return result

    def _repeat(self, body: _Body, subject: Subject) -> None:
        wanted = subject.rules.repeat
        for number in range(FIRST_RUN + 1, wanted + 1):
            obstacle = body.obstacle()
            if obstacle is None:
                self._timeline.turn_to(subject, number)
                obstacle = body.run()
            if obstacle is not None:
                # What an incomplete run has left is not judged; turning ends its stretch first.
                self._timeline.turn_to(subject, AROUND)
                subject.parts.pop(number, None)
                subject.notes.append(
                    f"the body could not be run {wanted} times ({obstacle}): "
                    f"judged by {counted(number - 1, 'run')}"
                )
                return
            subject.run_count = number


class _Body:
    """The body of a test, as often as it is wanted."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.doctest = getattr(item, "dtest", None)
        # A doctest clears its names when it has run.
        self.names = None if self.doctest is None else dict(self.doctest.globs)

    def obstacle(self) -> str | None:
        """Return why the body cannot be run again after the first time."""
        if getattr(self.item, "_excinfo", None):
            return "the first run failed"
        if getattr(self.item, "_explicit_tearDown", None) is not None:
            return "--pdb postpones tearDown"
        return None

    def run(self) -> str | None:
        """Run the body; return why it did not come to its end."""
        if self.doctest is not None and self.names is not None:
            self.doctest.globs.clear()
            self.doctest.globs.update(self.names)
        try:
            self.item.runtest()
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
            return _reason(error)
        # A unittest.TestCase does not raise; it leaves its errors here, for the report.
        errors: list[Any] | None = getattr(self.item, "_excinfo", None)
        if errors:
            reason = _reason(errors[0].value)
            errors.clear()
            return reason
        return None


def _reason(error: BaseException) -> str:
    first_line = (str(error).splitlines() or [""])[0][:REASON_LENGTH_MAX]
    name = type(error).__name__
    return f"{name}: {first_line}" if first_line else name
