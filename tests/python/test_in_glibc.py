"""Calls that reach us from within glibc and ld.so: under their locks, or only in part.

Each was met in a package: V8 and Go ask for their threads' stacks (mini-racer, tls-client), and
libraries with static constructors are loaded everywhere (NumPy, libheif under pyvips).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, run_script

if TYPE_CHECKING:
    from pathlib import Path

SCOPES = ["foreign", "process"]

STACKS = """
import ctypes, threading
library = ctypes.CDLL({path!r})
library.stack_size_of_thread.restype = library.stack_size_of_early_thread.restype = ctypes.c_size_t
library.stack_size_of_thread.argtypes = [ctypes.c_size_t]
print([library.stack_size_of_thread(size << 20) >> 20 for size in (1, 2, 3, 1)])
print(library.stack_size_of_early_thread() > 0)
def ask():
    print(library.stack_size_of_thread(4 << 20) >> 20)
thread = threading.Thread(target=ask)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("scope", SCOPES)
def test_threads_may_ask_for_their_stacks(scope: str, tmp_path: Path) -> None:
    library = compile_plain("asks_for_stack.c", tmp_path)
    run = run_script(STACKS.format(path=str(library)), tmp_path, scope=scope)
    assert (run.status, run.err, run.out) == (0, "", "[1, 2, 3, 1]\nTrue\n4\n")
    assert run.report["findings"] == []


CONSTRUCTORS = """
import ctypes
ctypes.CDLL("libstdc++.so.6")
opener = ctypes.CDLL(None)
opener.dlopen.restype = ctypes.c_void_p
opener.dlopen.argtypes = [ctypes.c_char_p, ctypes.c_int]
assert {foreign} is False or opener.dlopen({path!r}.encode(), 2)
library = ctypes.CDLL({path!r})
print([library.count() for _ in range(3)])
"""


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("foreign", [False, True], ids=["by-python", "by-foreign-call"])
def test_what_constructors_allocate_has_no_certain_family(
    scope: str, foreign: bool, tmp_path: Path
) -> None:
    library = compile_plain("constructors.cpp", tmp_path)
    source = CONSTRUCTORS.format(path=str(library), foreign=foreign)
    run = run_script(source, tmp_path, scope=scope)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert [leak for leak in run.of_kind("leak") if "kept_by" not in leak] == []
