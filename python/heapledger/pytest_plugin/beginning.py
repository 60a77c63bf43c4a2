"""The beginning of the library's session: as late as it can be, and never too late.

At the latest it is before the first conftest file, when that can make foreign calls: such a file
imports what is tested, and with it the library's own start, and what that allocates is to be on
record, or nobody knows later whose memory it is. Where nothing can make a foreign call yet, it
waits for the import that will.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from heapledger._native import place
from heapledger.options import VARIABLE
from heapledger.pytest_plugin.subjects import session_subject
from heapledger.pytest_plugin.suite import suite_of
from heapledger.pytest_plugin.timeline import Timeline
from heapledger_pytest.imports import CALLERS, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from heapledger.pytest_plugin.opening import Opened
    from heapledger.pytest_plugin.suite import Suite

PRELOAD = "LD_PRELOAD"
EVERYTHING = "process"
"""The scope in which native memory is recorded that Python has nothing to do with."""


class Beginning:
    """The session as it begins: its scope, why it is not the one asked for, and its time.

    `outside` is the subject of what happens outside tests and fixtures; `trouble` is why the
    session could not begin within an import, and `complain` is told of it.
    """

    def __init__(self, suite: Suite) -> None:
        """Begin at once, or when it becomes possible that a foreign call is made."""
        self._suite = suite
        self._opened: Opened | None = None
        self._is_confirmed = False
        self._then: list[Callable[[], None]] = []
        self.outside = session_subject()
        self.timeline = Timeline(self.outside)
        self.trouble = ""
        self.complain: Callable[[str], None] | None = None
        if _can_wait(suite):
            watch.call_before(self._begin_on_import)
        else:
            self._begin()

    @property
    def scope(self) -> str:
        """The scope of the session; before it begins, the one that it is meant to have."""
        return self._suite.scope if self._opened is None else self._opened.scope

    @property
    def reason(self) -> str:
        """Why the scope is not the one asked for."""
        return "" if self._opened is None else self._opened.reason

    def confirm(self) -> None:
        """Let the session stay; one that the program has started meanwhile is used instead."""
        self._is_confirmed = True
        if self._opened is not None:
            from heapledger.pytest_plugin.opening import confirmed

            self._opened = confirmed(self._opened)

    def call_then(self, function: Callable[[], None]) -> None:
        """Call a function once the session has begun."""
        if self._opened is None:
            self._then.append(function)
        else:
            function()

    def stop_waiting(self) -> None:
        """Begin no more."""
        watch.end()

    def end(self) -> None:
        """End the session if it is ours; one that has not begun never will."""
        self.stop_waiting()
        if self._opened is not None:
            from heapledger.pytest_plugin.opening import closed

            self._opened = closed(self._opened)

    def begin(self) -> None:
        """Begin now, if it has not."""
        if self._opened is None:
            self.stop_waiting()
            self._begin()

    def _begin(self) -> None:
        from heapledger.pytest_plugin.opening import opened

        self._opened = opened(self._suite)
        if self._is_confirmed:
            self.confirm()
        self.timeline.awake()
        for function in self._then:
            function()

    def _begin_on_import(self) -> None:
        """Begin within an import statement of the program, which is not to fail for it."""
        try:
            self._begin()
        except Exception as error:
            self.trouble = f"heapledger: {error}"
            if self.complain is not None:
                self.complain(self.trouble)


_BEGINNING = pytest.StashKey[Beginning]()


def check_library(suite: Suite) -> None:
    """Look whether there is a library, where it is not loaded before it is needed.

    Raises:
        LibraryNotFoundError: there is none.
    """
    if _can_wait(suite):
        place.existing_file_name()


def begin_early(config: pytest.Config) -> None:
    """Begin before conftest files are loaded; one of them may still start a session of its own.

    What is wrong with the settings is said later, where pytest expects it.
    """
    if config.stash.get(_BEGINNING, None) is not None:
        return
    try:
        suite = suite_of(config, config.known_args_namespace)
    except pytest.UsageError:
        return
    _begun(config, suite)


def beginning_of(config: pytest.Config, suite: Suite) -> Beginning:
    """Return how the session begins, and begin it now if it has not."""
    known = config.stash.get(_BEGINNING, None)
    beginning = _begun(config, suite) if known is None else known
    beginning.confirm()
    return beginning


def _begun(config: pytest.Config, suite: Suite) -> Beginning:
    beginning = config.stash[_BEGINNING] = Beginning(suite)
    config.add_cleanup(beginning.end)
    return beginning


def _can_wait(suite: Suite) -> bool:
    """Tell whether nothing is to be recorded before a certain import.

    In scope process everything is, and a session of the environment is under way already.
    """
    is_loaded = any(name in sys.modules for name in CALLERS)
    is_preloaded = VARIABLE in os.environ or "heapledger" in os.environ.get(PRELOAD, "")
    may_wait = suite.scope != EVERYTHING and suite.rules.repeat == 1
    return may_wait and not is_loaded and not is_preloaded
