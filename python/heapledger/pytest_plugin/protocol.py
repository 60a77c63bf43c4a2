"""Holding the report of a test's call back until its teardown is over and its memory judged.

pytest publishes "passed" before the teardown. Here it is published after it, so that a leak is that
test's failure, counted once, and not an error beside a success.

This is so before the session begins, too: it may begin in the middle of a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import call_and_report, show_test_item

from heapledger.pytest_plugin.outcomes import ATTRIBUTE, FIXTURES, has_raised
from heapledger.pytest_plugin.rules import MARKER, with_markers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from heapledger.pytest_plugin.fixtures import Fixtures
    from heapledger.pytest_plugin.rules import Rules
    from heapledger.pytest_plugin.window import Window

RUNNER = "_pytest.runner"
FLAKY_PLUGIN = "flaky"
FLAKY_ATTRIBUTE = "_flaky_max_runs"


class Protocol:
    """Runs tests in pytest's place, unless another plugin does."""

    def __init__(self, rules: Rules, fixtures: Fixtures, begin: Callable[[], None]) -> None:
        """Wait for a window; `begin` has the session begin, which opens one."""
        self._rules = rules
        self._fixtures = fixtures
        self._begin = begin
        self._window: Window | None = None
        self._item: pytest.Item | None = None
        self._made: list[pytest.TestReport] = []
        self._held: list[pytest.TestReport] = []

    def hold_for(self, window: Window) -> None:
        """Let the window change what is held back, for the test under way too."""
        self._window = window
        if self._item is not None:
            window.open_late(self._item, self._made, self._held)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a test, its reports held back; let plugins that run tests themselves go first.

        Those may publish as pytest does: then a leak is an error at the teardown.
        """
        if not self._watches(item):
            return None
        self._item, self._made, self._held = item, [], []
        try:
            for other in self._others(item):
                arguments = {"item": item, "nextitem": nextitem}
                result = other.function(*(arguments[name] for name in other.argnames))
                if result is not None:
                    return result
            self._run_and_publish(item, nextitem)
        finally:
            self._item = None
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say of a test that ends before the session begins that there is nothing to say."""
        if self._window is None and report.when == "teardown":
            setattr(report, ATTRIBUTE, [])
            setattr(report, FIXTURES, self._fixtures.ended().keys)

    def _run_and_publish(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            self._run(item, nextitem)
        finally:
            attempt = None if self._window is None else self._window.attempt
            for report in self._held if attempt is None else attempt.held():
                hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _run(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Do what pytest's own `runtestprotocol` does, and hold the call's report back."""
        has_request = hasattr(item, "_request")
        if has_request and not item._request:  # type: ignore[attr-defined]
            # It was run before: another plugin runs it again.
            item._initrequest()  # type: ignore[attr-defined]
        try:
            setup = call_and_report(item, "setup", log=True)
            self._made.append(setup)
            setup_only = bool(item.config.getoption("setuponly", False))
            if setup.passed and item.config.getoption("setupshow", False):
                show_test_item(item, **_spacing(setup_only))
            if setup.passed and not setup_only:
                call = call_and_report(item, "call", log=False)
                self._made.append(call)
                if has_raised(call) and item.config.getvalue("maxfail"):
                    # At once, so that the session's end comes with this test's teardown.
                    item.ihook.pytest_runtest_logreport(report=call)
                else:
                    self._held.append(call)
            if item.session.shouldfail or item.session.shouldstop:
                nextitem = None
            self._held.append(call_and_report(item, "teardown", log=False, nextitem=nextitem))
        finally:
            if has_request:
                item._request = False  # type: ignore[attr-defined]
                item.funcargs = None  # type: ignore[attr-defined]

    def _watches(self, item: pytest.Item) -> bool:
        if next(item.iter_markers(MARKER), None) is None:
            return self._rules.enabled
        if self._window is None:
            # It may ask for several runs, which are to be told from each other.
            self._begin()
        try:
            return with_markers(self._rules, item).enabled
        except pytest.UsageError:
            return True

    def _others(self, item: pytest.Item) -> Iterator[Any]:
        """Yield the implementations of other plugins in the order pytest would call them."""
        for implementation in reversed(item.ihook.pytest_runtest_protocol.get_hookimpls()):
            plugin = implementation.plugin
            is_wrapper = implementation.wrapper or implementation.hookwrapper
            if is_wrapper or plugin is self or getattr(plugin, "__name__", "") == RUNNER:
                continue
            if implementation.plugin_name == FLAKY_PLUGIN and not _is_flaky(item):
                # It would run all tests in pytest's way, whether they are flaky or not.
                continue
            yield implementation


def _is_flaky(item: pytest.Item) -> bool:
    if item.config.getoption("force_flaky", False) or item.get_closest_marker("flaky"):
        return True
    tested = (getattr(item, "obj", None), getattr(item, "cls", None))
    return any(hasattr(one, FLAKY_ATTRIBUTE) for one in tested)


def _spacing(setup_only: bool) -> dict[str, bool]:
    """Return the arguments of `show_test_item`, which pytest 9 has given one."""
    takes_space = "add_space" in show_test_item.__code__.co_varnames
    return {"add_space": not setup_only} if takes_space else {}
