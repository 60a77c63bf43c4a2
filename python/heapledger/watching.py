"""Watching a stretch of the program: what leaked in it and what went wrong."""

from __future__ import annotations

import gc
import operator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from heapledger import reports
from heapledger._native import interface
from heapledger.errors import LeakError, UsageError
from heapledger.occurrences import Occurrences
from heapledger.records import Finding
from heapledger.session import mark, stats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from heapledger.records import Mark, Stats


class Watch:
    """What happened since a point in time, until the end of the `with` or until now.

    A watch is about the whole process: blocks that other threads allocate in the meantime count.
    Watches may be nested and may overlap in threads. When the `with` ends, the answers stay as they
    were at that moment; blocks that only wait for the garbage collector are collected first.
    """

    def __init__(self) -> None:
        """Begin now."""
        self._stats_before = stats()
        self._mark: Mark = mark()
        self._occurrences = Occurrences()
        self._leaks: list[dict[str, Any]] | None = None
        self._findings: list[Finding] | None = None
        self._stats: Stats | None = None

    @property
    def leaks(self) -> list[Finding]:
        """The blocks allocated inside that are live, those with the same stacks as one.

        What a library keeps for itself is among them, and says so in `kept_by`.
        """
        return [Finding.from_dict(leak) for leak in self._leak_records()]

    @property
    def findings(self) -> list[Finding]:
        """The errors detected inside, leaks not included; `count` is how often, inside."""
        return list(self._found() if self._findings is None else self._findings)

    @property
    def stats(self) -> Stats:
        """What was added inside: `live_*` is growth, `total_*` all that was allocated."""
        return stats().since(self._stats_before) if self._stats is None else self._stats

    def lost(self) -> list[dict[str, Any]]:
        """Return the JSON form of the leaks that nothing keeps."""
        return [leak for leak in self._leak_records() if not leak.get("kept_by")]

    def end(self) -> None:
        """Keep the answers as they are now; only the first call counts."""
        if self._leaks is not None:
            return
        if interface.leak_count_since(self._mark.number):
            gc.collect()
        self._leaks = interface.leaks_since(self._mark.number)
        self._findings = self._found()
        self._stats = stats().since(self._stats_before)

    def __enter__(self) -> Self:
        """Give the watch to the `with` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the watch."""
        self.end()

    def _found(self) -> list[Finding]:
        return [Finding.from_dict(found) for found in self._occurrences.new(self._mark.number)]

    def _leak_records(self) -> list[dict[str, Any]]:
        return interface.leaks_since(self._mark.number) if self._leaks is None else self._leaks


def watch() -> Watch:
    """Watch what happens from here: `with heapledger.watch() as w: ...`, then `w.leaks`."""
    return Watch()


@contextmanager
def no_leaks(max_blocks: int = 0) -> Iterator[Watch]:
    """Assert that a stretch of the program leaves no more than `max_blocks` blocks behind.

    Blocks that a library's own data still refers to (`Finding.kept_by`) do not count.

    Use it in a `with`, or as a decorator. An exception of the body goes through unchanged.

    Raises:
        LeakError: more blocks were left behind (an `AssertionError`); its message is the report.
        UsageError: `max_blocks` is below zero.
    """
    max_blocks = operator.index(max_blocks)
    if max_blocks < 0:
        raise UsageError(f"max_blocks cannot be {max_blocks}")
    with watch() as watched:
        yield watched
    lost = watched.lost()
    count = sum(int(leak["blocks"]) for leak in lost)
    if count > max_blocks:
        byte_count = sum(int(leak["bytes"]) for leak in lost)
        blocks = "1 block" if count == 1 else f"{count} blocks"
        raise LeakError(
            f"{blocks} of native memory ({byte_count} bytes) left behind, {max_blocks} allowed\n\n"
            f"{reports.text_about(lost)}",
            [Finding.from_dict(leak) for leak in lost],
        )
