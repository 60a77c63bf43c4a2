"""Native stacks are what gdb prints at the same moment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiling import LIBRARY
from intercepted import SOURCES, compile_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(__file__).with_name("gdb_stacks.py")
CASES = (
    "plainly",
    "nested",
    "in_vector",
    "in_string",
    "in_shared",
    "in_handler",
    "in_flight",
    "in_callback",
    "with_variable_frame",
    "with_aligned_frame",
    "on_thread",
    "in_signal",
    "in_constructor",
)
BUILDS = {
    "unoptimised": ["-O0"],
    "optimised": ["-O2"],
    "hard": ["-O3", "-fomit-frame-pointer"],
    "little-debug-information": ["-O1", "-g1"],
    "without-debug-information": ["-O2", "-g0"],
    "stripped": ["-O2", "-g0", "-s"],
}
NAMELESS = ("stripped",)
"""Builds in which gdb calls a function by the name of an exported one in front of it."""

PROGRAM = """
import ctypes
library = ctypes.CDLL({library!r})
library.begin_marker()
for name in {cases!r}:
    getattr(library, name)({plugin!r})
"""

Frames = list[dict[str, Any]]


@pytest.fixture
def gdb() -> str:
    """Return the debugger, where it may look into a process."""
    found = shutil.which("gdb")
    if found is None:
        pytest.skip("gdb is not installed")
    probe = [found, "-nx", "-batch", "-ex", "set startup-with-shell off", "-ex", "run", "-ex"]
    tried = subprocess.run(
        [*probe, "python print('works')", "--args", shutil.which("true") or "/bin/true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "exited normally" not in tried.stdout or "works" not in tried.stdout:
        pytest.skip(f"gdb cannot run programs or has no Python here: {tried.stderr.strip()}")
    return found


def run_in_gdb(gdb: str, program: Path, folder: Path) -> tuple[list[Frames], dict[str, Any]]:
    """Run a program in gdb; return the stacks that gdb saw, and our report."""
    stacks, report = folder / "gdb.json", folder / "report.json"
    # A margin in front of a block takes allocations of our own.
    options = f"scope=foreign:check=none:native_stacks=full:json={report}"
    settings = [
        "set auto-load off",
        "set startup-with-shell off",
        f"set environment LD_PRELOAD {LIBRARY}",
        f"set environment HEAPLEDGER_OPTIONS {options}",
    ]
    command = [gdb, "-nx", "-batch"]
    for setting in settings:
        command += ["-ex", setting]
    subprocess.run(
        [*command, "-x", str(SCRIPT), "--args", sys.executable, str(program)],
        env={**os.environ, "GDB_STACKS": str(stacks)},
        capture_output=True,
        timeout=180,
        check=True,
    )
    return json.loads(stacks.read_text()), json.loads(report.read_text())


def outside_of_us(frames: Frames) -> Frames:
    """Return gdb's frames from the caller of the intercepted function on."""
    ours = [index for index, frame in enumerate(frames) if is_ours(frame)]
    # Our frames around the foreign call, or below a thread, are further out.
    last = next(
        index for index in ours if index + 1 not in ours and not is_allocator(frames[index + 1])
    )
    return [frame for frame in frames[last + 1 :] if not frame["is_tail_call"]]


def is_ours(frame: dict[str, Any]) -> bool:
    return Path(frame["library"]).name == LIBRARY.name


def is_allocator(frame: dict[str, Any]) -> bool:
    return bool(frame["function"].startswith("operator new"))


def plain(function: str) -> str:
    """Return a name without namespaces, parameters and template arguments."""
    name = function.replace("(anonymous namespace)::", "").replace("[cold]", ".cold")
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    return name.partition("(")[0].rpartition("::")[2].removeprefix("~")


def both_known(own: dict[str, Any], other: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Leave out names and lines that only one of the two has.

    And the lines of what is inlined from the standard library and of static objects' definitions:
    there gdb passes over rows of the line table at which no statement begins.
    """
    nothing = {"function": "", "line": 0}
    if not own["function"] or not other["function"]:
        return own | nothing, other | nothing
    if other["function"].startswith(("__static_initialization", "std::")):
        return own | {"line": 0}, other | {"line": 0}
    return own, other


def comparable(frames: Sequence[dict[str, Any]], *, names: bool) -> list[tuple[Any, ...]]:
    """Return what must be equal: addresses, and names and lines where both have them."""
    return [
        (frame["address"], *((plain(frame["function"]), frame["line"]) if names else ()))
        for frame in frames
    ]


def exact(frames: Frames) -> Frames:
    """Count the address that a signal interrupted as we do, like a return address."""
    adjusted = []
    for index, frame in enumerate(frames):
        is_interrupted = index > 0 and frames[index - 1]["is_signal"]
        # Functions inlined where the signal came have the same address.
        if adjusted and frame["address"] == frames[index - 1]["address"]:
            adjusted.append({**frame, "address": adjusted[-1]["address"]})
        else:
            adjusted.append({**frame, "address": frame["address"] + int(is_interrupted)})
    return adjusted


@pytest.mark.parametrize("build", BUILDS)
def test_frames_are_those_of_gdb(build: str, gdb: str, tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path, *BUILDS[build])
    plugin = tmp_path / "plugin.so"
    source = SOURCES / "plugin_constructor.cpp"
    options = ["-g", "-O1", "-shared", "-fPIC"]
    subprocess.run(["c++", *options, "-o", plugin, source, library], check=True)
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.format(library=str(library), cases=CASES, plugin=os.fsencode(plugin))
    )
    stacks, report = run_in_gdb(gdb, program, tmp_path)
    assert len(stacks) == len(CASES)
    named = build not in NAMELESS
    leaks = {
        finding["foreign_function"]["name"]: finding["stacks"]["allocated"]
        for finding in report["findings"]
        if finding["bytes"] >= 7_700
    }
    assert set(leaks) == set(CASES)
    for case, frames in zip(CASES, stacks, strict=True):
        ours = [frame for frame in leaks[case] if frame["language"] == "native"]
        theirs = exact(outside_of_us(frames))[: len(ours)]
        assert len(theirs) == len(ours)
        known, other = zip(*map(both_known, ours, theirs), strict=True)
        assert comparable(known, names=named) == comparable(other, names=named), case
        assert ours[0]["function"] or not named
        assert len(ours) == len(outside_of_us(frames)) or len(ours) >= 64
