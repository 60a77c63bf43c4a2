"""As ``test_python_stacks``, where threads, callbacks, forks and ends of interpreters come in."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from python_stacks import Checker, checker, library_path, recurse


@pytest.fixture
def check() -> Iterator[Checker]:
    yield from checker()


def run_threads(work: Callable[[], object], thread_count: int) -> None:
    """Run `work` on several threads at once; the first error of any is raised here."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads_at_the_same_time(check: Checker) -> None:
    def work() -> None:
        for depth in range(100):
            recurse(depth % 10, check)

    run_threads(work, 4)


def test_threads_one_after_the_other(check: Checker) -> None:
    """A new thread gets the memory of the one before."""
    for _ in range(50):
        run_threads(check, 1)


def test_threads_that_make_and_drop_code(check: Checker) -> None:
    def work() -> None:
        for number in range(200):
            name = f"function_{threading.get_ident()}_{number}"
            exec(f"def {name}():\n  check()\n{name}()", {"check": check})

    run_threads(work, 4)


def test_a_generator_that_moves_between_threads(check: Checker) -> None:
    def generator() -> Iterator[int]:
        while True:
            check()
            yield 1

    running = generator()
    next(running)
    for _ in range(3):
        run_threads(lambda: recurse(1, lambda: next(running)), 1)
        next(running)


def test_a_callback_from_c(check: Checker) -> None:
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def compare(_left: int, _right: int) -> int:
        check()
        recurse(3, check)
        return 0

    libc = ctypes.CDLL(None)
    libc.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, compare_type]
    libc.qsort((ctypes.c_int * 2)(1, 2), 2, 4, compare_type(compare))


def test_a_callback_on_a_thread_that_python_did_not_create(check: Checker) -> None:
    start_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    outcomes: list[str] = []

    def start(_argument: int) -> None:
        check()
        outcomes.append("checked")

    libc = ctypes.CDLL(None)
    callback = start_type(start)
    for _ in range(2):
        thread = ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(thread), None, callback, None) == 0
        assert libc.pthread_join(thread, None) == 0
    assert outcomes == ["checked"] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork(check: Checker) -> None:
    recurse(3, check)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            recurse(3, check)
            recurse(4, check)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_while_the_interpreter_ends() -> None:
    """What ``__del__`` of a module's global allocates has an origin; later there are no frames."""
    source = f"""
import ctypes, os
library = ctypes.CDLL({str(library_path())!r})
text, length = ctypes.create_string_buffer(1 << 16), ctypes.c_size_t()
library.hl_python_connect(text, ctypes.c_size_t(len(text)), ctypes.byref(length))
class Held:
    def __del__(self, os=os, ctypes=ctypes, library=library, text=text, length=length):
        library.hl_python_read_frames(text, ctypes.c_size_t(len(text)), ctypes.byref(length))
        os.write(1, text.value)
held = Held()
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    assert [frame["function"] for frame in json.loads(ended.stdout)] == ["Held.__del__"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="_ctypes refuses subinterpreters before")
def test_in_a_subinterpreter() -> None:
    interpreters = pytest.importorskip("_interpreters")
    source = f"""
import ctypes, json, sys
library = ctypes.CDLL({str(library_path())!r})
text, length = ctypes.create_string_buffer(1 << 16), ctypes.c_size_t()
def read():
    expected = []
    frame = sys._getframe()
    while frame is not None:
        expected.append([frame.f_code.co_filename, frame.f_code.co_qualname])
        frame = frame.f_back
    library.hl_python_read_frames(text, ctypes.c_size_t(len(text)), ctypes.byref(length))
    seen = [[frame["file"], frame["function"]] for frame in json.loads(text.value)]
    assert seen == expected, (seen, expected)
def recurse(depth):
    return recurse(depth - 1) if depth else read()
recurse(4)
"""
    interpreter = interpreters.create()
    try:
        error = interpreters.exec(interpreter, source)
    finally:
        interpreters.destroy(interpreter)
    assert error is None, error.formatted
