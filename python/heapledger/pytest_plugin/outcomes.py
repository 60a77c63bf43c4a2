"""What is said of a subject: the verdicts by their names, and how pytest's reports carry them.

A judgement is plain data: it travels from test processes to the one that reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    Judgement = dict[str, Any]

FAILS = "fails"
KEPT = "kept"
CACHE = "cache"
IRREGULAR = "irregular"
UNJUDGED = "unjudged"
DOUBTFUL = "doubtful"
UNASKED = "unasked"
SUPPRESSED = "suppressed"
BASELINE = "baseline"
ALLOWED = "allowed"
EXPECTED = "expected"

REASONS = {
    FAILS: "failing",
    KEPT: "kept by a library, which still refers to it",
    CACHE: "allocated by the first run only, as a cache is",
    IRREGULAR: "left behind by some runs and not by others",
    UNJUDGED: "left behind by tests that fail anyway",
    DOUBTFUL: "of a doubtful kind",
    UNASKED: "of a kind that was not asked for",
    SUPPRESSED: "suppressed",
    BASELINE: "known from the baseline",
    ALLOWED: "within the limits",
    EXPECTED: "of tests that are expected to fail",
}
"""Every verdict, and how the summary calls it."""

ATTRIBUTE = "heapledger"
"""Where a teardown report carries the judgements, as plain data, to whoever reports."""

FIXTURES = "heapledger_fixtures"
"""Where a teardown report carries the keys of the fixtures that ended, judged or not."""

UNEXPECTED_PASS = "[XPASS(strict)]"
"""How pytest begins what it says of a test that did not fail and had to."""


def fails(judgement: Judgement) -> bool:
    """Tell whether the subject of this judgement fails."""
    return any(entry["verdict"] == FAILS for entry in judgement["entries"])


def has_raised(report: pytest.TestReport) -> bool:
    """Tell whether there is an exception behind the report.

    There is none behind a test that was expected to fail and did not, which pytest may count as
    failed: what was expected may be its leak.
    """
    if report.failed:
        return not str(report.longrepr).startswith(UNEXPECTED_PASS)
    return report.skipped and hasattr(report, "wasxfail")
