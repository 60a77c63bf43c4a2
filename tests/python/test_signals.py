"""Signals under `heapledger run`: each reaches the program once, and its death is ours."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTING = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
print("ready", flush=True)
end = time.monotonic() + 30
while not got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
print(",".join(got), flush=True)
"""

DEFAULT = """
import time
print("ready", flush=True)
time.sleep(30)
"""

RUN = [sys.executable, "-m", "heapledger", "run", "--scope", "explicit", "--quiet"]


class Running:
    """A program under `run` that has said "ready"; its process group is its own."""

    def __init__(self, script: Path, **options: Any) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [*RUN, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the status and what was printed."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Running]:
    """Run a program that counts what it gets."""
    script = tmp_path / "counting.py"
    script.write_text(COUNTING, encoding="utf-8")
    running = Running(script)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[Running]:
    """Run a program that leaves signals to their defaults."""
    script = tmp_path / "sleeping.py"
    script.write_text(DEFAULT, encoding="utf-8")
    running = Running(script)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_to_us_reaches_the_program(counting: Running, name: str) -> None:
    counting.process.send_signal(signal.Signals[name])
    status, out, err = counting.end()
    assert (status, out, err) == (0, f"{name}\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_to_the_group_reaches_the_program_once(counting: Running, name: str) -> None:
    os.killpg(counting.process.pid, signal.Signals[name])
    status, out, err = counting.end()
    assert (status, out, err) == (0, f"{name}\n", "")


def test_control_c_at_a_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    script = tmp_path / "counting.py"
    script.write_text(COUNTING, encoding="utf-8")
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*RUN, str(script)])
    printed = b""
    while b"ready" not in printed:
        printed += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    deadline = time.monotonic() + 30
    while b"SIGINT" not in printed and time.monotonic() < deadline:
        printed += os.read(terminal, 1000)
    time.sleep(0.2)
    assert printed.count(b"SIGINT") == 1
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT", "SIGQUIT"])
def test_the_programs_death_by_a_signal_is_ours(sleeping: Running, name: str) -> None:
    sleeping.process.send_signal(signal.Signals[name])
    status, _, err = sleeping.end()
    assert status == -signal.Signals[name]
    # KeyboardInterrupt ends with the handlers run; the others end at once, without a report.
    if name != "SIGINT":
        assert f"was killed by {name}" in err


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_program_that_dies_by_itself(tmp_path: Path, name: str) -> None:
    script = tmp_path / "dying.py"
    script.write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})\n", encoding="utf-8")
    ran = subprocess.run([*RUN, str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.Signals[name]
    assert f"was killed by {name}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.glob("core*"))


def test_the_program_sees_the_signals_as_without_us(tmp_path: Path) -> None:
    script = tmp_path / "looking.py"
    script.write_text(
        "import signal\n"
        "print([(n, str(signal.getsignal(n))) for n in range(1, 65) if n != 2])\n"
        "print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))\n"
        # posix_spawn of glibc leaves its own two signals, 32 and 33, ignored; nobody else can use
        # them.
        "own = 0x180000000\n"
        "for line in open('/proc/self/status'):\n"
        "    name, value = line.split(':', 1)\n"
        "    if name in ('SigIgn', 'SigBlk'):\n"
        "        print(name, hex(int(value, 16) & ~own))\n",
        encoding="utf-8",
    )
    plain = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    )
    ran = subprocess.run([*RUN, str(script)], capture_output=True, text=True, check=True)
    assert ran.stdout == plain.stdout


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    script = tmp_path / "looking.py"
    script.write_text(
        "import signal\nprint(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)\n",
        encoding="utf-8",
    )
    ran = subprocess.run(
        ["nohup", *RUN, str(script)],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    assert ran.stdout == "True\n"


def test_a_pipe_that_is_closed_ends_the_program_and_nothing_hangs(tmp_path: Path) -> None:
    script = tmp_path / "printing.py"
    script.write_text("while True:\n    print('line')\n", encoding="utf-8")
    writer = subprocess.Popen([*RUN, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"line\n"
    writer.stdout.close()
    _, err = writer.communicate(timeout=30)
    assert b"BrokenPipeError" in err
    assert writer.returncode == 1
