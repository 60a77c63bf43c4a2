"""The native reader of Python stacks agrees with ``sys._getframe``, wherever it is called from.

Each test calls the library through ``ctypes`` in a situation that has its own kind of frame, and
compares what it read with what the interpreter says. Runs on every supported interpreter, with
nothing but pytest:

    export HEAPLEDGER_LIBRARY=target/release/libheapledger.so
    python -m pytest tests/python/test_python_stacks.py
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

FRAME_COUNT_MAX = 64
HL_OK = 0
HL_BUFFER_TOO_SMALL = 5

Frame = tuple[str, int, str]


def library_path() -> Path:
    chosen = os.environ.get("HEAPLEDGER_LIBRARY")
    built = Path(__file__).resolve().parents[2] / "target" / "release" / "libheapledger.so"
    return Path(chosen) if chosen else built


def load_library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    for name in ("hl_python_connect", "hl_python_read_frames"):
        function = getattr(library, name)
        function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
        function.restype = ctypes.c_int32
    return library


library = load_library()
buffer = threading.local()


def answer_of(function: Any) -> Any:
    """Call a function that answers with JSON text; the frames it sees include this one."""
    if not hasattr(buffer, "text"):
        buffer.text = ctypes.create_string_buffer(1 << 16)
        buffer.length = ctypes.c_size_t()
    status = function(buffer.text, len(buffer.text), ctypes.byref(buffer.length))
    assert status == HL_OK, status
    return json.loads(buffer.text.value)


def interpreter_frames(frame: FrameType | None) -> list[Frame]:
    """Describe a frame and its callers, as the interpreter knows them."""
    frames: list[Frame] = []
    while frame is not None and len(frames) < FRAME_COUNT_MAX - 2:
        code = frame.f_code
        frames.append((code.co_filename, frame.f_lineno or 0, code.co_qualname))
        frame = frame.f_back
    return frames


def native_frames() -> list[Frame]:
    """Describe the frames of the caller and its callers, as the native reader sees them."""
    frames = answer_of(library.hl_python_read_frames)
    assert {frame["language"] for frame in frames} == {"python"}
    described = [(frame["file"], frame["line"], frame["function"]) for frame in frames]
    assert [function for _, _, function in described[:2]] == ["answer_of", "native_frames"]
    return described[2:]


class Checker:
    """Compares the two views, and counts, so that no test passes by checking nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        expected = interpreter_frames(sys._getframe(1))
        seen = native_frames()
        assert seen[0][2] == "Checker.__call__"
        assert seen[1:] == expected[: len(seen) - 1]
        assert len(seen) == min(len(expected) + 1, FRAME_COUNT_MAX - 2)
        self.count += 1


@pytest.fixture(scope="session", autouse=True)
def connected() -> None:
    answer = answer_of(library.hl_python_connect)
    assert answer["status"] == "connected", answer
    assert answer["version"] == ".".join(str(part) for part in sys.version_info[:3])


@pytest.fixture
def check() -> Iterator[Checker]:
    checker = Checker()
    yield checker
    assert checker.count > 0, "the situation never came up"


def recurse(depth: int, then: Callable[[], None]) -> None:
    if depth > 0:
        recurse(depth - 1, then)
    else:
        then()


def test_connecting_again_says_the_same() -> None:
    first = answer_of(library.hl_python_connect)
    assert answer_of(library.hl_python_connect) == first
    assert first["free_threaded"] is not getattr(sys, "_is_gil_enabled", lambda: True)()


def test_a_short_buffer_is_refused_with_the_length_needed() -> None:
    length = ctypes.c_size_t()
    short = ctypes.create_string_buffer(2)
    status = library.hl_python_read_frames(short, len(short), ctypes.byref(length))
    assert status == HL_BUFFER_TOO_SMALL
    assert length.value > len(short)


@pytest.mark.parametrize("depth", [0, 1, 5, 20, 40, 70, 300])
def test_recursion_and_the_limit(check: Checker, depth: int) -> None:
    recurse(depth, check)


def test_calls_at_different_lines_of_one_function(check: Checker) -> None:
    for _ in range(3):
        check()
        check()
    check()


def test_a_hot_loop(check: Checker) -> None:
    for _ in range(3_000):
        recurse(2, check)


def test_generators(check: Checker) -> None:
    def inner() -> Iterator[int]:
        for number in range(2):
            check()
            yield number

    def outer() -> Iterator[int]:
        check()
        yield 1
        check()
        yield from inner()

    assert list(outer()) == [1, 0, 1]


def test_a_generator_that_is_thrown_into_and_closed(check: Checker) -> None:
    def generator() -> Iterator[int]:
        while True:
            try:
                yield 1
            except ValueError:
                check()
            finally:
                check()

    running = generator()
    next(running)
    running.throw(ValueError)  # type: ignore[attr-defined]
    running.close()  # type: ignore[attr-defined]


def test_comprehensions_and_generator_expressions(check: Checker) -> None:
    [check() for _ in range(2)]
    {check() for _ in range(1)}
    {number: check() for number in range(1)}
    list(check() for _ in range(2))


