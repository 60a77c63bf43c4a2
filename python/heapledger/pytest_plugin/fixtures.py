"""Fixtures that outlive a test: each is a subject of its own, judged when it has ended.

What a fixture of module, class, package or session scope allocates while it is set up or torn down
is its own, and is not charged to the test that happened to need it first or last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from heapledger.pytest_plugin.rules import Rules, with_markers
from heapledger.pytest_plugin.subjects import fixture_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from heapledger.pytest_plugin.bench import Bench
    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.timeline import Timeline


class Ended(NamedTuple):
    """Fixtures that have ended: their keys, and the judgements on those that left something."""

    judgements: list[dict[str, Any]]
    keys: list[str]


class Fixtures:
    """Hooks around the life of fixtures of wider scope than one test."""

    def __init__(self, timeline: Timeline, rules: Rules) -> None:
        """Begin without fixtures; there is a bench once anything can be judged."""
        self._timeline = timeline
        self._rules = rules
        self.bench: Bench | None = None
        self._alive: dict[int, Subject] = {}
        self._ended: list[Subject] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Give the time to the fixture while it is set up."""
        if fixturedef.scope == "function":
            return (yield)
        subject = fixture_subject(fixturedef, request, self._rules_at(request.node))
        self._timeline.enter(subject)
        try:
            return (yield)
        except BaseException:
            subject.failed = True
            raise
        finally:
            self._timeline.leave(subject)
            self._alive[id(fixturedef)] = subject
            # Finalisers run in the reverse order: this one between those of the fixtures that
            # depend on this fixture and its own teardown.
            request.addfinalizer(lambda: self._timeline.enter(subject))

    @pytest.hookimpl(trylast=True)
    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Take the time back when the fixture is torn down."""
        # pytest before 8.4 may call this for fixtures that have ended already.
        subject = self._alive.pop(id(fixturedef), None)
        if subject is not None:
            self._timeline.leave(subject)
            self._ended.append(subject)

    def ended(self, let_go: Callable[[], None] = lambda: None) -> Ended:
        """Judge the fixtures that have ended since the last call.

        pytest has let go of them, but for the test after which they ended: that is what `let_go`
        is for.
        """
        ended, bench = list(self._ended), self.bench
        judgements = (bench.judgement_on(subject, let_go) for subject in ended if bench is not None)
        told = [judgement for judgement in judgements if judgement is not None]
        # Not before: a signal may have ended this in the middle.
        del self._ended[: len(ended)]
        return Ended(told, [subject.key for subject in ended])

    def _rules_at(self, node: pytest.Item | pytest.Collector) -> Rules:
        try:
            return with_markers(self._rules, node)
        except pytest.UsageError:
            # The test that has the marker says so.
            return self._rules
