"""Other allocators, other allocator settings, other preloaded libraries: nothing differs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT

if TYPE_CHECKING:
    from trust.conftest import Trial

PROGRAM = (
    "import os, threading\n"
    "from traffic import *\n"
    "library = native()\n"
    "print(traffic(), library.run_threads(4, 0, 30), flush=True)\n"
    "child = os.fork()\n"
    "if child == 0: os._exit(traffic(10))\n"
    "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    "leak(2)\n"
)
OUT = "120 120\n30\n"

SETTINGS = {
    "PYTHONMALLOC": ["malloc", "debug", "malloc_debug", "pymalloc"],
    "MALLOC_PERTURB_": ["165"],
    "MALLOC_ARENA_MAX": ["1"],
    "PYTHONDEVMODE": ["1"],
    "PYTHONHASHSEED": ["0"],
    "LD_BIND_NOW": ["1"],
    "GLIBC_TUNABLES": [
        "glibc.malloc.tcache_count=0",
        "glibc.malloc.perturb=90",
        "glibc.malloc.mmap_threshold=4096",
        "glibc.malloc.arena_max=1:glibc.malloc.trim_threshold=0",
    ],
}
EACH = [(name, value) for name, values in SETTINGS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), EACH)
def test_settings_of_allocators_and_interpreters(trial: Trial, name: str, value: str) -> None:
    ending = trial.python(PROGRAM, **{name: value})
    assert (ending.status, ending.out, ending.err) == (0, OUT, "")
    for scope in ("foreign", "process"):
        assert trial.findings(scope) == ["leak"]


def find_library(pattern: str) -> Path:
    """Return a library of the system, or skip the test."""
    folders = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))
    found = [path for folder in folders for path in sorted(folder.glob(pattern))]
    if not found:
        pytest.skip(f"there is no {pattern} here")
    return found[0]


@pytest.mark.parametrize(
    "pattern", ["libjemalloc.so.*", "libtcmalloc_minimal.so.*", "libc_malloc_debug.so.*"]
)
def test_another_allocator_beside_us(trial: Trial, pattern: str) -> None:
    allocator = find_library(pattern)
    checks = {"GLIBC_TUNABLES": "glibc.malloc.check=3"} if "debug" in pattern else {}
    ending = trial.python(PROGRAM, LD_PRELOAD=str(allocator), TRUST_ALLOCATOR="", **checks)
    assert (ending.status, ending.out, ending.err) == (0, OUT, "")
    for scope in ("foreign", "process"):
        assert trial.findings(scope) == ["leak"]


OPERATORS = (
    "runtime = ctypes.CDLL('libstdc++.so.6')\n"
    "runtime._Znwm.restype = ctypes.c_void_p\n"
    "for _ in range(300):\n"
    "    block = runtime._Znwm(ctypes.c_size_t(24))\n"
    "    ctypes.memset(block, 1, 24)\n"
    "    runtime._ZdlPv(ctypes.c_void_p(block))\n"
)


def test_an_allocator_of_another_kind_beside_us(trial: Trial) -> None:
    source = ROOT / "tests" / "trust" / "own_malloc.c"
    allocator = trial.folder / "own_malloc.so"
    command = ["cc", "-O1", "-fno-builtin", "-shared", "-fPIC", "-pthread", "-o", str(allocator)]
    subprocess.run([*command, str(source)], check=True)
    ending = trial.python(PROGRAM + OPERATORS, LD_PRELOAD=str(allocator), TRUST_ALLOCATOR="")
    assert (ending.status, ending.out, ending.err) == (0, OUT, "")
    for scope in ("foreign", "process"):
        assert trial.findings(scope) == ["leak"]


@pytest.mark.parametrize("pattern", ["libSegFault.so", "libasan.so.*", "libgomp.so.*"])
def test_a_library_that_is_preloaded_too(trial: Trial, pattern: str) -> None:
    other = find_library(pattern)
    environment = {"LD_PRELOAD": str(other), "ASAN_OPTIONS": "detect_leaks=0"}
    if "asan" in pattern:
        # ASan replaces malloc by functions of its own, and we pass every call on to them.
        command = trial.command(PROGRAM)
        plain = trial.run(command, None, **environment)
        if plain.status:
            pytest.skip("this interpreter does not run under a preloaded ASan")
    ending = trial.python(PROGRAM, **environment)
    assert (ending.status, ending.out) == (0, OUT)


def test_a_program_that_is_linked_statically(trial: Trial) -> None:
    source, program = trial.folder / "static.c", trial.folder / "static"
    source.write_text(
        '#include <stdio.h>\n#include <stdlib.h>\nint main(void){free(malloc(9));puts("static");}\n'
    )
    made = subprocess.run(["cc", "-static", "-o", str(program), str(source)], check=False)
    if made.returncode:
        pytest.skip("there is no static C library")
    ending = trial.compare([str(program)])
    assert (ending.status, ending.out, ending.err) == (0, "static\n", "")


def test_a_program_of_32_bits(trial: Trial) -> None:
    source, program = trial.folder / "small.c", trial.folder / "small"
    source.write_text('#include <stdio.h>\nint main(void){puts("small");return 0;}\n')
    made = subprocess.run(
        ["cc", "-m32", "-o", str(program), str(source)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("there is no compiler for programs of 32 bits")
    plain = trial.run([str(program)], None)
    watched = trial.run([str(program)], "process")
    # ld.so says that it ignores a library of another kind.
    assert (watched.status, watched.out) == (plain.status, plain.out)


@pytest.mark.parametrize("shell", ["sh", "bash", "perl", "git", "tar", "ls", "make", "cc"])
def test_programs_without_an_interpreter(trial: Trial, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    arguments = {
        "sh": ["-c", "for i in 1 2 3; do (echo $i); done | cat"],
        "bash": ["-c", "a=(1 2 3); echo ${a[@]} | cat; exit 4"],
        "perl": ["-e", 'print join(",", map { $_ x 3 } 1..9), "\\n"'],
    }
    ending = trial.compare([program, *arguments.get(shell, ["--version"])])
    assert ending.out


def test_numpy(trial: Trial) -> None:
    pytest.importorskip("numpy")
    ending = trial.python(
        "import numpy\n"
        "from traffic import *\n"
        "a = numpy.arange(10000.0).reshape(100, 100)\n"
        "print(traffic(), numpy.linalg.inv(a + numpy.eye(100)).shape, float((a @ a).sum()))\n"
        "kept = libc.malloc(800)\n"
        "view = numpy.ctypeslib.as_array((ctypes.c_double * 100).from_address(kept))\n"
        "view[:] = 1\n"
        "print(float(view.sum()))\n"
        "libc.free(kept)\n"
    )
    assert (ending.status, ending.err) == (0, "")
    assert trial.findings("foreign") == []


def test_an_interpreter_that_is_not_preloaded_but_attached(trial: Trial) -> None:
    source = (
        "import sys\n"
        "if len(sys.argv) > 1:\n"
        "    import heapledger\n"
        "    heapledger.start(scope=sys.argv[1])\n" + PROGRAM
    )
    plain = trial.run(trial.command(source), None)
    for scope in ("explicit", "foreign", "process"):
        command = [sys.executable, str(trial.folder / "program.py"), scope]
        assert trial.run(command, None) == plain
