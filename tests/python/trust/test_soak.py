"""A short soak: what random traffic did wrong on purpose is found, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compiling import ROOT

SECONDS = os.environ.get("HEAPLEDGER_SOAK_SECONDS", "12")


@pytest.mark.slow
def test_a_soak(tmp_path: object) -> None:
    command = [sys.executable, str(ROOT / "tests" / "soak" / "soak.py"), "--seconds", SECONDS]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WRONG" not in ran.stdout
    assert "lost" in ran.stdout
