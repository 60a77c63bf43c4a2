"""Stretches of time between marks, and what was allocated in one and is live now.

The library answers "since this mark". What belongs to a stretch that has ended is the difference of
two such answers; both are asked when the verdict falls, so that what was released meanwhile, in
whatever stretch, is gone from both.
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


class Stretch(NamedTuple):
    """The time between two marks, by their numbers; without an end it lasts until now."""

    begin: int
    end: int | None = None


def count_in(stretches: Iterable[Stretch], count_since: Callable[[int], int]) -> int:
    """Return how many blocks of these stretches `count_since` counts; it counts from a mark on."""
    total = 0
    for stretch in stretches:
        begun = count_since(stretch.begin)
        later = count_since(stretch.end) if begun and stretch.end is not None else 0
        # Another thread may have allocated between the two questions.
        total += max(begun - later, 0)
    return total


class Survey:
    """What is live at one moment. The library is asked at most once for each mark.

    With `together`, blocks that something keeps are of one group with those that nothing keeps: for
    growth, which counts either. What is kept is also said of the only block of its stack and not of
    the first of two, so it may change from one mark to the next.
    """

    def __init__(self, *, together: bool = False) -> None:
        """Begin with no answer."""
        self._together = together
        self._answers: dict[int, Leaks] = {}

    def live_in(self, stretches: Iterable[Stretch]) -> Leaks:
        """Return the blocks that were allocated in these stretches and are live, as leaks.

        Blocks with the same stacks and family, all kept or all lost, are one group. Stretches may
        not overlap.
        """
        live: Leaks = {}
        for stretch in stretches:
            later = {} if stretch.end is None else self._since(stretch.end)
            for group, leak in self._since(stretch.begin).items():
                _add(live, group, leak, later.get(group))
        return live

    def _since(self, mark: int) -> Leaks:
        if mark not in self._answers:
            leaks: Leaks = {}
            # Mostly nothing is left, and counting costs a tenth.
            for leak in interface.leaks_since(mark) if interface.leak_count_since(mark) else ():
                told = leak | {"kept_by": None} if self._together else leak
                _add(leaks, group_of(told), told, None)
            self._answers[mark] = leaks
        return self._answers[mark]


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


def _add(leaks: Leaks, group: Group, leak: Leak, less: Leak | None) -> None:
    """Add `leak` to its group, without what `less` has of it."""
    known = leaks.get(group)
    blocks, byte_count = leak["blocks"], leak["bytes"]
    if less is not None:
        # Another thread may have allocated between the two questions.
        blocks, byte_count = max(blocks - less["blocks"], 0), max(byte_count - less["bytes"], 0)
    if known is not None:
        blocks, byte_count = blocks + known["blocks"], byte_count + known["bytes"]
    if blocks:
        unchanged = (blocks, byte_count) == (leak["blocks"], leak["bytes"])
        leaks[group] = leak if unchanged else resized(leak, blocks, byte_count)
