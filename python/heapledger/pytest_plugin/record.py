"""The record of the session: every judgement, where the session is reported.

With xdist that is the controller; test processes send their judgements on their reports, and what
belongs to no test when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from heapledger.pytest_plugin.outcomes import ATTRIBUTE, BASELINE, FAILS, FIXTURES, fails
from heapledger.pytest_plugin.subjects import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from heapledger.pytest_plugin.baseline import Baseline, Key
    from heapledger.pytest_plugin.suite import Suite

    Judgement = dict[str, Any]
    Entry = dict[str, Any]

SENT = "heapledger"
"""The key under which a test process sends what belongs to no test."""


class Closing(NamedTuple):
    """What a test process knows when it ends, as plain data."""

    judgements: list[Judgement]
    ended: list[str]
    suppressions_used: list[str]
    scope: str
    scope_reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the form in which it travels."""
        return self._asdict()


class Record:
    """All judgements of the session, in the order in which they arrive.

    `ran` are the tests that came to their end, `ended` the fixtures that outlive tests.
    """

    def __init__(self, suite: Suite, baseline: Baseline) -> None:
        """Begin empty."""
        self.suite = suite
        self.baseline = baseline
        self.judgements: list[Judgement] = []
        self.ran: set[str] = set()
        self.ended: set[str] = set()
        self.scopes: dict[str, str] = {}
        self._suppressions_used: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the judgements from the report on a teardown."""
        judgements = getattr(report, ATTRIBUTE, None)
        if judgements is not None:
            self.ran.add(report.nodeid)
            self.ended.update(getattr(report, FIXTURES))
            self.judgements += judgements

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - of xdist, without types
        """Take what a test process of xdist sends when it ends; one that crashed sends nothing."""
        sent = getattr(node, "workeroutput", {}).get(SENT)
        if sent is not None:
            self.close(Closing(**sent))

    def close(self, closing: Closing) -> None:
        """Take what a test process knows when it ends."""
        self.judgements += closing.judgements
        self.ended.update(closing.ended)
        self._suppressions_used.update(closing.suppressions_used)
        self.scopes[closing.scope] = closing.scope_reason

    @property
    def final(self) -> list[Judgement]:
        """The judgements that count: not those on attempts that were run again."""
        return [one for one in self.judgements if not one.get("rerun")]

    @property
    def failing(self) -> list[Judgement]:
        """The judgements that fail their subject."""
        return [one for one in self.final if fails(one)]

    def entries(self, verdicts: Iterable[str] | None = None) -> Iterator[tuple[Judgement, Entry]]:
        """Yield the findings with their subjects, those of some verdicts or all."""
        wanted = None if verdicts is None else set(verdicts)
        for judgement in self.final:
            for entry in judgement["entries"]:
                if wanted is None or entry["verdict"] in wanted:
                    yield judgement, entry

    def unused_suppressions(self) -> list[str]:
        """Return the lines of the suppressions file that hid nothing."""
        if self.suite.suppressions is None:
            return []
        from heapledger import reports

        limits = reports.with_suppressions(reports.empty({}), self.suite.suppressions)["limits"]
        every = map(str, limits["suppressions_unused"])
        return [line for line in every if line not in self._suppressions_used]

    def known(self) -> dict[Key, int]:
        """Return what a baseline of this session holds."""
        found: dict[Key, int] = {}
        for judgement in self.final:
            subject = key_of(judgement["kind"], judgement["name"], judgement["nodeid"])
            here: dict[Key, int] = {}
            for entry in judgement["entries"]:
                if entry["verdict"] in (FAILS, BASELINE):
                    key = subject, entry["finding"]["kind"], entry["site"]
                    here[key] = here.get(key, 0) + entry["blocks"]
            # A fixture may be set up several times, by each process and for each value.
            for key, blocks in here.items():
                found[key] = max(blocks, found.get(key, 0))
        return found

    def stale(self) -> list[Key]:
        """Return what the baseline knows of these tests and did not happen any more."""
        return self.baseline.missing(self.known(), self.ran | self.ended)

    def updated_baseline(self) -> Baseline:
        """Return the baseline with what was found in this session."""
        return self.baseline.updated(self.known(), self.ran | self.ended)
