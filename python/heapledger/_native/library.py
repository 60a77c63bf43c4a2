"""Finding and loading `libheapledger.so`, once per process."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from heapledger._native import place
from heapledger._native.place import FILE_NAME, REPAIR
from heapledger._native.prototypes import ABI_VERSION, PROTOTYPES
from heapledger.errors import AbiMismatchError, LibraryNotFoundError


class Library:
    """The loaded library: `path`, and each function of the table as an attribute."""

    def __init__(self, handle: ctypes.CDLL, path: Path | None) -> None:
        """Give every function its prototype; a missing one means another version.

        `path` is None when the library was in the process already and its file is not known.
        """
        self.path = path
        self.handle = handle
        with_gil = ctypes.PyDLL(handle._name, handle=handle._handle)
        for name, prototype in PROTOTYPES.items():
            try:
                function = getattr(with_gil if prototype.holds_gil else handle, name)
            except AttributeError:
                message = f"{path or handle._name} has no function {name}. {REPAIR}"
                raise AbiMismatchError(message) from None
            function.restype = prototype.result
            function.argtypes = prototype.arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a ctypes function
        """Refuse a name that is not in the table; it tells type checkers what the others are."""
        raise AttributeError(f"{name} is not in the table of prototypes")


def file_path() -> Path:
    """Return where the library's file should be."""
    return Path(place.file_name())


def load() -> Library:
    """Load the library, or take the one that is in the process already.

    One process has one ledger. A library that came with `LD_PRELOAD`, or that the program is linked
    with, is that ledger, whatever file this package would have chosen.

    Raises:
        LibraryNotFoundError: there is no such file, or the dynamic linker refuses it.
        AbiMismatchError: the library belongs to another version of this package.
    """
    present = ctypes.CDLL(None)
    path = file_path()
    if hasattr(present, "hl_abi_version"):
        handle, known_path = present, _loaded_path()
    else:
        handle, known_path = _open(path), path
    _compare_versions(handle, known_path)
    return Library(handle, known_path)


def _open(path: Path) -> ctypes.CDLL:
    place.existing_file_name()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        message = f"heapledger's library {path} cannot be loaded: {error}. {REPAIR}"
        raise LibraryNotFoundError(message) from error


def _compare_versions(handle: ctypes.CDLL, path: Path | None) -> None:
    name = path or "the library in this process"
    try:
        function = handle.hl_abi_version
    except AttributeError:
        message = f"{name} is not heapledger's library: it has no hl_abi_version. {REPAIR}"
        raise AbiMismatchError(message) from None
    function.restype = PROTOTYPES["hl_abi_version"].result
    version = function()
    if version != ABI_VERSION:
        message = (
            f"{name} speaks version {version} of heapledger's C interface and this package "
            f"speaks version {ABI_VERSION}. {REPAIR}"
        )
        raise AbiMismatchError(message)


def _loaded_path() -> Path | None:
    """Return the file of the library that is mapped into this process, if its name tells."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    for line in maps.read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and Path(fields[5]).name == FILE_NAME:
            return Path(fields[5])
    return None
