"""What is counted: a loop, what it runs in, and how heapledger is loaded."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from heapledger._native.library import file_path
from instructions import callgrind

if TYPE_CHECKING:
    from collections import Counter

HERE = Path(__file__).parent
_ROUND_COUNT = 4_000


@dataclass(frozen=True)
class Case:
    """One loop in one program.

    `loop` is a function of `pairs.c`, or a method of `loops.py`. `options` are None without
    heapledger.
    """

    name: str
    loop: str
    in_python: bool
    options: str | None
    block_byte_count: int = 64

    def per_round(self) -> Counter[str]:
        """Count the instructions of one round of the loop, by function, in thousandths."""
        costs = callgrind.count(*self._run())
        for function in costs:
            costs[function] = round(costs[function] * 1_000 / _ROUND_COUNT)
        return costs

    def _run(self) -> tuple[list[str], dict[str, str]]:
        arguments = [self.loop, str(_ROUND_COUNT), str(self.block_byte_count)]
        if self.in_python:
            loops, shared = str(HERE / "loops.py"), str(_compiled(shared=True))
            command = [sys.executable, "-S", "-E", loops, shared, *arguments]
        else:
            command = [str(_compiled(shared=False)), *arguments]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        if self.options is not None:
            environment |= {"LD_PRELOAD": str(file_path()), "HEAPLEDGER_OPTIONS": self.options}
        return command, environment


_FOREIGN, _PROCESS = "scope=foreign", "scope=process"
CASES = (
    Case("plain", "direct_pairs", False, None),
    Case("outside", "direct_pairs", False, _FOREIGN),
    Case("outside-ring", "ring_pairs", False, _FOREIGN),
    Case("process", "direct_pairs", False, _PROCESS),
    Case("process-ring", "ring_pairs", False, _PROCESS),
    Case("process-unchecked", "ring_pairs", False, f"{_PROCESS}:check=none"),
    Case("foreign", "direct_pairs", True, _FOREIGN),
    Case("foreign-ring", "ring_pairs", True, _FOREIGN),
    Case("foreign-new", "object_pairs", True, _FOREIGN),
    Case("call-plain", "call_nothing", True, None),
    Case("call", "call_nothing", True, _FOREIGN),
    Case("call-pairs-plain", "call_pairs", True, None),
    Case("call-pairs", "call_pairs", True, _FOREIGN),
)


@cache
def _compiled(*, shared: bool) -> Path:
    """Compile `pairs.cpp` once."""
    target = _folder() / ("pairs.so" if shared else "pairs")
    options = ["-shared", "-fPIC"] if shared else []
    command = ["c++", "-O2", "-g", "-pthread", *options, "-o", str(target), str(HERE / "pairs.cpp")]
    subprocess.run(command, check=True)
    return target


@cache
def _folder() -> Path:
    """Make a folder that is removed when this process ends."""
    made = TemporaryDirectory(prefix="heapledger-instructions-")
    atexit.register(made.cleanup)
    return Path(made.name)
