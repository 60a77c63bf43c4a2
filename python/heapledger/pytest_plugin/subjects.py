"""Subjects: the tests and fixtures whose memory is judged, and what belongs to each."""

from __future__ import annotations

import inspect
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


class Subject:
    """A test, a fixture of wider scope than one test, or the session outside of both.

    `parts` holds its stretches of time: those of part 0 are around the body, those of part N are
    the Nth run of it. `errors` are the findings that occurred in them, by fingerprint. Of one that
    `varies`, as examples drawn by chance make it do, how much it leaves says nothing.
    """

    # Not a dataclass: what makes those takes a millisecond, which a short suite would notice.
    __slots__ = (
        *("_code", "_place", "errors", "examples", "expects_failure", "failed", "kind", "name"),
        *("nodeid", "notes", "parts", "rules", "run_count", "varies"),
    )

    def __init__(
        self,
        kind: str,
        name: str,
        nodeid: str,
        rules: Rules,
        code: Callable[[], Place | None] = lambda: None,
    ) -> None:
        """Begin with nothing that happened; `code` finds the place of its code when asked."""
        self.kind = kind
        self.name = name
        self.nodeid = nodeid
        self.rules = rules
        self._code: Callable[[], Place | None] | None = code
        self._place: Place | None = None
        self.failed = False
        self.expects_failure = False
        self.varies = False
        self.parts: dict[int, list[Stretch]] = {}
        self.errors: dict[str, dict[str, Any]] = {}
        self.examples: dict[Group | str, str] = {}
        self.notes: list[str] = []
        self.run_count = 0

    @property
    def place(self) -> Place | None:
        """Where its code is; None: that is not known. Most subjects are never asked."""
        if self._code is not None:
            self._place, self._code = self._code(), None
        return self._place

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
    return Subject("test", item.name, item.nodeid, rules, lambda: _place_of_test(item))


# pytest takes functions whose names begin so for tests where it collects this module's names.
test_subject.__test__ = False  # type: ignore[attr-defined]


def fixture_subject(
    definition: pytest.FixtureDef[Any], request: pytest.FixtureRequest, rules: Rules
) -> Subject:
    """Return the subject of a fixture that outlives a test."""
    name = f"{definition.scope}-scoped fixture {_shown(definition.argname)}{_value_of(request)}"
    return Subject("fixture", name, request.node.nodeid, rules, lambda: place_of(definition.func))


def _place_of_test(item: pytest.Item) -> Place | None:
    doctest = getattr(item, "dtest", None)
    if doctest is not None:
        return Place(f"{DOCTEST}{doctest.name}[", "<module>")
    return place_of(getattr(item, "function", None))


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
