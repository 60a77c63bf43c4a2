"""The native reader of Python stacks agrees with ``sys._getframe``, wherever it is called from.

Each test calls the library through ``ctypes`` in a situation that has its own kind of frame, and
compares what it read with what the interpreter says. Runs on every supported interpreter, with
nothing but pytest:

    HEAPLEDGER_LIBRARY=target/release/libheapledger.so \\
        python -m pytest tests/python/test_python_stacks.py
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any

import pytest

from python_stacks import HL_BUFFER_TOO_SMALL, Checker, answer_of, checker, library, recurse


@pytest.fixture
def check() -> Iterator[Checker]:
    yield from checker()


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

    check: Callable[[], int]

    def __init__(self, check: Callable[[], int]) -> None:
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
    for name, file in [
        ("é", "/nowhere/été.py"),
        ("функция", "/файл.py"),
        ("\U00010400", "/漢字_😀.py"),
    ]:
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
