"""What recurs: which blocks every run of something leaves, once the garbage is collected."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from heapledger._native import interface
from heapledger.amounts import amounts_text
from heapledger.stretches import resized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heapledger.stretches import Group, Leak, Leaks

COLLECTION_MAX = 3
"""Garbage collections at most: a finaliser may leave garbage to the next one."""


def recurring(runs: Sequence[Leaks]) -> dict[Group, tuple[Leak, list[int], list[int]]]:
    """Return the groups of which every run left some: the leak, its blocks and bytes by run."""
    found: dict[Group, tuple[Leak, list[int], list[int]]] = {}
    for group, leak in (runs[0] if runs else {}).items():
        if all(group in run for run in runs):
            counts = [int(run[group]["blocks"]) for run in runs]
            sizes = [int(run[group]["bytes"]) for run in runs]
            found[group] = resized(leak, sum(counts), sum(sizes)), counts, sizes
    return found


def collect_garbage(mark: int) -> int:
    """Collect garbage while that releases blocks allocated since `mark`; return how many live."""
    count = interface.leak_count_since(mark)
    for _ in range(COLLECTION_MAX):
        if count == 0:
            break
        before = count
        gc.collect()
        count = interface.leak_count_since(mark)
        if count == before:
            break
    return count


def per_run_text(counts: Sequence[int], sizes: Sequence[int]) -> str:
    """Say how much grows per run: "3 blocks, 24 bytes" or "2 to 3 blocks, 16 to 24 bytes"."""
    if min(counts) == max(counts) and min(sizes) == max(sizes):
        return amounts_text(counts[0], sizes[0])
    return f"{min(counts):,} to {max(counts):,} blocks, {min(sizes):,} to {max(sizes):,} bytes"
