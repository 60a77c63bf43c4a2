"""The comparison with other tools runs, and says which of them are missing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT

if TYPE_CHECKING:
    from pathlib import Path

COMPARE = [sys.executable, str(ROOT / "benches" / "compare")]

pytestmark = pytest.mark.slow


def test_a_quick_comparison_prints_every_table(tmp_path: Path) -> None:
    wanted = ["--workload", "cfrac", "--workload", "empty", "--tool", "heapledger-process"]
    command = [*COMPARE, "--quick", "--folder", str(tmp_path), *wanted]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    tables = finished.stdout.split("\n\n")
    (ratios,) = [table for table in tables if table.startswith("| processor time, relative")]
    header, _, *rows = ratios.splitlines()
    assert header.split("|")[2:4] == [" plain ", " heapledger-process "]
    assert [row.split("|")[1].strip() for row in rows] == ["(h) empty script", "(i) cfrac-like"]
    for row in rows:
        median = float(row.split("|")[3].split()[0])
        assert median > 0.5, row
    assert "failed" not in finished.stdout
    assert "\n* " not in finished.stdout, "nothing was missing"


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    finished = subprocess.run(
        [*COMPARE, "--tool", "magic"], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert "heaptrack" in finished.stderr
