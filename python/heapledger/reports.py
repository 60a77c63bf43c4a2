"""Reports as data: this process's, and saved ones.

A report of `heapledger run` holds the reports of the program's child processes under the key
"children". Text is always made by the library, so that it is the same everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapledger._native import interface
from heapledger.errors import FileError, UsageError
from heapledger.options import REPORT_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Report = dict[str, Any]

SCHEMA = "heapledger.report"
VERSION = 1
CHILDREN = "children"


def current(report_format: str) -> str:
    """Return the report of this process, as "text" or "json"."""
    if report_format not in REPORT_FORMATS:
        raise UsageError(f"unknown format {report_format!r}: known are {', '.join(REPORT_FORMATS)}")
    return interface.report_text() if report_format == "text" else interface.report_json()


def text_about(findings: list[dict[str, Any]]) -> str:
    """Return the text of a report of this process that is about these findings only."""
    report = json.loads(interface.report_json())
    report["findings"] = findings
    return interface.render(json.dumps(report), interface.TEXT_FORMAT)


def empty(process: dict[str, Any]) -> Report:
    """Return a report of a process of which nothing is known."""
    blank: Report = {"stats": {}, "limits": {}, "findings": []}
    return {"schema": SCHEMA, "version": VERSION, "process": process, "options": {}} | blank


def loaded(path: Path) -> Report:
    """Read a saved report.

    Raises:
        FileError: the file cannot be read.
        UsageError: it is no report of heapledger.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no report of heapledger: it is not text") from error
    try:
        report = json.loads(content)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is no report of heapledger: it is not JSON ({error})") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no report of heapledger: its schema is not {SCHEMA!r}")
    return report


def with_suppressions(report: Report, suppressions: Path | None) -> Report:
    """Return the report with `suppressed` set in each finding that a line of the file names.

    Raises:
        FileError, UsageError: the file cannot be read or has a line that is no suppression.
    """
    rendered: Report = json.loads(_rendered(report, interface.JSON_FORMAT, suppressions))
    children = [with_suppressions(child, suppressions) for child in report.get(CHILDREN, ())]
    return rendered | {CHILDREN: children} if children else rendered


def text_of(report: Report, suppressions: Path | None = None, *, all_frames: bool = False) -> str:
    """Return the report for people; the child processes that have findings follow.

    `all_frames` shows the frames of the interpreter, of libffi and of heapledger too.
    """
    report_format = interface.ALL_FRAMES_FORMAT if all_frames else interface.TEXT_FORMAT
    parts = [_rendered(report, report_format, suppressions)]
    for child in report.get(CHILDREN, ()):
        if child.get("findings") or child.get(CHILDREN):
            text = text_of(child, suppressions, all_frames=all_frames)
            parts.append(f"Child process {_process_named(child)}:\n{text}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def symbolized(report: Report, root: Path, progress: Callable[[int, int], None]) -> Report:
    """Return the report with its native frames named from the files under `root`."""
    named: Report = json.loads(interface.symbolized(json.dumps(report), str(root), progress))
    return named


def unsuppressed(report: Report) -> Iterator[dict[str, Any]]:
    """Yield what was found, in child processes too: what is neither suppressed nor only kept."""
    for finding in report.get("findings", ()):
        if not finding.get("suppressed") and not finding.get("kept_by"):
            yield finding
    for child in report.get(CHILDREN, ()):
        yield from unsuppressed(child)


def _rendered(report: Report, report_format: int, suppressions: Path | None) -> str:
    alone = {key: value for key, value in report.items() if key != CHILDREN}
    path = None if suppressions is None else str(suppressions)
    return interface.render(json.dumps(alone), report_format, path)


def _process_named(report: Report) -> str:
    process = report.get("process") or {}
    command = " ".join(str(word) for word in process.get("argv") or ())
    return f"{process.get('pid', '?')} ({command})" if command else f"{process.get('pid', '?')}"
