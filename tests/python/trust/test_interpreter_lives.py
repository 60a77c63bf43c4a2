"""Interpreters that begin and end several times, are watched by others, or stand beside others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT

if TYPE_CHECKING:
    from trust.conftest import Trial

START = "import os, sys, threading\nfrom traffic import *\n"

SUBINTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
work = "from traffic import *\\nprint(traffic(), flush=True)"
for _ in range(3):
    number = interpreters.create()
    number = getattr(number, "id", number)
    failure = interpreters.run_string(number, work)
    print(failure)
    interpreters.destroy(number)
print(traffic())
"""

WATCHED = {
    "settrace": (
        "seen = []\n"
        "sys.settrace(lambda frame, event, argument: seen.append(event))\n"
        "traffic()\n"
        "sys.settrace(None)\n"
        "print(len(seen))\n"
    ),
    "setprofile of every thread": (
        "seen = []\n"
        "threading.setprofile(lambda frame, event, argument: seen.append(event))\n"
        "thread = threading.Thread(target=traffic)\n"
        "thread.start(); thread.join()\n"
        "print(len(seen) > 100, 'c_call' in seen)\n"
    ),
    "cProfile": (
        "import cProfile, pstats\n"
        "profile = cProfile.Profile()\n"
        "profile.runcall(traffic)\n"
        "print(pstats.Stats(profile).total_calls)\n"
    ),
    "tracemalloc": (
        "import tracemalloc\n"
        "tracemalloc.start(5)\n"
        "kept = [bytes(100) for _ in range(10)]\n"
        "traffic()\n"
        "print(tracemalloc.get_object_traceback(kept[0]))\n"
    ),
    "coverage": (
        "import coverage\n"
        "run = coverage.Coverage(data_file=None)\n"
        "run.start()\n"
        "traffic()\n"
        "run.stop()\n"
        "print(sorted(os.path.basename(name) for name in run.get_data().measured_files()))\n"
    ),
    "greenlet": (
        "import greenlet\n"
        "done = []\n"
        "def work(number):\n"
        "    for round in range(5):\n"
        "        done.append((number, traffic(3)))\n"
        "        hub.switch()\n"
        "hub = greenlet.getcurrent()\n"
        "workers = [greenlet.greenlet(work) for _ in range(4)]\n"
        "for _ in range(6):\n"
        "    for number, worker in enumerate(workers):\n"
        "        worker.switch(number) if not worker.dead else None\n"
        "print(done)\n"
    ),
    "greenlet switched inside a foreign call": (
        "import greenlet\n"
        "hub = greenlet.getcurrent()\n"
        "@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)\n"
        "def order(left, right):\n"
        "    kept.append(libc.malloc(40))\n"
        "    hub.switch()\n"
        "    libc.free(kept.pop())\n"
        "    return 0\n"
        "kept = []\n"
        "def sort():\n"
        "    libc.qsort((ctypes.c_int * 4)(4, 3, 2, 1), 4, 4, order)\n"
        "workers = [greenlet.greenlet(sort) for _ in range(3)]\n"
        "while not all(worker.dead for worker in workers):\n"
        "    for worker in workers:\n"
        "        worker.switch() if not worker.dead else None\n"
        "    traffic(3)\n"
        "print(kept)\n"
    ),
    "gevent": (
        "import gevent\n"
        "def work(number):\n"
        "    gevent.sleep(0)\n"
        "    return traffic(number)\n"
        "print([job.get() for job in [gevent.spawn(work, n) for n in range(5)]])\n"
    ),
}


@pytest.mark.parametrize("name", WATCHED)
def test_tracers_and_switchers(trial: Trial, name: str) -> None:
    module = name.split()[0]
    known = module in {"settrace", "setprofile", "cProfile", "tracemalloc"}
    if not known and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    ending = trial.python(START + WATCHED[name])
    assert (ending.status, ending.err) == (0, "")
    assert ending.out
    assert trial.findings("foreign") == []


def test_subinterpreters(trial: Trial) -> None:
    ending = trial.python(START + SUBINTERPRETERS)
    assert ending.status == 0
    assert ending.out.endswith("120\n")


@pytest.mark.parametrize(
    "options",
    [
        ("-I",),
        ("-S",),
        ("-X", "faulthandler"),
        ("-X", "dev"),
        ("-X", "importtime"),
        ("-OO",),
        ("-u",),
    ],
    ids=" ".join,
)
def test_options_of_the_interpreter(trial: Trial, options: tuple[str, ...]) -> None:
    if options == ("-X", "importtime"):
        source = "import ctypes"
        trial.run(trial.command(source, *options), "foreign")
        return
    source = f"import sys\nsys.path.insert(0, {str(ROOT / 'tests' / 'trust')!r})\n"
    ending = trial.python(source + START + "print(traffic())\n", *options)
    assert (ending.status, ending.out) == (0, "120\n")


def embedding_flags() -> list[str] | None:
    """Return what links a program with this interpreter, or nothing."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    include = sysconfig.get_path("include")
    library = Path(folder) / f"libpython{name}.so"
    if not library.exists() or not (Path(include) / "Python.h").exists():
        return None
    return [f"-I{include}", f"-L{folder}", f"-lpython{name}", f"-Wl,-rpath,{folder}"]


def test_an_interpreter_that_begins_and_ends_ten_times(trial: Trial) -> None:
    flags = embedding_flags()
    if flags is None:
        pytest.skip("this interpreter has no shared library to embed")
    program = trial.folder / "embedding"
    source = str(ROOT / "tests" / "trust" / "embedding.c")
    subprocess.run(["cc", "-g", "-o", str(program), source, *flags], check=True)
    ending = trial.compare([str(program)], PYTHONHOME=sys.base_prefix)
    assert (ending.status, ending.err) == (0, "")
    assert ending.out.count("120\n") == 10
