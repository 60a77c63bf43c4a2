"""Subjects: the tests and fixtures whose memory is judged, and what belongs to each."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heapledger.failure_text import DOCTEST, Place
from heapledger.pytest_plugin.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from heapledger.stretches import Group, Stretch

AROUND = 0
"""The part of a test that is not its body: fixtures and teardown; without repetition, all of it."""

VALUE_LENGTH_MAX = 40
"""Of a parametrised fixture's value."""


@dataclass(slots=True)
class Subject:
    """A test, a fixture of wider scope than one test, or the session outside of both.

    `parts` holds its stretches of time: those of part 0 are around the body, those of part N are
    the Nth run of it. `errors` are the findings that occurred in them, by fingerprint.
    """

    kind: str
    name: str
    nodeid: str
    rules: Rules
    place: Place | None = None
    failed: bool = False
    parts: dict[int, list[Stretch]] = field(default_factory=dict)
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[Group | str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    run_count: int = 0

    @property
    def key(self) -> str:
        """What a baseline calls it; the same in every process and session."""
        return key_of(self.kind, self.name, self.nodeid)

    @property
    def has_something(self) -> bool:
        """Whether anything was recorded that a verdict could be about."""
        return bool(self.parts or self.errors)


def key_of(kind: str, name: str, nodeid: str) -> str:
    """Return what a baseline calls a subject: a test by its node id, others with their names."""
    return nodeid if kind == "test" else f"{nodeid or '.'} ({name})"


def session_subject() -> Subject:
    """Return the subject of what happens outside tests and fixtures."""
    return Subject("session", "the session, outside tests", "", Rules())


def test_subject(item: pytest.Item, rules: Rules) -> Subject:
    """Return the subject of a test."""
    doctest = getattr(item, "dtest", None)
    if doctest is not None:
        place: Place | None = Place(f"{DOCTEST}{doctest.name}[", "<module>")
    else:
        place = place_of(getattr(item, "function", None))
    return Subject("test", item.name, item.nodeid, rules, place)


# pytest takes functions whose names begin so for tests where it collects this module's names.
test_subject.__test__ = False  # type: ignore[attr-defined]


def fixture_subject(
    definition: pytest.FixtureDef[Any], request: pytest.FixtureRequest, rules: Rules
) -> Subject:
    """Return the subject of a fixture that outlives a test."""
    name = f"{definition.scope}-scoped fixture {_shown(definition.argname)}{_value_of(request)}"
    return Subject("fixture", name, request.node.nodeid, rules, place_of(definition.func))


def place_of(function: Callable[..., Any] | None) -> Place | None:
    """Return the place of a function's own code, decorations aside."""
    if function is None:
        return None
    # Hypothesis keeps the function that was decorated.
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    code = getattr(inspect.unwrap(inner), "__code__", None)
    return None if code is None else Place(code.co_filename, code.co_qualname)


def _shown(argument_name: str) -> str:
    """Return a fixture's name; pytest makes fixtures of `setup_module` and `setUpClass` too."""
    for known in ("setup_module", "setup_class", "setUpClass"):
        if f"_{known}_fixture_" in argument_name:
            return known
    return argument_name


def _value_of(request: pytest.FixtureRequest) -> str:
    """Return which of its values a parametrised fixture has, as pytest names tests by them."""
    if not hasattr(request, "param"):
        return ""
    value = request.param
    is_plain = value is None or isinstance(value, (str, bytes, int, float))
    text = str(value) if is_plain else type(value).__name__
    return f"[{text[:VALUE_LENGTH_MAX]}]"
