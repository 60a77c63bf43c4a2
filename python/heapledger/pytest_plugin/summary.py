"""The section at the end of the output: totals, the largest leaks, what failed nothing and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from heapledger.amounts import amounts_text, counted
from heapledger.failure_text import relative
from heapledger.pytest_plugin.annotations import annotation_lines, is_wanted
from heapledger.pytest_plugin.failure import blamed, summary_of
from heapledger.pytest_plugin.outcomes import FAILS, REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heapledger.pytest_plugin.record import Record

LARGEST_MAX = 5
LINES_MAX = 20
"""Lines of one list (fixtures, suppressions, baseline)."""


class Summary:
    """Writes the section, and annotations where GitHub reads them."""

    def __init__(self, record: Record, directory: str) -> None:
        """Know what is summed up, and where paths start."""
        self._record = record
        self._directory = directory

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section; when there is nothing to tell, one line."""
        lines = list(self._lines())
        quiet = terminalreporter.config.get_verbosity() < 0
        if not quiet or len(lines) > 1:
            terminalreporter.section("heapledger", yellow=bool(self._record.failing))
            for line in lines:
                terminalreporter.write_line(line)
        if is_wanted():
            for line in annotation_lines(self._record, self._directory):
                terminalreporter.write_line(line)

    def _lines(self) -> Iterator[str]:
        record = self._record
        yield f"{counted(len(record.ran), 'test')} watched{self._scope()}: {self._totals()}"
        yield from self._largest()
        outside = [j for j in record.failing if j["kind"] != "test"]
        for judgement in outside[:LINES_MAX]:
            yield f"{judgement['name']} ({judgement['nodeid'] or '.'}): {summary_of(judgement)}"
        yield from self._passing()
        rerun = sum(1 for one in record.judgements if one.get("rerun"))
        if rerun:
            yield f"{counted(rerun, 'attempt')} run again by another plugin, not counted"
        yield from _listed("unused suppression", record.unused_suppressions())
        if record.baseline.is_missing and not record.suite.update_baseline:
            path = record.suite.baseline
            yield f"the baseline {path} does not exist: --heapledger-update-baseline writes it"
        if record.suite.update_baseline:
            yield f"baseline written: {counted(len(record.known()), 'finding')} of these tests"
        else:
            stale = [f"{test} {kind} {site}" for test, kind, site in record.stale()]
            yield from _listed("in the baseline and not found any more", stale)

    def _scope(self) -> str:
        scopes = [scope for scope in self._record.scopes if scope]
        reasons = [reason for reason in self._record.scopes.values() if reason]
        text = f" in scope {'/'.join(scopes)}" if scopes else ""
        return f"{text} ({reasons[0]})" if reasons else text

    def _totals(self) -> str:
        errors: dict[str, int] = {}
        blocks = byte_count = 0
        for _, entry in self._record.entries((FAILS,)):
            finding = entry["finding"]
            if finding["kind"] == "leak":
                blocks, byte_count = blocks + finding["blocks"], byte_count + finding["bytes"]
            else:
                errors[finding["kind"]] = errors.get(finding["kind"], 0) + finding["count"]
        if not blocks and not errors:
            return "nothing failing"
        parts = [f"{count} {kind}" for kind, count in sorted(errors.items())]
        if blocks:
            parts.insert(0, f"{amounts_text(blocks, byte_count)} left behind")
        failed = sum(1 for one in self._record.failing if one["kind"] == "test")
        return f"{', '.join(parts)}; {counted(failed, 'test')} failed for it"

    def _largest(self) -> Iterator[str]:
        leaks = [
            (judgement, entry)
            for judgement, entry in self._record.entries((FAILS,))
            if entry["finding"]["kind"] == "leak"
        ]
        leaks.sort(key=lambda one: (-one[1]["finding"]["bytes"], one[0]["nodeid"]))
        if leaks:
            yield "largest leaks:"
        for judgement, entry in leaks[:LARGEST_MAX]:
            finding = entry["finding"]
            amounts = amounts_text(finding["blocks"], finding["bytes"])
            yield f"  {amounts}  {self._origin(finding, judgement)}  {_named(judgement)}"
        if len(leaks) > LARGEST_MAX:
            yield f"  ... and {len(leaks) - LARGEST_MAX} more"

    def _origin(self, finding: dict[str, Any], judgement: dict[str, Any]) -> str:
        file, line = blamed(finding, judgement, self._directory)
        foreign = finding["foreign_function"]
        place = f"{relative(file, self._directory)}:{line}"
        return place if foreign is None else f"{place} {foreign['name']}"

    def _passing(self) -> Iterator[str]:
        """Say what was found and failed nothing, by reason."""
        sums: dict[str, list[int]] = {}
        for _, entry in self._record.entries():
            if entry["verdict"] != FAILS:
                total = sums.setdefault(entry["verdict"], [0, 0, 0])
                is_leak = entry["finding"]["kind"] == "leak"
                total[0] += 1
                total[1] += entry["finding"]["blocks"] if is_leak else 0
                total[2] += entry["finding"]["bytes"] if is_leak else 0
        for judgement in self._record.final:
            for verdict, left_out in judgement["left_out"].items():
                total = sums.setdefault(verdict, [0, 0, 0])
                for number, unit in enumerate(("findings", "blocks", "bytes")):
                    total[number] += left_out[unit]
        for verdict in REASONS:
            if verdict in sums:
                findings, blocks, byte_count = sums[verdict]
                amounts = f" ({amounts_text(blocks, byte_count)})" if blocks else ""
                reason = REASONS[verdict]
                yield f"not failing: {counted(findings, 'finding')}{amounts} {reason}"


def _named(judgement: dict[str, Any]) -> str:
    if judgement["kind"] == "test":
        return str(judgement["nodeid"])
    return f"{judgement['name']} ({judgement['nodeid'] or '.'})"


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    for line in lines[:LINES_MAX]:
        yield f"{title}: {line}"
    if len(lines) > LINES_MAX:
        yield f"{title}: ... and {len(lines) - LINES_MAX} more"
