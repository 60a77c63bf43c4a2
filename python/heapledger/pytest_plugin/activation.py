"""What is in use in which process: the session with the library, the hooks, the files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from heapledger.errors import HeapledgerError
from heapledger.pytest_plugin.baseline import Baseline
from heapledger.pytest_plugin.beginning import Beginning, beginning_of, check_library
from heapledger.pytest_plugin.fixtures import Fixtures
from heapledger.pytest_plugin.outcomes import fails
from heapledger.pytest_plugin.protocol import Protocol
from heapledger.pytest_plugin.record import SENT, Closing, Record
from heapledger.pytest_plugin.suite import Suite, suite_of
from heapledger.pytest_plugin.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Generator

    from heapledger.pytest_plugin.bench import Bench
    from heapledger.pytest_plugin.reports import Told
    from heapledger.pytest_plugin.timeline import Timeline


def activate(config: pytest.Config) -> None:
    """Put the plugin's parts to use.

    Raises:
        pytest.UsageError: an option makes no sense, or a file cannot be read.
        LibraryNotFoundError: there is no library.
    """
    suite = suite_of(config, config.option)
    check_library(suite)
    try:
        baseline = Baseline.load(suite.baseline)
    except HeapledgerError as error:
        raise pytest.UsageError(f"--heapledger-baseline: {error}") from error
    plugins = config.pluginmanager
    record = None
    if not _is_worker(config):
        record = Record(suite, baseline)
        plugins.register(record, "heapledger-record")
        plugins.register(Summary(record, str(config.rootpath)), "heapledger-summary")
        plugins.register(SessionFiles(record), "heapledger-files")
    plugins.register(Session(config, suite, baseline, record), "heapledger-session")


class SessionFiles:
    """Writes the files of a session where it is reported."""

    def __init__(self, record: Record) -> None:
        """Begin now."""
        self._record = record
        self._began = time.time()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write them when all test processes have ended."""
        result = yield
        suite, record = self._record.suite, self._record
        try:
            if suite.json is not None:
                from heapledger.pytest_plugin import session_file

                session_file.write(record, suite.json, self._began)
            if suite.update_baseline and suite.baseline is not None:
                record.updated_baseline().save(suite.baseline)
        except HeapledgerError as error:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            _say(session.config, f"heapledger: a file could not be written: {error}")
        return result


class Session:
    """heapledger's session for as long as pytest's lasts, in a process that runs tests."""

    def __init__(
        self, config: pytest.Config, suite: Suite, baseline: Baseline, record: Record | None
    ) -> None:
        """Begin nothing yet."""
        self._config = config
        self._suite = suite
        self._baseline = baseline
        self._record = record
        self._beginning: Beginning | None = None
        self._told: Told | None = None
        self._bench: Bench | None = None
        self._fixtures: Fixtures | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Watch tests from now on, or from the moment in which the library's session begins."""
        beginning = self._beginning = beginning_of(self._config, self._suite)
        if beginning.trouble:
            raise pytest.UsageError(beginning.trouble)
        if _is_controller(self._config):
            # It only told, for the header, what the test processes will meet.
            beginning.end()
            return
        beginning.complain = lambda trouble: setattr(session, "shouldfail", trouble)
        rules = self._suite.rules
        fixtures = self._fixtures = Fixtures(beginning.timeline, rules)
        protocol = Protocol(rules, fixtures, beginning.begin)
        plugins = self._config.pluginmanager
        plugins.register(fixtures, "heapledger-fixtures")
        plugins.register(protocol, "heapledger-protocol")
        beginning.call_then(lambda: self._watch(beginning.timeline, fixtures, protocol))

    def _watch(self, timeline: Timeline, fixtures: Fixtures, protocol: Protocol) -> None:
        """Judge from now on."""
        from heapledger.pytest_plugin.bench import Bench
        from heapledger.pytest_plugin.examples import Examples
        from heapledger.pytest_plugin.repeat import Repeat
        from heapledger.pytest_plugin.reports import Told
        from heapledger.pytest_plugin.window import Window

        config = self._config
        told = self._told = Told(self._suite, str(config.rootpath), config.get_verbosity() > 0)
        bench = self._bench = Bench(told, self._baseline)
        fixtures.bench = bench
        window = Window(timeline, bench, fixtures, told)
        plugins = config.pluginmanager
        plugins.register(window, "heapledger-window")
        plugins.register(Repeat(timeline, window), "heapledger-repeat")
        plugins.register(Examples(window, bench), "heapledger-examples")
        protocol.hold_for(window)

    def pytest_report_header(self) -> str:
        """Say which scope is in use, and why it is not the one asked for."""
        beginning = self._beginning
        if beginning is None:
            return ""
        checks = ", ".join(self._suite.checks) or "none"
        because = f" ({beginning.reason})" if beginning.reason else ""
        return f"heapledger: scope {beginning.scope}{because}, checks {checks}"

    # Innermost: after pytest's last teardown, before the terminal's summary.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge what belongs to no test, after the last fixture was torn down."""
        result = yield
        beginning = self._beginning
        if beginning is None or self._fixtures is None:
            return result
        beginning.stop_waiting()
        beginning.timeline.drop_all()
        fixtures = self._fixtures.ended()
        judgements = fixtures.judgements + self._outside(beginning)
        used = [] if self._bench is None else sorted(self._bench.suppressions_used)
        closing = Closing(judgements, fixtures.keys, used, beginning.scope, beginning.reason)
        if self._record is None:
            self._config.workeroutput[SENT] = closing.to_dict()  # type: ignore[attr-defined]
        else:
            self._record.close(closing)
        if any(fails(judgement) for judgement in judgements) and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._tell(judgements)
        return result

    def _outside(self, beginning: Beginning) -> list[dict[str, Any]]:
        """Judge what happened outside of tests and fixtures."""
        if self._bench is None:
            return []
        # What lives there is the program's; only errors are told.
        beginning.outside.parts.clear()
        judgement = self._bench.judgement_on(beginning.outside, lambda: None)
        return [] if judgement is None else [judgement]

    def _tell(self, judgements: list[dict[str, Any]]) -> None:
        """Say on the terminal what fails and is no test's."""
        if self._told is None:
            return
        from heapledger.pytest_plugin.failure import failure_of

        for judgement in filter(fails, judgements):
            _say(self._config, failure_of(judgement, self._told).text)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _is_controller(config: pytest.Config) -> bool:
    """Tell whether xdist runs the tests in other processes."""
    return not _is_worker(config) and config.getoption("dist", "no") != "no"


def _say(config: pytest.Config, text: str) -> None:
    """Write a text on the terminal, if there is one."""
    terminal: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.ensure_newline()
        for line in text.splitlines():
            terminal.write_line(line)
