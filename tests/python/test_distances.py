"""What a library refers to by distances instead of pointers is kept, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercepted import compile_plain, run_script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import ctypes
library = ctypes.CDLL({library!r})
library.keep_set()
library.lose_four()
"""


def test_a_distance_keeps_and_a_number_does_not(tmp_path: Path) -> None:
    library = compile_plain("distances.c", tmp_path)
    run = run_script(SCRIPT.format(library=str(library)), tmp_path)
    assert (run.status, run.err) == (0, "")
    kept = [leak["bytes"] for leak in run.of_kind("leak") if leak.get("kept_by") == str(library)]
    assert sum(kept) == 24 + 500 + 300
    lost = [leak for leak in run.of_kind("leak") if not leak.get("kept_by")]
    assert [(leak["blocks"], leak["bytes"]) for leak in lost] == [(4, 800)]
