"""The private directory of a run, in which each process leaves its reports."""

from __future__ import annotations

import os

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

JSON_SUFFIX = ".json"
TEXT_SUFFIX = ".txt"
RANDOM_BYTES = 8


class Directory:
    """A directory that only this user can read, for as long as the `with` lasts."""

    def __init__(self) -> None:
        """Make the directory (mode 0700)."""
        self.path = _made()

    def pattern(self, suffix: str) -> str:
        """Return a file name for the library, which puts the process number for `%p`."""
        return os.path.join(self.path, f"%p{suffix}")

    def has_report(self, process: int) -> bool:
        """Tell whether `process` left a report."""
        return os.path.exists(os.path.join(self.path, f"{process}{JSON_SUFFIX}"))

    def only_text(self, process: int) -> str | None:
        """Return the text that `process` left; None: it left none, or others left reports too."""
        own = {f"{process}{JSON_SUFFIX}", f"{process}{TEXT_SUFFIX}"}
        if set(os.listdir(self.path)) != own:
            return None
        path = os.path.join(self.path, f"{process}{TEXT_SUFFIX}")
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __enter__(self) -> Self:
        """Give the directory to the `with` statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the directory and what is in it."""
        try:
            for name in os.listdir(self.path):
                os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)
        except OSError:
            import shutil

            shutil.rmtree(self.path, ignore_errors=True)


def _made() -> str:
    """Make the directory where `tempfile` would, whose import takes longer than all else here."""
    parent = os.environ.get("TMPDIR") or "/tmp"
    path = os.path.join(os.path.abspath(parent), f"heapledger-{os.urandom(RANDOM_BYTES).hex()}")
    try:
        os.mkdir(path, 0o700)
    except OSError:
        import tempfile

        return tempfile.mkdtemp(prefix="heapledger-")
    return path
