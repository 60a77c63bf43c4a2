"""Threads of every size and signals at every moment change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trust.conftest import Trial

START = "import os, signal, sys, threading, time\nfrom traffic import *\nlibrary = native()\n"
STACK_MIN_BYTES = 16384

THREADS = {
    "64 of Python": (
        "done = []\n"
        "threads = [threading.Thread(target=lambda: done.append(traffic())) for _ in range(64)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(done)\n"
    ),
    "64 of C": "print(library.run_threads(64, 0, 200))\n",
    "200 of C, one after the other": (
        "print([library.run_threads(1, 0, 5) for _ in range(200)])\n"
    ),
    "stacks of 64 KB": "print(library.run_threads(16, 65536, 50))\n",
    "the smallest stacks": f"print(library.run_threads(16, {STACK_MIN_BYTES}, 50))\n",
    "Python on small stacks": (
        "threading.stack_size(262144)\n"
        "threads = [threading.Thread(target=traffic) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print('joined')\n"
    ),
    "daemons that are still at it at the end": (
        "event = threading.Event()\n"
        "def work():\n"
        "    while True:\n"
        "        library.run_threads(1, 0, 20)\n"
        "        event.set()\n"
        "for _ in range(4): threading.Thread(target=work, daemon=True).start()\n"
        "print(event.wait(60))\n"
    ),
    "a foreign thread that calls back into Python": (
        "calls = []\n"
        "@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)\n"
        "def begin(argument):\n"
        "    calls.append(traffic(5))\n"
        "pthreads = ctypes.CDLL(None)\n"
        "thread = ctypes.c_ulong()\n"
        "for _ in range(10):\n"
        "    pthreads.pthread_create(ctypes.byref(thread), None, begin, None)\n"
        "    pthreads.pthread_join(thread, None)\n"
        "print(calls)\n"
    ),
}


@pytest.mark.parametrize("name", THREADS)
def test_threads(trial: Trial, name: str) -> None:
    ending = trial.python(START + THREADS[name])
    assert (ending.status, ending.err) == (0, "")
    assert ending.out


def test_errors_are_judged_on_the_smallest_stacks(trial: Trial) -> None:
    # A double free kills this program without us; with us it goes on.
    ending = trial.run(trial.command(START + DOUBLE_FREE_ON_A_SMALL_STACK), "foreign")
    assert (ending.status, ending.out, ending.err) == (0, "1 120\n", "")
    assert trial.findings("foreign").count("double-free") == 1


DOUBLE_FREE_ON_A_SMALL_STACK = (
    f"print(library.free_twice_in_a_thread({STACK_MIN_BYTES}), traffic())\n"
)


STORMS = {
    "a C handler at 10 kHz": "library.begin_storm(100, 0)\n",
    "a C handler on its own stack at 10 kHz": "library.begin_storm(100, 1)\n",
    "a Python handler at 10 kHz": (
        "signal.signal(signal.SIGPROF, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_PROF, 1e-4, 1e-4)\n"
    ),
    "a Python handler that calls native code": (
        "signal.signal(signal.SIGPROF, lambda *_: traffic(2))\n"
        "signal.setitimer(signal.ITIMER_PROF, 1e-3, 1e-3)\n"
    ),
}
UNDER_A_STORM = (
    "end = time.process_time() + 0.2\n"
    "intact = set()\n"
    "while time.process_time() < end:\n"
    "    intact.add(traffic())\n"
    "    intact.add(library.run_threads(2, 0, 30))\n"
    "signal.setitimer(signal.ITIMER_PROF, 0, 0)\n"
    "print(sorted(intact), library.end_storm() >= 0)\n"
)


@pytest.mark.parametrize("name", STORMS)
def test_signal_storms(trial: Trial, name: str) -> None:
    ending = trial.python(START + STORMS[name] + UNDER_A_STORM)
    assert (ending.status, ending.err) == (0, "")
    assert trial.findings("foreign") == []


def test_handlers_that_allocate(trial: Trial) -> None:
    ending = trial.python(START + "print(library.raise_into_malloc(50), traffic())\n")
    assert ending.out == "50 120\n"


def test_what_a_program_registers_for_signals_is_what_it_sees(trial: Trial) -> None:
    ending = trial.python(
        "import ctypes, faulthandler, signal\n"
        "from traffic import *\n"
        "for number in range(1, 65):\n"
        "    print(number, signal.getsignal(number))\n"
        "faulthandler.enable()\n"
        "print(signal.getsignal(signal.SIGSEGV), faulthandler.is_enabled(), traffic())\n"
        "faulthandler.disable()\n"
    )
    assert ending.status == 0
