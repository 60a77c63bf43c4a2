"""A program that dies of a signal dies as it would without us, and what was known is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compiling import LIBRARY
from intercepted import Run, compile_plain, run_script

if TYPE_CHECKING:
    from pathlib import Path

LEAKING = """
import ctypes, os, signal, subprocess, sys
library = ctypes.CDLL({path!r})
library.get_shared_memory.restype = ctypes.c_void_p
library.free_shared_memory.argtypes = [ctypes.c_void_p]
for _ in range(10):
    library.get_shared_memory(42)
block = library.get_shared_memory(7)
library.free_shared_memory(block)
library.free_shared_memory(block)
print("before", flush=True)
"""

DEATHS = {
    "terminated": ("os.kill(os.getpid(), signal.SIGTERM)", signal.SIGTERM),
    "hung_up": ("os.kill(os.getpid(), signal.SIGHUP)", signal.SIGHUP),
    "interrupted": (
        "signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)",
        signal.SIGINT,
    ),
    "of_a_keyboard_interrupt": ("os.kill(os.getpid(), signal.SIGINT)", signal.SIGINT),
    "user_signal": ("os.kill(os.getpid(), signal.SIGUSR1)", signal.SIGUSR1),
    "alarm": ("signal.alarm(1); signal.pause()", signal.SIGALRM),
    "aborted": ("os.abort()", signal.SIGABRT),
    "null_pointer": ("ctypes.string_at(8)", signal.SIGSEGV),
    "with_faulthandler": (
        "import faulthandler; faulthandler.enable(); ctypes.string_at(8)",
        signal.SIGSEGV,
    ),
    "raised_in_a_thread": (
        "import threading\n"
        "thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGTERM,))\n"
        "thread.start(); thread.join()",
        signal.SIGTERM,
    ),
    "default_restored": (
        "before = signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "signal.signal(signal.SIGTERM, before)\n"
        "os.kill(os.getpid(), signal.SIGTERM)",
        signal.SIGTERM,
    ),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library of the first example."""
    return compile_plain("shared_memory.cpp", tmp_path_factory.mktemp("native"))


def _dying(library: Path, ending: str, tmp_path: Path) -> Run:
    return run_script(LEAKING.format(path=str(library)) + ending + "\n", tmp_path)


@pytest.mark.parametrize("name", DEATHS)
def test_what_was_known_is_reported(name: str, library: Path, tmp_path: Path) -> None:
    ending, number = DEATHS[name]
    run = _dying(library, ending, tmp_path)
    assert (run.status, run.out) == (-number, "before\n")
    kinds = sorted(finding["kind"] for finding in run.report["findings"])
    assert kinds == ["double-free", "leak"]
    assert run.leaks["get_shared_memory"]["blocks"] == 10
    # A keyboard interrupt finalises the interpreter before the signal is raised again.
    assert run.report["process"]["killed_by"] == number.name


def test_run_says_what_the_program_died_of(library: Path, tmp_path: Path) -> None:
    script = tmp_path / "dying.py"
    script.write_text(LEAKING.format(path=str(library)) + DEATHS["terminated"][0], "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "heapledger", "run", str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (-signal.SIGTERM, "before\n")
    assert "1 leak (10 blocks, 3,360 bytes), 1 double free" in ran.stderr
    assert "was killed by SIGTERM: what it was still using then counts as leaked" in ran.stderr


ACTIONS = """
import ctypes, signal
libc = ctypes.CDLL(None)
libc.signal.restype = ctypes.c_void_p
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGSEGV", "SIGABRT", "SIGPIPE", "SIGINT"):
    number = getattr(signal, name)
    found = [signal.getsignal(number)]
    found.append(signal.signal(number, signal.SIG_IGN))
    found.append(signal.signal(number, signal.SIG_DFL))
    found.append(signal.signal(number, lambda *_: print("called")))
    if number not in (signal.SIGSEGV, signal.SIGABRT):
        signal.raise_signal(number)
    signal.signal(number, signal.SIG_DFL)
    found += [libc.signal(number, 1), libc.signal(number, 0), libc.signal(number, 1)]
    print(name, *[x if x is None or isinstance(x, int) else "function" for x in found])
"""


def test_the_program_sees_the_actions_that_it_would_see_without_us(tmp_path: Path) -> None:
    watched = run_script(ACTIONS, tmp_path)
    plain = subprocess.run(
        [sys.executable, "-c", ACTIONS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (watched.status, watched.out, watched.err) == (0, plain.stdout, plain.stderr)
    assert plain.returncode == 0


CHILDREN = """
import ctypes, os, signal, subprocess, sys
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(subprocess.run(["sh", "-c", "kill -HUP $$"]).returncode)
print(subprocess.run([sys.executable, "-c", "import ctypes; ctypes.string_at(8)"]).returncode)
print(subprocess.run(["sleep", "1000"], preexec_fn=lambda: signal.alarm(1)).returncode)
"""


def test_children_die_of_their_signals_too(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(CHILDREN, encoding="utf-8")
    options = f"scope=foreign:json={tmp_path}/%p.json"
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "LD_PRELOAD": str(LIBRARY), "HEAPLEDGER_OPTIONS": options},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "-15\n-1\n-11\n-14\n", "")
    reports = [json.loads(path.read_text("utf-8")) for path in tmp_path.glob("*.json")]
    names = sorted(report["process"].get("killed_by", "") for report in reports)
    assert names == ["", "SIGALRM", "SIGHUP", "SIGSEGV", "SIGTERM"]
