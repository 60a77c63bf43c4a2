"""A thousand of each error in a row, from eight threads, inside callbacks: the program goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compiling import LIBRARY
from intercepted import compile_plain

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (
    "double-free",
    "invalid-free",
    "mismatched-free",
    "realloc-after-free",
    "heap-overflow",
    "heap-underflow",
    "use-after-free",
    "size-overflow",
)
COUNT, THREAD_COUNT = 1000, 8

PROGRAM = f"""
import ctypes, sys, heapledger
library = ctypes.CDLL(sys.argv[1])
FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_int)
for kind in {KINDS!r}:
    function = getattr(library, kind.replace("-", "_"))
    function.restype = None
    function({COUNT})
    library.from_threads(function, {COUNT})
    library.call_back(FUNCTION(lambda count: function(count)), {COUNT})
    library.from_threads(FUNCTION(lambda count: function(count)), {COUNT} // 10)
    library.use_heap(3000)
    library.from_threads(library.use_heap, 3000)
heapledger.check()
print("done")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the functions that err."""
    return compile_plain("many_errors.cpp", tmp_path_factory.mktemp("native"))


@pytest.mark.parametrize("options", ["scope=foreign", "scope=process", "scope=foreign:guard=1/20"])
def test_all_are_counted_and_the_program_goes_on(
    library: Path, tmp_path: Path, options: str
) -> None:
    script, report = tmp_path / "program.py", tmp_path / "report.json"
    script.write_text(PROGRAM, encoding="utf-8")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(LIBRARY),
        # So long that no block leaves between its release and the write to it, on a busy machine.
        "HEAPLEDGER_OPTIONS": f"{options}:quarantine_blocks=100000:json={report}",
    }
    finished = subprocess.run(
        [sys.executable, str(script), str(library)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "done\n", "")
    counts = json.loads(report.read_text())["stats"]["findings"]
    expected = COUNT + THREAD_COUNT * COUNT + COUNT + THREAD_COUNT * (COUNT // 10)
    if "guard" in options:
        # Another thread may close a page again before the instruction is repeated.
        for kind in ("use-after-free", "heap-overflow", "heap-underflow"):
            assert expected <= counts.pop(kind) < expected + expected // 20
    expected_counts = {kind: expected for kind in KINDS if kind in counts}
    assert {kind: count for kind, count in counts.items() if count} == expected_counts
