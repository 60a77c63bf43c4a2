"""Forks, spawns and execs do what they do without us."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trust.conftest import Trial

FORK_COUNT = int(os.environ.get("HEAPLEDGER_FORKS", "25"))
START = "import os, signal, subprocess, sys\nfrom traffic import *\nlibrary = native()\n"

PROGRAMS = {
    "fork": (
        "child = os.fork()\n"
        "if child == 0: os._exit(traffic() % 256)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), traffic())\n"
    ),
    "fork among threads that allocate": f"print(library.fork_among_threads(4, {FORK_COUNT}))\n",
    "fork by several Python threads": (
        "import threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "ended = []\n"
        "def work():\n"
        "    for _ in range(5):\n"
        "        child = os.fork()\n"
        "        if child == 0: os._exit(library.run_threads(2, 0, 5))\n"
        "        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "        traffic(5)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(ended)\n"
    ),
    "fork of a fork of a fork": (
        "depth = 0\n"
        "while depth < 4 and os.fork() == 0: depth += 1\n"
        "print(depth, traffic(), flush=True) if depth == 4 else os.wait()\n"
    ),
    "vfork": "print(library.spawn_by_vfork(20), traffic())\n",
    "posix_spawn": (
        "child = os.posix_spawn('/bin/true', ['true'], os.environ)\n"
        "print(os.waitpid(child, 0)[1], traffic())\n"
    ),
    "subprocess": (
        "print(subprocess.run(['/bin/echo', 'said'], capture_output=True).stdout)\n"
        "print(subprocess.run('exit 3', shell=True).returncode, os.system('exit 4'))\n"
        "print(subprocess.run([sys.executable, '-c', 'print(6)'], capture_output=True))\n"
    ),
    "exec": (
        "if len(sys.argv) < 2:\n"
        "    leak(2)\n"
        "    os.execv(sys.executable, [sys.executable, __file__, 'again'])\n"
        "print(sys.argv[1:], traffic())\n"
    ),
    "exec of a thread": (
        "import threading\n"
        "threading.Thread(target=os.execv, args=('/bin/echo', ['echo', 'here'])).start()\n"
    ),
    "multiprocessing by fork": (
        "import multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(traffic, [3, 4, 5]))\n"
    ),
    "multiprocessing by spawn": (
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        print(pool.map(traffic, [3, 4, 5]))\n"
    ),
    "a child without an interpreter": "print(os.system('ls -d / | sort'), traffic())\n",
    "a library that is closed while its blocks live": (
        "print(library.use_and_close(os.environ['TRUST_PLUGIN'].encode(), 100), traffic())\n"
    ),
    "a library that closes itself while it executes": (
        "print(library.close_while_executing(os.environ['TRUST_PLUGIN'].encode(), 50), traffic())\n"
    ),
    "a library that is closed by Python while its blocks live": (
        "import _ctypes\n"
        "for _ in range(20):\n"
        "    plugin = ctypes.CDLL(os.environ['TRUST_PLUGIN'])\n"
        "    plugin.open_session.restype = ctypes.c_void_p\n"
        "    block = plugin.open_session()\n"
        "    _ctypes.dlclose(plugin._handle)\n"
        "    assert ctypes.string_at(block) == b'session'\n"
        "    libc.free(block)\n"
        "print(traffic())\n"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_processes(trial: Trial, name: str) -> None:
    # On two busy cores a child that looks through all blocks at its end takes up to half a second.
    trial.seconds_max = max(trial.seconds_max, FORK_COUNT)
    ending = trial.python(START + PROGRAMS[name])
    assert (ending.status, ending.err) == (0, "")
    assert ending.out
    assert trial.findings("foreign") == []


def test_every_process_of_a_family_leaves_its_own_report(trial: Trial) -> None:
    trial.python(
        START
        + "children = []\n"
        + "for number in range(3):\n"
        + "    child = os.fork()\n"
        + "    if child == 0:\n"
        + "        leak(number + 1)\n"
        + "        os._exit(0)\n"
        + "    os.waitpid(child, 0)\n"
    )
    for scope in ("foreign", "process"):
        reports = trial.reports[scope]
        blocks = [sum(found["blocks"] for found in report["findings"]) for report in reports]
        assert sorted(blocks) == [0, 1, 2, 3]


HELD_LOCKS = """
import ctypes, os, threading
import heapledger
from heapledger import blocks, families

block = heapledger.allocate(64)
held, done = threading.Event(), threading.Event()


def hold():
    with families._declaring.lock, blocks._renewal.lock, block._lock:
        held.set()
        done.wait()


thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    libc = ctypes.CDLL(None)
    heapledger.pair(allocate=libc.opendir, release=libc.closedir)
    block.view()[0] = 1
    block.free()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
thread.join()
block.free()
"""


def test_a_child_waits_for_no_lock_of_another_thread(trial: Trial) -> None:
    """At the moment of the fork a thread that the child does not have is inside heapledger."""
    trial.seconds_max = 60
    ending = trial.run([sys.executable, "-W", "ignore", str(trial.script(HELD_LOCKS))], None)
    assert (ending.status, ending.out, ending.err) == (0, "7\n", "")
