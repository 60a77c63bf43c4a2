"""`heapledger doctor`: what works in this interpreter, and why not."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from heapledger import __version__, origins
from heapledger._native import interface
from heapledger._native.prototypes import ABI_VERSION
from heapledger.errors import HeapledgerError

if TYPE_CHECKING:
    import argparse

SUPPORTED_MACHINES = ("x86_64",)


def doctor(_options: argparse.Namespace) -> int:
    """Print one line per thing that matters; the status is 1 when the ledger does not work."""
    works, ledger = _ledger()
    lines = [
        ("heapledger", f"{__version__}, library {interface.library_path() or 'in the process'}"),
        ("C interface", f"version {ABI_VERSION}"),
        ("interpreter", _interpreter()),
        ("platform", _platform()),
        ("ledger", ledger),
        ("Python lines", _python_lines()),
        ("NumPy", "found" if find_spec("numpy") else "not installed: arrays are not available"),
    ]
    for name, answer in lines:
        print(f"{name + ':':<14}{answer}")
    return 0 if works else 1


def _interpreter() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    threads = "" if gil else ", free-threaded"
    return f"{platform.python_implementation()} {platform.python_version()}{threads}"


def _platform() -> str:
    libc = " ".join(platform.libc_ver()).strip() or "unknown C library"
    name = f"{sys.platform} {platform.machine()}, {libc}"
    if sys.platform != "linux" or platform.machine() not in SUPPORTED_MACHINES:
        return f"{name}: only the explicit scope works here"
    return name


def _ledger() -> tuple[bool, str]:
    """Allocate and release a block, and look whether the ledger noticed."""
    try:
        before = interface.statistics().total_blocks
        address = origins.call(interface.malloc, 16)
        recorded = address is not None and interface.block_at(address) is not None
        origins.call(interface.free, address)
        counted = interface.statistics().total_blocks > before
    except HeapledgerError as error:
        return False, f"does not work: {error}"
    if not (recorded and counted):
        return False, "does not record: the library gave memory without noting it"
    return True, "records explicit allocations"


def _python_lines() -> str:
    reader = origins.frame_reader()
    if reader.native:
        return f"read by the library (it knows {reader.version or 'this version'})"
    return f"told by Python, slower: {reader.reason or reader.status}"
