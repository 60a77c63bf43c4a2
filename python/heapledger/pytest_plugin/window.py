"""The window of a test: from before its fixtures until after its teardown, then the verdict.

Another plugin may run a test several times; each attempt has a window of its own.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

import pytest
from _pytest.skipping import xfailed_key

from heapledger.pytest_plugin.reports import AttemptReports
from heapledger.pytest_plugin.rules import Rules, with_markers
from heapledger.pytest_plugin.subjects import test_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from heapledger.pytest_plugin.bench import Bench
    from heapledger.pytest_plugin.fixtures import Fixtures
    from heapledger.pytest_plugin.reports import Told
    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.timeline import Timeline

    Result = TypeVar("Result")

DISPLAYED = "_"
"""The builtin name of the value that an interactive prompt, or a doctest, has shown last."""


class Window:
    """Hooks that open and close the window of each test."""

    def __init__(self, timeline: Timeline, bench: Bench, fixtures: Fixtures, told: Told) -> None:
        """Begin outside any test."""
        self._timeline = timeline
        self._bench = bench
        self._fixtures = fixtures
        self._told = told
        self._subject: Subject | None = None
        self._remaking = False
        self._displayed: object = None
        self.attempt: AttemptReports | None = None

    @property
    def subject(self) -> Subject | None:
        """The test whose window is open."""
        return self._subject

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Open the window before the first fixture."""
        self._timeline.drop_all()
        subject, complaint = self._open(item)
        self._timeline.enter(subject)
        result = yield
        if complaint is not None:
            pytest.fail(complaint, pytrace=False)
        return result

    def open_late(
        self, item: pytest.Item, made: list[pytest.TestReport], held: list[pytest.TestReport]
    ) -> None:
        """Open the window of a test that is under way; nothing was recorded before this moment.

        `made` are the reports that there are, `held` those of them that are not public.
        """
        subject, _ = self._open(item)
        if self.attempt is not None:
            for report in made:
                self.attempt.made(report)
                if report not in held:
                    self.attempt.published(report)
        self._timeline.enter_below(subject)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Close the window with the report on the teardown; then judge."""
        report = yield
        attempt, subject = self.attempt, self._subject
        if attempt is None or subject is None or self._remaking:
            return report
        attempt.made(report)
        if call.when == "teardown":
            self._timeline.leave(subject)
            self._subject = None
            self._judge(item, subject, attempt)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which reports are public: they are not changed any more."""
        if self.attempt is not None:
            self.attempt.published(report)

    def _open(self, item: pytest.Item) -> tuple[Subject, str | None]:
        """Begin an attempt; return the test's subject, and what is wrong with its markers."""
        self.attempt = AttemptReports(self._told)
        complaint = None
        try:
            rules = with_markers(self._told.suite.rules, item)
        except pytest.UsageError as error:
            rules, complaint = Rules(enabled=False), str(error)
        subject = self._subject = test_subject(item, rules)
        self._displayed = vars(builtins).get(DISPLAYED)
        return subject, complaint

    def _judge(self, item: pytest.Item, subject: Subject, attempt: AttemptReports) -> None:
        subject.failed = attempt.has_failed
        subject.expects_failure = item.stash.get(xfailed_key, None) is not None
        judgement = _in_spite_of_time_limits(
            lambda: self._bench.judgement_on(subject, lambda: self._let_go(item))
        )
        fixtures = _in_spite_of_time_limits(
            lambda: self._fixtures.ended(lambda: self._let_go(item))
        )
        self._remaking = True
        try:
            attempt.tell(item, judgement, fixtures)
        finally:
            self._remaking = False

    def _let_go(self, item: pytest.Item) -> None:
        """Drop what is held of a finished test by pytest, and by the display of a doctest."""
        _drop_arguments(item)
        names = vars(builtins)
        if hasattr(item, "dtest") and names.get(DISPLAYED) is not self._displayed:
            del names[DISPLAYED]


def _in_spite_of_time_limits(work: Callable[[], Result]) -> Result:
    """Do our own work, once more when a time limit of the test runs out in the middle of it.

    pytest-timeout raises from a signal, once: in here it would end the whole run.
    """
    try:
        return work()
    except pytest.fail.Exception:
        return work()


def _drop_arguments(item: pytest.Item) -> None:
    """Drop what pytest holds of a finished test: its arguments, and the instance of its class."""
    arguments = getattr(item, "funcargs", None)
    if arguments:
        arguments.clear()
    if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
        # Made anew by whoever asks for it; a session keeps all its items, and so their instances.
        for name in ("_instance", "_obj"):
            item.__dict__.pop(name, None)
