"""Where the library's file is. Loads nothing."""

from __future__ import annotations

import os

from heapledger.errors import LibraryNotFoundError

FILE_NAME = "libheapledger.so"
OVERRIDE = "HEAPLEDGER_LIBRARY"
"""The environment variable that names another library file, for development."""

REPAIR = (
    f"Install heapledger again (`pip install --force-reinstall heapledger`), or, in a source tree, "
    f"run `cargo build --release` and set {OVERRIDE}=target/release/{FILE_NAME}."
)


def file_name() -> str:
    """Return where the library's file should be: the override, else beside this file."""
    override = os.environ.get(OVERRIDE)
    return os.path.abspath(override or os.path.join(os.path.dirname(__file__), FILE_NAME))


def existing_file_name() -> str:
    """Return the same.

    Raises:
        LibraryNotFoundError: there is no such file.
    """
    name = file_name()
    if os.path.isfile(name):
        return name
    said_by = f" ({OVERRIDE} names it)" if os.environ.get(OVERRIDE) else ""
    raise LibraryNotFoundError(f"heapledger's library {name} does not exist{said_by}. {REPAIR}")
