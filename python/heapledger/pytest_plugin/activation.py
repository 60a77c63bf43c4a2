"""What is in use in which process: the session with the library, the hooks, the files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from heapledger.errors import HeapledgerError
from heapledger.pytest_plugin import session_file
from heapledger.pytest_plugin.baseline import Baseline
from heapledger.pytest_plugin.beginning import Beginning, beginning_of
from heapledger.pytest_plugin.bench import Bench, fails
from heapledger.pytest_plugin.examples import Examples
from heapledger.pytest_plugin.failure import failure_of
from heapledger.pytest_plugin.fixtures import Fixtures
from heapledger.pytest_plugin.protocol import Protocol
from heapledger.pytest_plugin.record import SENT, Closing, Record
from heapledger.pytest_plugin.repeat import Repeat
from heapledger.pytest_plugin.reports import Told
from heapledger.pytest_plugin.suite import Suite, suite_of
from heapledger.pytest_plugin.summary import Summary
from heapledger.pytest_plugin.window import Window

if TYPE_CHECKING:
    from collections.abc import Generator


def activate(config: pytest.Config) -> None:
    """Put the plugin's parts to use.

    Raises:
        pytest.UsageError: an option makes no sense, or a file cannot be read.
    """
    suite = suite_of(config, config.option)
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
        self._told = Told(suite, str(config.rootpath), config.get_verbosity() > 0)
        self._bench: Bench | None = None
        self._fixtures: Fixtures | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Watch tests from now on."""
        beginning = self._beginning = beginning_of(self._config, self._suite)
        if _is_controller(self._config):
            # It only told, for the header, what the test processes will meet.
            beginning.end()
            return
        timeline = beginning.timeline
        bench = self._bench = Bench(self._suite, self._baseline, self._told.directory)
        fixtures = self._fixtures = Fixtures(timeline, bench, self._suite.rules)
        window = Window(timeline, bench, fixtures, self._told)
        plugins = self._config.pluginmanager
        plugins.register(fixtures, "heapledger-fixtures")
        plugins.register(window, "heapledger-window")
        plugins.register(Repeat(timeline, window), "heapledger-repeat")
        plugins.register(Examples(window), "heapledger-examples")
        plugins.register(Protocol(window, self._suite.rules), "heapledger-protocol")

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
        if beginning is None or self._bench is None or self._fixtures is None:
            return result
        beginning.timeline.drop_all()
        fixtures = self._fixtures.ended()
        # What lives outside tests is the program's; only errors are told.
        beginning.outside.parts.clear()
        outside = self._bench.judgement_on(beginning.outside, lambda: None)
        judgements = fixtures.judgements + ([] if outside is None else [outside])
        used = sorted(self._bench.suppressions_used)
        closing = Closing(judgements, fixtures.keys, used, beginning.scope, beginning.reason)
        if self._record is None:
            self._config.workeroutput[SENT] = closing.to_dict()  # type: ignore[attr-defined]
        else:
            self._record.close(closing)
        if any(fails(judgement) for judgement in judgements) and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for judgement in filter(fails, judgements):
            _say(self._config, failure_of(judgement, self._told).text)
        return result


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
