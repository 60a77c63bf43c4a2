"""Annotations for GitHub: lines that its runner shows beside the code of a pull request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from heapledger.failure_text import relative
from heapledger.pytest_plugin.failure import blamed, summary_of
from heapledger.pytest_plugin.outcomes import FAILS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heapledger.pytest_plugin.record import Record

VARIABLE = "GITHUB_ACTIONS"
ANNOTATION_MAX = 50
"""GitHub shows no more of one job."""


def is_wanted() -> bool:
    """Tell whether GitHub's runner reads this output."""
    return os.environ.get(VARIABLE) == "true"


def annotation_lines(record: Record, directory: str) -> Iterator[str]:
    """Yield one annotation for each subject that fails, at the line to blame."""
    for judgement in record.failing[:ANNOTATION_MAX]:
        failing = [entry for entry in judgement["entries"] if entry["verdict"] == FAILS]
        file, line = blamed(failing[0]["finding"], judgement, directory)
        subject = judgement["nodeid"] if judgement["kind"] == "test" else judgement["name"]
        message = "\n".join([summary_of(judgement), *(_sentence(entry) for entry in failing)])
        place = f"file={_property(relative(file, directory))},line={max(line, 1)}"
        title = _property(f"heapledger: {subject}")
        yield f"::error {place},title={title}::{_data(message)}"


def _sentence(entry: dict[str, Any]) -> str:
    return str(entry["finding"]["message"])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
