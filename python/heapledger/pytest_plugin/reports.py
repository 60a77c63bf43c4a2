"""Verdicts as pytest's reports: which report of a test fails, and what stands under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from heapledger.errors import FindingError, LeakError
from heapledger.pytest_plugin.failure import failure_of, section_of
from heapledger.pytest_plugin.outcomes import (
    ATTRIBUTE,
    EXPECTED,
    FAILS,
    FIXTURES,
    fails,
    has_raised,
)

if TYPE_CHECKING:
    from heapledger.pytest_plugin.failure import Failure
    from heapledger.pytest_plugin.fixtures import Ended
    from heapledger.pytest_plugin.suite import Suite

    Judgement = dict[str, Any]

SECTION = "heapledger"

RERUN = "rerun"
"""The outcome that plugins give to a report when they run the test again."""


class Told(NamedTuple):
    """How verdicts are told: the suite's settings, where paths start, and whether all is shown."""

    suite: Suite
    directory: str
    full: bool


class AttemptReports:
    """The reports of one attempt at a test, until they are public."""

    def __init__(self, told: Told) -> None:
        """Begin with none."""
        self._told = told
        self._reports: dict[str, pytest.TestReport] = {}
        self._public: set[int] = set()

    @property
    def has_failed(self) -> bool:
        """Whether a phase failed, as expected or not: its traceback keeps objects alive."""
        return any(has_raised(report) for report in self._reports.values())

    def made(self, report: pytest.TestReport) -> None:
        """Note a report; of several for one phase (subtests) the last is the phase's own."""
        self._reports[str(report.when)] = report

    def published(self, report: pytest.TestReport) -> None:
        """Note that a report is public; a judgement on an attempt that is rerun says so."""
        self._public.add(id(report))
        if report.when == "teardown" and self._outcome_of("call") == RERUN:
            for judgement in getattr(report, ATTRIBUTE, ()):
                judgement["rerun"] = True

    def _outcome_of(self, phase: str) -> str:
        return str(self._reports[phase].outcome) if phase in self._reports else ""

    def held(self) -> list[pytest.TestReport]:
        """Return the reports that are not public."""
        return [report for report in self._reports.values() if id(report) not in self._public]

    def tell(self, item: pytest.Item, own: Judgement | None, fixtures: Ended) -> None:
        """Let the test fail for its own judgement, and its teardown for those of fixtures."""
        teardown = self._reports["teardown"]
        of_fixtures = fixtures.judgements
        setattr(teardown, FIXTURES, fixtures.keys)
        told = [judgement for judgement in (own, *of_fixtures) if judgement is not None]
        setattr(teardown, ATTRIBUTE, told)
        for judgement in told:
            teardown.user_properties += _properties(judgement)
        failures = [failure_of(one, self._told) for one in of_fixtures if fails(one)]
        if own is not None and not self._tell_own(item, own):
            failures.insert(0, failure_of(own, self._told))
        for failure in failures:
            _fail(teardown, failure)

    def _tell_own(self, item: pytest.Item, judgement: Judgement) -> bool:
        """Tell the test's judgement on the report of its call; False: that is public already."""
        call = self._reports.get("call")
        if not fails(judgement):
            last = call or self._reports.get("setup")
            text = section_of(judgement, self._told)
            if last is not None and last.failed and text and id(last) not in self._public:
                last.sections.append((SECTION, text))
            return True
        if call is None or id(call) in self._public:
            return False
        failure = failure_of(judgement, self._told)
        if has_raised(call):
            call.sections.append((SECTION, failure.text))
            return True
        _remake(item, call, _error_of(judgement, failure))
        if call.failed:
            call.longrepr = failure.representation()
        else:
            _expect(judgement)
        return True


def _expect(judgement: Judgement) -> None:
    """Note that the test was expected to fail, and does for this."""
    for entry in judgement["entries"]:
        if entry["verdict"] == FAILS:
            entry["verdict"] = EXPECTED


def _remake(item: pytest.Item, report: pytest.TestReport, error: FindingError) -> None:
    """Make a report on a call that passed as if it had raised `error`.

    The hook makes it, so that an expected failure becomes one, and other plugins see it.
    """
    call = pytest.CallInfo[None](
        None,
        _raised_now(error),
        start=report.start,
        stop=report.stop,
        duration=report.duration,
        when="call",
        _ispytest=True,
    )
    made: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    # The report itself is known to others (fixtures, plugins), so it is changed, not replaced.
    vars(report).pop("wasxfail", None)
    vars(report).update(vars(made))


def _raised_now(error: FindingError) -> pytest.ExceptionInfo[BaseException]:
    """Raise the error: pytest asks for one that has been."""
    try:
        raise error
    except FindingError as raised:
        return pytest.ExceptionInfo.from_exception(raised)


def _fail(report: pytest.TestReport, failure: Failure) -> None:
    """Let a report fail; where it failed already, put the text under it."""
    if report.failed:
        report.sections.append((SECTION, failure.text))
    else:
        report.outcome = "failed"
        report.longrepr = failure.representation()


def _error_of(judgement: Judgement, failure: Failure) -> FindingError:
    from heapledger.records import Finding

    findings = [
        Finding.from_dict(entry["finding"])
        for entry in judgement["entries"]
        if entry["verdict"] == FAILS
    ]
    kind = LeakError if all(one.kind == "leak" for one in findings) else FindingError
    return kind(failure.text, findings)


def _properties(judgement: Judgement) -> list[tuple[str, object]]:
    """Return what JUnit's XML says of a test."""
    entries = judgement["entries"]
    leaks = [one["finding"] for one in entries if one["finding"]["kind"] == "leak"]
    leaks += judgement["left_out"].values()
    errors = [one["finding"]["kind"] for one in entries if one["finding"]["kind"] != "leak"]
    properties: list[tuple[str, object]] = [
        (f"heapledger_{judgement['kind']}", judgement["name"]),
        ("heapledger_leaked_blocks", sum(leak["blocks"] for leak in leaks)),
        ("heapledger_leaked_bytes", sum(leak["bytes"] for leak in leaks)),
    ]
    if errors:
        properties.append(("heapledger_errors", ",".join(sorted(set(errors)))))
    properties.append(("heapledger_verdict", "fails" if fails(judgement) else "reported"))
    return properties
