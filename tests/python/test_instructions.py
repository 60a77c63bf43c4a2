"""The hot path does not grow unnoticed: instructions per pair, counted with callgrind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compiling import ROOT

# What `benches/instructions` says of a release build, and a tenth for other compilers and glibcs.
# A change that needs more states the cost and raises the limit.
LIMITS = {
    "plain": 170,
    "outside": 335,
    "process": 1_780,
    "foreign": 1_940,
    "call": 1_735,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("valgrind"), reason="callgrind (valgrind) is not installed"
    ),
    pytest.mark.skipif(
        "HEAPLEDGER_LIBRARY" in os.environ,
        reason="the limits are for a release build; HEAPLEDGER_LIBRARY may name another",
    ),
]


def test_a_round_of_each_loop_stays_under_its_limit(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benches" / "instructions"), "--json", *LIMITS]
    finished = subprocess.run(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert not list(tmp_path.iterdir()), "something was left behind"
    counts = json.loads(finished.stdout)
    assert counts.keys() == LIMITS.keys()
    assert counts["plain"] > 20, "the loop was optimised away"
    assert counts["process"] > counts["plain"], "nothing was recorded"
    exceeded = {case: count for case, count in counts.items() if count > LIMITS[case]}
    assert not exceeded, f"limits: {LIMITS}"
