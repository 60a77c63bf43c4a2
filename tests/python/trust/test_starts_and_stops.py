"""Sessions that begin and end by the hundred beside threads of C++ that never stop allocating."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT, compile_program

if TYPE_CHECKING:
    from pathlib import Path

START_COUNT = int(os.environ.get("HEAPLEDGER_STARTS", "40"))
NOTHING = "findings 0, contents lost 0, ill children 0, refused 0\n"


@pytest.fixture(scope="module")
def attaching(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the program."""
    folder = tmp_path_factory.mktemp("attaching")
    return compile_program(ROOT / "tests" / "trust" / "attaching.cpp", folder)


@pytest.mark.parametrize(
    ("options", "forks"),
    [
        ("scope=process", 0),
        ("scope=process:native_stacks=off:check=none", 0),
        ("scope=process:check=quarantine,redzone,guard:guard=1/50", 0),
        ("scope=process", 20),
    ],
)
def test_nothing_is_wrong_and_nothing_is_lost(attaching: Path, options: str, forks: int) -> None:
    command = [str(attaching), options, str(START_COUNT), "4", str(forks)]
    seconds = 120 + START_COUNT
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    assert (ran.returncode, ran.stdout) == (0, NOTHING), ran.stderr
