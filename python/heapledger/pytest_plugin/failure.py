"""The text of a failed subject, in pytest's form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from _pytest._code.code import (
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)

from heapledger.amounts import amounts_text, counted
from heapledger.failure_text import DOCTEST, Layout, Place, relative, text_of, trimmed
from heapledger.pytest_plugin.outcomes import FAILS, REASONS

if TYPE_CHECKING:
    from heapledger.pytest_plugin.reports import Told

    Judgement = dict[str, Any]


class Failure(NamedTuple):
    """Why a subject fails: one line, the text below it, and the line of code to blame."""

    summary: str
    text: str
    file: str
    line: int

    def representation(self) -> ReprExceptionInfo:
        """Return it as pytest represents an exception; this form travels between processes."""
        entry = ReprEntryNative([f"{self.text}\n"])
        location = ReprFileLocation(self.file, self.line, f"heapledger: {self.summary}")
        return ReprExceptionInfo(ReprTraceback([entry], None, "native"), location)


def failure_of(judgement: Judgement, told: Told) -> Failure:
    """Return why the subject fails."""
    failing = [entry for entry in judgement["entries"] if entry["verdict"] == FAILS]
    summary = summary_of(judgement)
    headline = f"heapledger: {summary}"
    if judgement["kind"] != "test":
        headline += f" by {judgement['name']}"
    findings = [entry["finding"] for entry in failing]
    layout = layout_of(judgement, told)
    body = text_of(findings, _closing(judgement, layout.full), layout)
    file, line = blamed(failing[0]["finding"], judgement, told.directory)
    return Failure(summary, f"{headline}\n{body}", file, line)


def section_of(judgement: Judgement, told: Told) -> str:
    """Return what stands under a test that failed for a reason of its own; may be empty."""
    shown = [entry["finding"] for entry in judgement["entries"] if entry["verdict"] == "unjudged"]
    if not shown:
        return ""
    closing = ["The test fails anyway and its traceback keeps objects alive: not judged."]
    return text_of(shown, closing, layout_of(judgement, told))


def summary_of(judgement: Judgement) -> str:
    """Return what fails, in one line."""
    failing = [entry for entry in judgement["entries"] if entry["verdict"] == FAILS]
    leaks = [entry for entry in failing if entry["finding"]["kind"] == "leak"]
    kinds: dict[str, int] = {}
    for entry in failing:
        if entry["finding"]["kind"] != "leak":
            kind = entry["finding"]["kind"]
            kinds[kind] = kinds.get(kind, 0) + entry["finding"]["count"]
    parts = [f"{kind}{f' ({count} times)' if count > 1 else ''}" for kind, count in kinds.items()]
    if leaks:
        blocks, byte_count = (sum(leak[unit] for leak in leaks) for unit in ("blocks", "bytes"))
        per_run = " per run" if judgement["run_count"] > 1 else ""
        parts.append(f"{amounts_text(blocks, byte_count)} left behind{per_run}")
    return ", ".join(parts)


def layout_of(judgement: Judgement, told: Told) -> Layout:
    """Return how the judgement's findings are shown."""
    return Layout(own_place(judgement), told.directory, told.full)


def blamed(finding: dict[str, Any], judgement: Judgement, directory: str) -> tuple[str, int]:
    """Return file and line to point at: the outermost of the suite's own, which is the test's.

    Where nothing on the stack lies below `directory`, it is the innermost.
    """
    own = own_place(judgement)
    stacks = finding["stacks"]
    frames = trimmed(stacks.get("here") or stacks.get("allocated") or (), own)
    if not frames:
        return ("" if own is None else own.file), 0
    suites = [frame for frame in frames if relative(frame["file"], directory) != frame["file"]]
    frame = suites[-1] if suites else frames[0]
    if str(frame["file"]).startswith(DOCTEST):
        return os.path.join(directory, judgement["nodeid"].split("::")[0]), 0
    return str(frame["file"]), int(frame["line"])


def own_place(judgement: Judgement) -> Place | None:
    """Return the place of the test's own code."""
    return None if judgement["own"] is None else Place(*judgement["own"])


def _closing(judgement: Judgement, full: bool) -> list[str]:
    lines = [f"note: {note}" for note in judgement["notes"]]
    others: dict[str, int] = {}
    for entry in judgement["entries"]:
        if entry["verdict"] != FAILS:
            others[entry["verdict"]] = others.get(entry["verdict"], 0) + 1
    for verdict, left_out in judgement["left_out"].items():
        others[verdict] = others.get(verdict, 0) + left_out["findings"]
    for verdict, count in others.items():
        lines.append(f"also {counted(count, 'finding')} {REASONS[verdict]}, not failing")
    if full:
        lines += [
            f"  {entry['verdict']}: {entry['finding']['message']}"
            for entry in judgement["entries"]
            if entry["verdict"] != FAILS
        ]
    return ["", *lines] if lines else []
