"""The library's session for a run of pytest: begun, or found to be there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import _pytest.config
import _pytest.main
import _pytest.runner
import pluggy

from heapledger import session
from heapledger._native import interface
from heapledger.errors import StateError, UnsupportedError
from heapledger.pytest_plugin import beginning

if TYPE_CHECKING:
    from heapledger.pytest_plugin.suite import Suite

EXPLICIT = "explicit"
OTHERS = "of a session that was begun before"

MACHINERY = (
    os.path.join(os.path.dirname(pluggy.__file__), ""),
    os.path.join(os.path.dirname(_pytest.config.__file__), ""),
    _pytest.main.__file__,
    _pytest.runner.__file__,
    beginning.__file__,
)
"""Code of pytest that is on the stack of every test, thirty frames of it: left out, for each
finding has its stacks. What calls tests and fixtures stays: it ends the stacks that are shown."""

PYTEST_IN_PYTEST = "_pytest.pytester"
"""With this module the process may run pytest within a test: it is not ours alone then, and what is
left out is left out for good."""


class Opened(NamedTuple):
    """A session: its scope, why it is not the one asked for, and whether it is ours to end."""

    scope: str
    reason: str = ""
    is_ours: bool = False


def opened(suite: Suite) -> Opened:
    """Begin a session that gives way to one which the program starts itself."""
    options: dict[str, Any] = {"checks": suite.checks, "native_stacks": suite.native_stacks}
    try:
        session.start_for_now(scope=suite.scope, **options)
    except StateError:
        return Opened(suite.scope, OTHERS)
    except UnsupportedError as error:
        session.start_for_now(scope=EXPLICIT, **options)
        reason = f"{suite.scope} is not supported here: {error}"
        return Opened(EXPLICIT, reason, is_ours=True)
    if PYTEST_IN_PYTEST not in sys.modules:
        for files in MACHINERY:
            interface.hide_directory(files)
    return Opened(suite.scope, is_ours=True)


def confirmed(one: Opened) -> Opened:
    """Let the session stay from now on; the program may have put its own in its place."""
    if one.is_ours and not session.confirm():
        return one._replace(reason=OTHERS, is_ours=False)
    return one


def closed(one: Opened) -> Opened:
    """End the session if it is ours."""
    if one.is_ours:
        session.stop()
    return one._replace(is_ours=False)
