"""The report of a whole session as a file: heapledger's report, with a part about the tests.

`heapledger report FILE` prints it as any other report.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from heapledger import reports
from heapledger.cli.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from heapledger.pytest_plugin.record import Record

PART = "pytest"
PART_VERSION = 1


def write(record: Record, path: Path, began: float) -> None:
    """Write the file, whole.

    Raises:
        FileError: it cannot be written.
    """
    write_whole(path, json.dumps(report_of(record, began), indent=1) + "\n")


def report_of(record: Record, began: float) -> dict[str, Any]:
    """Return the report of a session that began then (seconds, `time.time`)."""
    suite = record.suite
    process = {
        "pid": os.getpid(),
        "argv": sys.argv,
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": sys.platform,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "duration_s": round(time.time() - began, 3),
    }
    options = {"scope": suite.scope, "checks": list(suite.checks)}
    findings = [entry["finding"] for _, entry in record.entries()]
    tests = {
        "version": PART_VERSION,
        "tests_watched": len(record.ran),
        "scopes": {scope: reason for scope, reason in record.scopes.items() if scope},
        "judgements": [_pointing(judgement, findings) for judgement in record.judgements],
        "unused_suppressions": record.unused_suppressions(),
        "baseline_not_found": [
            {"test": test, "kind": kind, "site": site} for test, kind, site in record.stale()
        ],
    }
    blank = reports.empty(process)
    return blank | {"options": options, "findings": findings, PART: tests}


def _pointing(judgement: dict[str, Any], findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the judgement with the numbers of its findings in the list, instead of copies."""
    places = {id(finding): number for number, finding in enumerate(findings)}
    entries = [
        {key: value for key, value in entry.items() if key != "finding"}
        | {"finding": places.get(id(entry["finding"]))}
        for entry in judgement["entries"]
    ]
    return judgement | {"entries": entries}