def test_calls_from_c_functions(check: Checker) -> None:
    list(map(lambda _: check(), [1]))
    sorted([2, 1], key=lambda number: (check(), number)[1])
    functools.partial(check)()
    functools.reduce(lambda _left, _right: check(), [1, 2, 3])


class Everything:
    """Calls its check from every kind of method."""

    check: Callable[[], None]

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        check()

    def __del__(self) -> None:
        self.check()

    @property
    def prop(self) -> int:
        self.check()
        return 1

    def __getattr__(self, name: str) -> Any:
        self.check()
        raise AttributeError(name)

    def __call__(self) -> None:
        self.check()

    def __enter__(self) -> Everything:
        self.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.check()

    def __eq__(self, other: object) -> bool:
        self.check()
        return True

    def __hash__(self) -> int:
        self.check()
        return 1

    def __add__(self, other: object) -> int:
        self.check()
        return 1


def test_methods_and_descriptors(check: Checker) -> None:
    thing = Everything(check)
    assert thing.prop == 1
    assert not hasattr(thing, "missing")
    thing()
    with thing:
        check()
    assert {thing: 1}[Everything(check)] == 1
    assert thing + thing == 1


def test_del_by_reference_count_and_by_garbage_collection(check: Checker) -> None:
    thing = Everything(check)
    del thing
    cycle = Everything(check)
    cycle.itself = cycle  # type: ignore[attr-defined]
    del cycle
    gc.collect()


def test_class_bodies_and_metaclasses(check: Checker) -> None:
    class Meta(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Meta:
            check()
            return super().__new__(cls, name, bases, body)

    class Thing(metaclass=Meta):
        check()

        @classmethod
        def by_class(cls) -> None:
            check()

        @staticmethod
        def by_nobody() -> None:
            check()

    Thing.by_class()
    Thing.by_nobody()


def test_code_made_at_run_time(check: Checker) -> None:
    names = {"check": check}
    exec("check()\ndef function():\n  check()\n\nfunction()", names)
    eval("check()", names)


def test_each_of_many_short_lived_functions_is_told_apart(check: Checker) -> None:
    """The memory of a released code object is used again at once; its names must not be."""
    for number in range(5_000):
        lines = "\n" * (number % 7)
        source = f"{lines}def function_{number:04}():\n  check()\nfunction_{number:04}()"
        exec(compile(source, f"/made/{number}.py", "exec"), {"check": check})


def test_non_ascii_names(check: Checker) -> None:
    for name, file in [("é", "/nowhere/été.py"), ("функция", "/файл.py"), ("𝔘", "/漢字_😀.py")]:  # noqa: RUF001
        source = f"def {name}():\n  check()\n\n{name}()"
        exec(compile(source, file, "exec"), {"check": check})


def test_calls_over_several_lines(check: Checker) -> None:
    values = [
        1,
        check(),
        recurse(
            1,
            check,
        ),
        2,
    ]
    assert len(values) == 4


def test_exceptions(check: Checker) -> None:
    try:
        try:
            raise ZeroDivisionError
        finally:
            check()
    except ZeroDivisionError:
        check()
    else:
        pytest.fail("not reached")


def test_coroutines_and_async_generators(check: Checker) -> None:
    async def numbers() -> AsyncIterator[int]:
        check()
        yield 1
        await asyncio.sleep(0)
        check()
        yield 2

    async def descend(depth: int) -> None:
        if depth > 0:
            return await descend(depth - 1)
        check()
        await asyncio.sleep(0)
        check()
        async for _ in numbers():
            check()
        return None

    async def several() -> None:
        await asyncio.gather(*(descend(depth) for depth in range(4)))

    asyncio.run(several())


def run_threads(work: Callable[[], None], thread_count: int) -> None:
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
        run_threads(lambda: recurse(1, lambda: bool(next(running)) and None), 1)
        next(running)


def test_a_callback_from_c(check: Checker) -> None:
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    @compare_type
    def compare(_left: int, _right: int) -> int:
        check()
        recurse(3, check)
        return 0

    libc = ctypes.CDLL(None)
    libc.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, compare_type]
    libc.qsort((ctypes.c_int * 2)(1, 2), 2, 4, compare)


def test_a_callback_on_a_thread_that_python_did_not_create(check: Checker) -> None:
    start_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    outcomes: list[str] = []

    @start_type
    def start(_argument: int) -> None:
        check()
        outcomes.append("checked")

    libc = ctypes.CDLL(None)
    for _ in range(2):
        thread = ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(thread), None, start, None) == 0
        assert libc.pthread_join(thread, None) == 0
    assert outcomes == ["checked"] * 2


def test_under_a_profiler_and_a_tracer(check: Checker) -> None:
    sys.setprofile(lambda *_arguments: None)
    try:
        recurse(2, check)
    finally:
        sys.setprofile(None)
    old = sys.gettrace()
    sys.settrace(lambda *_arguments: None)
    try:
        recurse(2, check)
    finally:
        sys.settrace(old)


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
