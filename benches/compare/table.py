"""What many runs amount to, as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from compare.measure import Failure, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

_KIB_PER_MIB = 1024
_EMPTY = "empty"
_SECONDS_MIN = 0.02
"""A program that works for less says nothing beyond its start."""
_BYTES_PER_KIB = 1024


@dataclass
class Cell:
    """The runs of one workload under one tool, one for each round."""

    runs: list[Run] = field(default_factory=list)
    trouble: str | None = None

    def add(self, result: Run | Failure) -> None:
        """Add a round; the first failure stands for the cell."""
        if isinstance(result, Run):
            self.runs.append(result)
        elif self.trouble is None:
            self.trouble = result.reason

    def typical(self, value: Callable[[Run], float]) -> float:
        """Return the median of a value."""
        return median(value(run) for run in self.runs)


Results = dict[tuple[str, str], Cell]
"""By workload and tool."""

Show = Callable[[Results, str, str], str]
"""What stands in the place of a workload and a tool."""


def table(
    title: str,
    rows: Sequence[tuple[str, str]],
    tools: Sequence[str],
    cell: Callable[[str, str], str],
) -> str:
    """Return one table: `rows` are names and titles of workloads."""
    lines = [f"| {title} | {' | '.join(tools)} |", f"|---|{'---|' * len(tools)}"]
    for name, row_title in rows:
        cells = [cell(name, tool) for tool in tools]
        if any(text != "" for text in cells):
            lines.append(f"| {row_title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(results: Results, workload: str, tool: str) -> str:
    """Return processor time relative to the plain run of the same round: median (least-most)."""
    cell, plain = results.get((workload, tool)), results.get((workload, "plain"))
    if cell is None or plain is None:
        return ""
    if tool == "plain" and plain.runs:
        return f"{plain.typical(lambda run: run.cpu_seconds):.2f} s"
    pairs = list(zip(cell.runs, plain.runs, strict=False))
    if cell.trouble is not None or not pairs:
        return "failed"
    ratios = [run.cpu_seconds / base.cpu_seconds for run, base in pairs]
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def beyond_start(results: Results, workload: str, tool: str) -> str:
    """Return processor time relative to plain, that of the empty script taken from both."""
    cells = [results.get((name, of)) for of in (tool, "plain") for name in (workload, _EMPTY)]
    runs = [cell for cell in cells if cell is not None and cell.runs]
    if workload == _EMPTY or tool == "plain" or len(runs) != len(cells):
        return ""
    under, start, plain, plain_start = (cell.typical(lambda run: run.cpu_seconds) for cell in runs)
    if plain - plain_start < _SECONDS_MIN:
        return "too short"
    return f"{(under - start) / (plain - plain_start):.2f}"


def peak(results: Results, workload: str, tool: str) -> str:
    """Return the peak of resident memory in MiB."""
    return _typical(results, workload, tool, lambda run: run.peak_kib / _KIB_PER_MIB, "{:.0f}")


def capture(results: Results, workload: str, tool: str) -> str:
    """Return the size of what the tool wrote, in KiB."""
    value = _typical(
        results, workload, tool, lambda run: run.capture_bytes / _BYTES_PER_KIB, "{:.0f}"
    )
    return "" if value == "0" else value


def added(results: Results, workload: str, tool: str) -> str:
    """Return processor time in ms beyond the plain run."""
    cell, plain = results.get((workload, tool)), results.get((workload, "plain"))
    if cell is None or plain is None or not cell.runs or not plain.runs:
        return ""
    difference = cell.typical(lambda run: run.cpu_seconds) - plain.typical(
        lambda run: run.cpu_seconds
    )
    return f"{difference * 1_000:.0f}"


def said(results: Results, workload: str, tool: str) -> str:
    """Return the nanoseconds per pair, where the program says them."""
    cell = results.get((workload, tool))
    if cell is None or not cell.runs or "ns_per_pair" not in cell.runs[0].said:
        return ""
    return f"{cell.typical(lambda run: run.said['ns_per_pair']):.0f}"


def troubles(results: Results) -> list[str]:
    """Return a sentence for each failed cell."""
    return [
        f"{tool} on {workload}: {cell.trouble}"
        for (workload, tool), cell in results.items()
        if cell.trouble is not None
    ]


def _typical(
    results: Results, workload: str, tool: str, value: Callable[[Run], float], form: str
) -> str:
    cell = results.get((workload, tool))
    return form.format(cell.typical(value)) if cell is not None and cell.runs else ""
