"""The reports of one run: one per process, in a private directory, joined when all have ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapledger import reports
from heapledger.cli.directory import JSON_SUFFIX
from heapledger.cli.files import write_whole
from heapledger.cli.standard_error import complain, show
from heapledger.errors import HeapledgerError

if TYPE_CHECKING:
    from heapledger.cli.child import Ending
    from heapledger.cli.directory import Directory
    from heapledger.reports import Report


STOPPING = frozenset({"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGPIPE"})
LEAK = "leak"


class Collection:
    """What the processes of a run left in its directory."""

    def __init__(self, directory: Directory) -> None:
        """Know the directory."""
        self._directory = Path(directory.path)

    def report(self, ending: Ending, command: list[str], suppressions: Path | None) -> Report:
        """Return the program's report; what its child processes wrote is in "children"."""
        own: Report | None = None
        children: list[Report] = []
        for path in sorted(self._directory.glob(f"*{JSON_SUFFIX}")):
            report = self._read(path, suppressions)
            if report is None:
                continue
            if path.stem == str(ending.process):
                own = report
            else:
                children.append(_with_leaks_judged(report))
        if own is None:
            own = _absent(ending, command)
            complain(f"the program left no report: it {ending.described()}")
        return own | {reports.CHILDREN: children} if children else own

    def save(self, report: Report, path: Path) -> None:
        """Write the report; a failure is told, and does not end the run."""
        try:
            # Not indented: the standard library does that in Python, which takes seconds for a
            # report of thousands of places.
            write_whole(path, json.dumps(report) + "\n")
        except HeapledgerError as error:
            complain(f"the report could not be written: {error}")

    def print(self, report: Report, suppressions: Path | None, *, all_frames: bool) -> None:
        """Print the report on stderr, for people. A closed stderr is nobody's loss."""
        if report.get("missing") and not report.get(reports.CHILDREN):
            return
        show(reports.text_of(report, suppressions, all_frames=all_frames))

    def has_findings(self, report: Report) -> bool:
        """Tell whether anything was found that no suppression hides."""
        return any(True for _ in reports.unsuppressed(report))

    def _read(self, path: Path, suppressions: Path | None) -> Report | None:
        try:
            saved = reports.loaded(path)
        except HeapledgerError as error:
            complain(f"the report of process {path.stem} is damaged: {error}")
            return None
        return saved if suppressions is None else reports.with_suppressions(saved, suppressions)


def _with_leaks_judged(report: Report) -> Report:
    """Leave out what is no leak in a child process, and count it.

    A process that somebody stopped was still using what it had: pools of worker processes are ended
    like this, at any moment of their work. And a program without Python that ours has started (a
    shell, a compiler) leaves it to its end to free its memory.
    """
    process = report.get("process", {})
    if process.get("killed_by") in STOPPING:
        counter = "leaks_not_judged_in_stopped_processes"
    elif process.get("python") is None:
        counter = "leaks_not_judged_in_programs_without_python"
    else:
        return report
    judged = [finding for finding in report["findings"] if finding["kind"] != LEAK]
    limits = report.get("limits", {})
    count = len(report["findings"]) - len(judged) + limits.get(counter, 0)
    return report | {"findings": judged, "limits": limits | {counter: count}}


def _absent(ending: Ending, command: list[str]) -> dict[str, Any]:
    """Return a report that says that there is none: nothing is known, nothing was found."""
    process = {"pid": ending.process, "argv": command[1:]}
    return reports.empty(process) | {"missing": f"the program {ending.described()}"}
