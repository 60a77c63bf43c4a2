"""Files that people name on the command line: checked before the work, written whole."""

from __future__ import annotations

import os
from pathlib import Path

from heapledger.errors import FileError, UsageError


def checked_suppressions(path: Path | None) -> Path | None:
    """Return the path of a suppressions file that the library understands.

    Raises:
        UsageError: it does not exist, cannot be read, or has a line that is no suppression.
    """
    if path is None:
        return None
    if not path.exists():
        raise UsageError(f"the suppressions file {path} does not exist")
    if path.is_dir() or not os.access(path, os.R_OK):
        raise UsageError(f"the suppressions file {path} cannot be read")
    from heapledger import reports

    try:
        reports.with_suppressions(reports.empty({}), path)
    except FileError as error:
        raise UsageError(f"the suppressions file {error}") from error
    return path


def writable(path: Path | None, role: str) -> Path | None:
    """Return `path` if a file can be written there, without touching it.

    Raises:
        UsageError: its directory does not exist, or nothing can be written.
    """
    if path is None:
        return None
    if path.is_dir():
        raise UsageError(f"the {role} {path} cannot be written: it is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"the {role} {path} cannot be written: there is no such directory")
    place = path if _is_special(path) else path.parent
    if not os.access(place, os.W_OK):
        raise UsageError(f"the {role} {path} cannot be written: {place} is not writable")
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it has either its old content or all of the new.

    A pipe or a device is written to directly.

    Raises:
        FileError: it could not be written.
    """
    try:
        if _is_special(path):
            path.write_text(text, encoding="utf-8")
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()
