"""However a program ends, it ends as it does without us."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trust.conftest import Trial

START = "import os, sys, ctypes\nfrom traffic import *\nprint(traffic(), flush=True)\n"

ENDINGS = {
    "returns": ("", 0),
    "sys_exit": ("sys.exit(7)", 7),
    "sys_exit_with_a_message": ("sys.exit('enough')", 1),
    "uncaught": ("{}['key']", 1),
    "os_exit": ("os._exit(9)", 9),
    "exit_in_a_foreign_call": ("native().exit_in_foreign_call(5)", 5),
    "_exit_in_a_foreign_call": ("native().exit_now(6)", 6),
    "killed": ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
    "terminated": ("os.kill(os.getpid(), 15)", -signal.SIGTERM),
    "interrupted": ("os.kill(os.getpid(), 2)", -signal.SIGINT),
    "os_abort": ("os.abort()", -signal.SIGABRT),
    "abort_in_a_foreign_call": ("native().abort_now()", -signal.SIGABRT),
    "null_pointer": ("native().read_nothing()", -signal.SIGSEGV),
    "null_pointer_with_faulthandler": (
        "import faulthandler; faulthandler.enable()\nnative().read_nothing()",
        -signal.SIGSEGV,
    ),
    "stack_overflow": ("native().recurse(0)", -signal.SIGSEGV),
    "stack_overflow_in_a_thread": (
        "import threading\n"
        "thread = threading.Thread(target=native().recurse, args=(0,))\n"
        "thread.start(); thread.join()",
        -signal.SIGSEGV,
    ),
    "deep_python": (
        "def f(n): return f(n + 1)\n"
        "try: f(0)\n"
        "except RecursionError as error: print(type(error).__name__, traffic())",
        0,
    ),
    "raise_in_atexit": (
        "import atexit\n@atexit.register\ndef last():\n    traffic()\n    raise ValueError('late')",
        0,
    ),
    "foreign_call_in_del_at_the_end": (
        "class Last:\n"
        "    def __init__(self): self.free, self.block = libc.free, libc.malloc(9)\n"
        "    def __del__(self): self.free(self.block)\n"
        "sys.kept = Last()",
        0,
    ),
    "memory_error": (
        "try: bytearray(1 << 62)\nexcept MemoryError: print('refused', libc.malloc((1 << 63) - 1))",
        0,
    ),
    "closed_output": ("os.close(1); os.close(2); traffic(); os._exit(3)", 3),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_ends_as_without_us(trial: Trial, name: str) -> None:
    source, status = ENDINGS[name]
    assert trial.python(START + source + "\n").status == status


WITH_REPORT = ["returns", "uncaught", "os_exit", "exit_in_a_foreign_call", "closed_output"]


@pytest.mark.parametrize("name", [*WITH_REPORT, "_exit_in_a_foreign_call"])
def test_every_ending_that_lets_us_speak_leaves_a_report(trial: Trial, name: str) -> None:
    source, status = ENDINGS[name]
    ending = trial.python(START + "leak(3)\n" + source + "\n")
    assert ending.status == status
    for scope in ("foreign", "process"):
        (report,) = trial.reports[scope]
        leaks = [found for found in report["findings"] if found["kind"] == "leak"]
        assert [leak["blocks"] for leak in leaks] == [3]
