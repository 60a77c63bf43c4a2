"""`heapledger doctor`: what works in this interpreter, and why not."""

from __future__ import annotations

import platform
import sys
from collections import defaultdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from heapledger import __version__, origins
from heapledger._native import interface
from heapledger._native.prototypes import ABI_VERSION
from heapledger.errors import HeapledgerError, StateError

if TYPE_CHECKING:
    import argparse

SUPPORTED_MACHINES = ("x86_64",)
MEMORY_ROLES = ("allocates", "resizes", "releases", "measures")
"""The roles of functions whose blocks get a redzone only where the C library's own are called."""


def doctor(_options: argparse.Namespace) -> int:
    """Print one line per thing that matters; the status is 1 when the ledger does not work."""
    works, ledger = _ledger()
    intercepted = _interception()
    lines = [
        ("heapledger", f"{__version__}, library {interface.library_path() or 'in the process'}"),
        ("C interface", f"version {ABI_VERSION}"),
        ("interpreter", _interpreter()),
        ("platform", _platform()),
        ("ledger", ledger),
        ("Python lines", _python_lines()),
        *intercepted,
        ("NumPy", "found" if find_spec("numpy") else "not installed: arrays are not available"),
    ]
    for name, answer in lines:
        print(f"{name + ':':<27}{answer}")
    return 0 if works else 1


def _interception() -> list[tuple[str, str]]:
    """Intercept for a moment, as a session of scope foreign does, and tell what came of it."""
    started = True
    try:
        interface.start("scope=foreign")
    except StateError:
        started = False  # The environment's session receives calls already.
    except HeapledgerError as error:
        return [("interception", f"does not work: {error}")]
    facts = interface.doctor()
    if started:
        interface.stop()
    slots = sum(function["slot_count"] for function in facts["functions"])
    objects, calls = facts["objects"], facts["foreign_calls"]
    seen = "not seen" if calls["path"] == "none" else f"seen through {calls['path']}"
    return [
        ("interception", f"{slots} slots in {objects['looked_at_count']} loaded objects lead here"),
        ("C library", facts["c_library"]),
        ("foreign calls", f"{seen}: {calls['reason']}"),
        *_functions(facts["functions"]),
        *(("  waits for ld.so", name) for name in objects["waiting"]),
        ("  never touched", ", ".join(objects["left_out"])),
        *(("  trouble", sentence) for sentence in facts["troubles"]),
    ]


def _functions(functions: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return, for what each group of functions does, how many slots of each lead to us."""
    roles: dict[str, list[str]] = defaultdict(list)
    for function in functions:
        if function["slot_count"]:
            strange = function["role"] in MEMORY_ROLES and not function["is_standard"]
            remark = ", another library's" if strange else ""
            roles[function["role"]].append(f"{function['name']} ({function['slot_count']}{remark})")
    lines = [(f"  {role}", ", ".join(names)) for role, names in roles.items()]
    without = sum(not function["slot_count"] for function in functions)
    return [*lines, ("  nobody calls", f"{without} further functions, until a library does")]


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
