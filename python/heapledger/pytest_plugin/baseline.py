"""The baseline: findings that a suite is known to have, so that only new ones fail it.

A file in JSON, sorted, one finding per line, made to be kept beside the tests. A finding is
recognised by its subject (a test, a fixture of wider scope) and by the functions on its stacks, not
by line numbers or addresses, so that it stays known when code moves. More blocks than are known
fail again.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from heapledger.cli.files import write_whole
from heapledger.errors import FileError, UsageError
from heapledger.failure_text import relative, trimmed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from heapledger.failure_text import Place

    Key = tuple[str, str, str]

SCHEMA = "heapledger.baseline"
VERSION = 1
FRAME_MAX = 4
"""Innermost Python frames of a stack that tell one finding from another."""


class Baseline:
    """Known findings: by subject, kind and site, with the number of blocks."""

    def __init__(self, known: dict[Key, int], *, is_missing: bool = False) -> None:
        """Keep what is known; `is_missing`: there is no file yet."""
        self._known = known
        self.is_missing = is_missing

    @classmethod
    def load(cls, path: Path | None) -> Baseline:
        """Read a file; without one, and before the first update, nothing is known.

        Raises:
            UsageError: it is no baseline.
            FileError: it cannot be read.
        """
        if path is None or not path.exists():
            return cls({}, is_missing=path is not None)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            _check(content)
            return cls({_key(line): int(line["blocks"]) for line in content["findings"]})
        except OSError as error:
            raise FileError(error.errno, error.strerror, str(path)) from error
        except KeyError as error:
            raise UsageError(f"{path} is no baseline of heapledger: {error} is missing") from error
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is no baseline of heapledger: {error}") from error

    def knows(self, key: Key, blocks: int) -> bool:
        """Tell whether a finding is known, with at least as many blocks."""
        return blocks <= self._known.get(key, -1)

    def missing(self, found: Iterable[Key], ran: Iterable[str]) -> list[Key]:
        """Return what is known of the subjects that ran and was not found again."""
        subjects, again = set(ran), set(found)
        return sorted(key for key in self._known if key[0] in subjects and key not in again)

    def updated(self, found: dict[Key, int], ran: Iterable[str]) -> Baseline:
        """Return a baseline with what was found; what is known of other subjects stays."""
        subjects = set(ran)
        others = {key: blocks for key, blocks in self._known.items() if key[0] not in subjects}
        return Baseline(others | found)

    def save(self, path: Path) -> None:
        """Write the file, whole.

        Raises:
            FileError: it cannot be written.
        """
        lines = [json.dumps(_line(key, blocks)) for key, blocks in sorted(self._known.items())]
        findings = ",\n    ".join(lines)
        write_whole(
            path,
            f'{{\n  "schema": "{SCHEMA}",\n  "version": {VERSION},\n  "findings": [\n    '
            f"{findings}\n  ]\n}}\n",
        )

    def __len__(self) -> int:
        """Return how many findings are known."""
        return len(self._known)


def site_of(finding: dict[str, Any], own: Place | None, directory: str) -> str:
    """Return what a finding is recognised by: foreign function and functions on its stacks."""
    foreign = finding["foreign_function"]
    parts = []
    if foreign is not None:
        parts.append(f"{os.path.basename(foreign['library'])}:{foreign['name']}")
    for event in ("here", "released", "allocated"):
        frames = trimmed(finding["stacks"].get(event) or (), own)[:FRAME_MAX]
        names = [f"{_file_named(frame, directory)}:{frame['function']}" for frame in frames]
        if names:
            parts.append(" < ".join(names))
    return " | ".join(parts)


def _file_named(frame: dict[str, Any], directory: str) -> str:
    """Name a file so that it is the same on every machine."""
    name = relative(frame["file"], directory)
    return os.path.basename(name) if os.path.isabs(name) else name


def _check(content: Any) -> None:  # noqa: ANN401 - what a file holds
    """Raise unless this is a baseline of a version that is known."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        schema = content.get("schema") if isinstance(content, dict) else None
        raise ValueError(f"its schema is {schema!r} and not {SCHEMA!r}")
    if content["version"] != VERSION:
        raise ValueError(
            f"it has version {content['version']}, and this heapledger knows {VERSION}"
        )


def _key(line: dict[str, Any]) -> Key:
    return str(line["test"]), str(line["kind"]), str(line["site"])


def _line(key: Key, blocks: int) -> dict[str, Any]:
    return {"test": key[0], "kind": key[1], "site": key[2], "blocks": blocks}
