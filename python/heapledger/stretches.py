"""Stretches of time between marks, and what was allocated in one and is live now.

All are asked about when the verdict falls, so that what was released meanwhile is gone from the
stretch in which it was allocated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from heapledger._native import interface
from heapledger.amounts import amounts_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Leak = dict[str, Any]
    Group = tuple[object, str, bool]
    Leaks = dict[Group, Leak]

_COUNTS = re.compile(r"\b[\d,]+ blocks?, [\d,]+ bytes?\b")
"""Where the library's sentence about a leak says how much."""

NOW = 0
"""In the place of a stretch's end."""

EVERY = 2**64 - 1
"""More findings than there are."""


class Stretch(NamedTuple):
    """The time between two marks, by their numbers; without an end it lasts until now."""

    begin: int
    end: int = NOW


class Sum(NamedTuple):
    """Leaks of which nothing more is told."""

    findings: int = 0
    blocks: int = 0
    bytes: int = 0

    def plus(self, other: Sum) -> Sum:
        """Return both together."""
        return Sum(*(one + more for one, more in zip(self, other, strict=True)))


class Limits(NamedTuple):
    """How many findings about one stretch are told in full, those with most bytes first.

    `lost` are those about what nothing keeps, `kept` the others.
    """

    lost: int = EVERY
    kept: int = EVERY


ALL = Limits()


class Live(NamedTuple):
    """What is live: in full by groups, and what is left out."""

    leaks: Leaks
    left_out: Sum


def count_in(stretches: Iterable[Stretch], count_between: Callable[[int, int], int]) -> int:
    """Return how many blocks of these stretches `count_between` two marks counts."""
    return sum(count_between(*one) for one in stretches)


def live_in(stretches: Iterable[Stretch], limits: Limits = ALL, *, together: bool = False) -> Live:
    """Return the blocks that were allocated in these stretches and are live, as leaks.

    Blocks with the same stacks and family, all kept or all lost, are one group. Stretches may not
    overlap. With `together`, blocks that something keeps are of one group with those that nothing
    keeps: for growth, which counts either. What is kept is also said of the only block of its stack
    and not of the first of two, so it may change from one mark to the next.
    """
    live, left_out = Live({}, Sum()), Sum()
    for stretch in stretches:
        # Mostly nothing is left, and counting costs a tenth.
        if not interface.leak_count_between(*stretch):
            continue
        answer = interface.leaks_between(*stretch, *limits)
        for leak in answer["findings"]:
            _add(live.leaks, leak | {"kept_by": None} if together else leak)
        for sums in answer["left_out"].values():
            left_out = left_out.plus(Sum(**sums))
    return live._replace(left_out=left_out)


def group_of(leak: Leak) -> Group:
    """Return what makes blocks one group of a leak."""
    return leak["fingerprint"], leak["family"], bool(leak.get("kept_by"))


def resized(leak: Leak, blocks: int, byte_count: int) -> Leak:
    """Return the leak with other amounts, in its sentence too."""
    message = with_amounts(leak["message"], amounts_text(blocks, byte_count))
    return leak | {"blocks": blocks, "count": blocks, "bytes": byte_count, "message": message}


def with_amounts(message: str, amounts: str) -> str:
    """Return the sentence about a leak with other words for how much it is."""
    return _COUNTS.sub(amounts, message, count=1)


def _add(leaks: Leaks, leak: Leak) -> None:
    """Add `leak` to its group."""
    group = group_of(leak)
    known = leaks.get(group)
    if known is not None:
        leak = resized(leak, leak["blocks"] + known["blocks"], leak["bytes"] + known["bytes"])
    leaks[group] = leak
