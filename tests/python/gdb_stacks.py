"""Run inside gdb by `test_native_stacks_in_gdb.py`: write down the stack of each marked allocation.

Marked are the sizes that `tests/intercept/deep.cpp` asks for, from its `begin_marker` on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gdb

SMALLEST, LARGEST = 7_700, 8_500
FRAME_COUNT_MAX = 120

stacks: list[list[dict[str, Any]]] = []


def described(frame: Any) -> dict[str, Any]:
    """Return what gdb prints of a frame."""
    place = frame.find_sal()
    return {
        "address": frame.pc(),
        "function": frame.name() or "",
        "line": place.line if place.symtab else 0,
        "library": gdb.solib_name(frame.pc()) or "",
        "is_signal": frame.type() == gdb.SIGTRAMP_FRAME,
        "is_tail_call": frame.type() == gdb.TAILCALL_FRAME,
    }


class Allocation(gdb.Breakpoint):  # type: ignore[misc]
    """The C library's `malloc`."""

    def stop(self) -> bool:
        """Note the stack and go on."""
        frame = gdb.newest_frame()
        if SMALLEST <= int(frame.read_register("rdi")) <= LARGEST:
            frames: list[dict[str, Any]] = []
            while frame is not None and len(frames) < FRAME_COUNT_MAX:
                frames.append(described(frame))
                frame = frame.older()
            stacks.append(frames)
        return False


class Marker(gdb.Breakpoint):  # type: ignore[misc]
    """Where the allocations of interest begin."""

    def stop(self) -> bool:
        """Begin to look at allocations."""
        Allocation("*malloc")
        return False


def write(_event: object) -> None:
    """Save the stacks when the program has ended."""
    Path(os.environ["GDB_STACKS"]).write_text(json.dumps(stacks), encoding="utf-8")


for command in (
    "set pagination off",
    "set breakpoint pending on",
    "set debuginfod enabled off",
    "set backtrace past-main on",
    "handle SIGUSR1 nostop noprint pass",
):
    gdb.execute(command)
gdb.events.exited.connect(write)
Marker("begin_marker")
gdb.execute("run")
