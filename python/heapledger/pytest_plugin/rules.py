"""The rules by which the memory of one test is judged: the suite's, then the markers'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from heapledger.kinds import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MARKER = "heapledger"
KEPT = ("report", "fail")
REPEAT_MAX = 1_000_000
DOUBTFUL_KINDS = frozenset({"truncated-pointer"})
"""Kinds that fail a test only when named: a function without a result may leave the bits of a
pointer where ctypes looks for one."""


class Rules(NamedTuple):
    """How one test is judged.

    `max_blocks` and `max_bytes` are what it may leave behind (with `repeat`: per run); None: that
    unit is not limited. Without either, nothing may be left. `kinds` None: all but the doubtful.
    """

    enabled: bool = True
    repeat: int = 1
    max_blocks: int | None = None
    max_bytes: int | None = None
    kinds: frozenset[str] | None = None
    kept: str = "report"

    def counts(self, kind: str) -> bool:
        """Tell whether a finding of this kind fails a test."""
        return kind not in DOUBTFUL_KINDS if self.kinds is None else kind in self.kinds

    def allows(self, blocks: int, byte_count: int) -> bool:
        """Tell whether a test may leave so much behind."""
        if self.max_blocks is None and self.max_bytes is None:
            return blocks == 0
        within_blocks = self.max_blocks is None or blocks <= self.max_blocks
        return within_blocks and (self.max_bytes is None or byte_count <= self.max_bytes)


def with_markers(rules: Rules, node: pytest.Item | pytest.Collector) -> Rules:
    """Return the rules as the markers of a test change them; of several the nearest counts.

    Raises:
        pytest.UsageError: a marker has an argument that makes no sense; the message names it.
    """
    for marker in reversed(list(node.iter_markers(MARKER))):
        try:
            rules = _changed(rules, marker)
        except (ValueError, TypeError) as error:
            raise pytest.UsageError(f"{node.nodeid}: @pytest.mark.heapledger: {error}") from error
    return rules


def count_in(value: object, *, least: int = 0, most: int | None = None) -> int:
    """Return a number in a range, from text too."""
    is_text_of_one = isinstance(value, str) and value.strip().lstrip("-").isdecimal()
    number = int(str(value)) if is_text_of_one else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"a whole number is needed, got {value!r}")
    if number < least or (most is not None and number > most):
        raise ValueError(f"{number} is out of range: {least} to {'any' if most is None else most}")
    return number


def kinds_in(value: object) -> frozenset[str]:
    """Return kinds of findings, from a list or from text with commas."""
    names = value.split(",") if isinstance(value, str) else _names_in(value)
    kinds = frozenset(name.strip() for name in names if name.strip())
    unknown = sorted(kinds.difference(FINDING_KINDS))
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}: known are {', '.join(FINDING_KINDS)}")
    return kinds


def truth_in(value: object) -> bool:
    """Return a truth value, and nothing that is only taken for one."""
    if not isinstance(value, bool):
        raise ValueError(f"True or False is needed, got {value!r}")
    return value


def kept_in(value: object) -> str:
    """Return what happens to blocks that a library keeps."""
    if value not in KEPT:
        raise ValueError(f"kept is one of {', '.join(KEPT)}, not {value!r}")
    return str(value)


READERS: dict[str, Callable[[Any], object]] = {
    "enabled": truth_in,
    "repeat": lambda value: count_in(value, least=1, most=REPEAT_MAX),
    "max_blocks": count_in,
    "max_bytes": count_in,
    "kinds": kinds_in,
    "kept": kept_in,
}
"""Every argument of the marker, and how it is read."""


def _changed(rules: Rules, marker: pytest.Mark) -> Rules:
    if marker.args:
        raise TypeError(f"its arguments have names: {', '.join(READERS)}")
    changes: dict[str, Any] = {}
    for name, value in marker.kwargs.items():
        if name not in READERS:
            raise TypeError(f"unknown argument {name!r}: known are {', '.join(READERS)}")
        try:
            changes[name] = READERS[name](value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from error
    # A limit by one unit replaces an outer limit by the other.
    if ("max_blocks" in changes) != ("max_bytes" in changes):
        changes = {"max_blocks": None, "max_bytes": None} | changes
    return rules._replace(**changes)


def _names_in(value: object) -> Iterable[str]:
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(n, str) for n in value):
        return value
    raise TypeError(f"a list of kinds is needed, got {value!r}")
