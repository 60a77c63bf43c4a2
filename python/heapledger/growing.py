"""What grows each time a function is called."""

from __future__ import annotations

import builtins
import itertools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from heapledger._native import interface
from heapledger.errors import PointerTypeError, UsageError
from heapledger.records import Finding
from heapledger.recurring import collect_garbage, per_run_text, recurring
from heapledger.stretches import Stretch, live_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from heapledger.stretches import Leak


@dataclass(frozen=True, slots=True)
class Growth(Finding):
    """A leak that recurs: blocks with the same stacks, left behind by every measured run.

    `blocks` and `bytes` are the sums over the measured runs, `blocks_by_run` and `bytes_by_run`
    say how many were from each of them.
    """

    blocks_by_run: tuple[int, ...] = ()
    bytes_by_run: tuple[int, ...] = ()

    @property
    def blocks_per_run(self) -> float:
        """How many blocks one run leaves behind: exact where every run leaves the same."""
        return _mean(self.blocks_by_run)

    @property
    def bytes_per_run(self) -> float:
        """How many bytes one run leaves behind: exact where every run leaves the same."""
        return _mean(self.bytes_by_run)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        base = Finding.from_dict(source)
        known: dict[str, Any] = {field.name: getattr(base, field.name) for field in fields(Finding)}
        by_run: dict[str, Any] = {name: tuple(source.get(name) or ()) for name in BY_RUN}
        return cls(**known, **by_run)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return Finding.to_dict(self) | {name: list(getattr(self, name)) for name in BY_RUN}


BY_RUN = ("blocks_by_run", "bytes_by_run")


def growth(callable: Callable[[], object], *, runs: int = 5, warmup: int = 2) -> list[Growth]:
    """Call a function `warmup` + `runs` times; return what each of the last `runs` calls leaves.

    What the first calls allocate once (a cache, a table) is no growth, nor is what a later call or
    the garbage collector releases. The verdict falls after the last call: a group of blocks with
    the same stacks is returned when every measured call allocated some of it that is still live.
    Most blocks per run first. Other threads' allocations count.

    Raises:
        UsageError: `runs` is below one, or `warmup` below zero.
        PointerTypeError: it cannot be called.
    """
    if not builtins.callable(callable):
        raise PointerTypeError(f"a function is needed, got {type(callable).__name__}")
    if runs < 1 or warmup < 0:
        raise UsageError(f"a growth needs runs and no negative warm-up, got {runs} and {warmup}")
    for _ in range(warmup):
        callable()
    marks = [interface.mark()]
    for _ in range(runs):
        callable()
        marks.append(interface.mark())
    collect_garbage(marks[0])
    stretches = [Stretch(begin, end) for begin, end in itertools.pairwise(marks)]
    found = recurring([live_in([stretch], together=True).leaks for stretch in stretches])
    grown = [_growth(leak, counts, sizes) for leak, counts, sizes in found.values()]
    return sorted(grown, key=lambda one: (one.blocks_per_run, one.bytes_per_run), reverse=True)


def _growth(leak: Leak, counts: list[int], sizes: list[int]) -> Growth:
    per_run = per_run_text(counts, sizes)
    message = f"{leak['message']}: {per_run} in each of {len(counts)} runs"
    by_run = {"blocks_by_run": counts, "bytes_by_run": sizes}
    return Growth.from_dict(leak | {"message": message} | by_run)


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0
