"""The beginning of the library's session: before pytest loads the first conftest file.

A conftest file imports what is tested, and with it the library's own start: what that allocates is
to be on record, or nobody knows later whose memory it is.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import _pytest.config
import _pytest.main
import _pytest.runner
import pluggy
import pytest

from heapledger import session
from heapledger._native import interface
from heapledger.errors import StateError, UnsupportedError
from heapledger.pytest_plugin.subjects import session_subject
from heapledger.pytest_plugin.suite import suite_of
from heapledger.pytest_plugin.timeline import Timeline

if TYPE_CHECKING:
    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.suite import Suite

EXPLICIT = "explicit"
OTHERS = "of a session that was begun before"


@dataclass(slots=True)
class Beginning:
    """The session as it began: its scope, why it is not the one asked for, and its time.

    `outside` is the subject of what happens outside tests and fixtures.
    """

    scope: str
    reason: str = ""
    is_ours: bool = False
    outside: Subject = field(default_factory=session_subject)
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the session's own time."""
        self.timeline = Timeline(self.outside)

    def end(self) -> None:
        """End the session if it is ours."""
        if self.is_ours:
            self.is_ours = False
            session.stop()


MACHINERY = (
    os.path.join(os.path.dirname(pluggy.__file__), ""),
    os.path.join(os.path.dirname(_pytest.config.__file__), ""),
    _pytest.main.__file__,
    _pytest.runner.__file__,
)
"""Code of pytest that is on the stack of every test, thirty frames of it: left out, for each
finding has its stacks. What calls tests and fixtures stays: it ends the stacks that are shown."""

PYTEST_IN_PYTEST = "_pytest.pytester"
"""With this module the process may run pytest within a test: it is not ours alone then, and what is
left out is left out for good."""

_BEGINNING = pytest.StashKey[Beginning]()


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
    begun = config.stash[_BEGINNING] = _begun(suite)
    config.add_cleanup(begun.end)


def beginning_of(config: pytest.Config, suite: Suite) -> Beginning:
    """Return how the session began, and begin it now if it has not."""
    begun = config.stash.get(_BEGINNING, None)
    if begun is None:
        begun = config.stash[_BEGINNING] = _begun(suite)
        config.add_cleanup(begun.end)
    if begun.is_ours and not session.confirm():
        begun.is_ours, begun.reason = False, OTHERS
    return begun


def _begun(suite: Suite) -> Beginning:
    options: dict[str, Any] = {"checks": suite.checks, "native_stacks": suite.native_stacks}
    try:
        session.start_for_now(scope=suite.scope, **options)
    except StateError:
        return Beginning(suite.scope, OTHERS)
    except UnsupportedError as error:
        session.start_for_now(scope=EXPLICIT, **options)
        reason = f"{suite.scope} is not supported here: {error}"
        return Beginning(EXPLICIT, reason, is_ours=True)
    if PYTEST_IN_PYTEST not in sys.modules:
        for files in MACHINERY:
            interface.hide_directory(files)
    return Beginning(suite.scope, is_ours=True)
