"""What a colleague would add to a finding, from program to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import Run, compile_plain, run_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COPIED = (
    "returned by a function whose restype is c_char_p: ctypes copied the bytes and dropped "
    "the pointer"
)
PRELUDE = """
import copy, ctypes, gc, os
library = ctypes.CDLL({path!r})
get, free = library.get_shared_memory, library.free_shared_memory
get.restype, get.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
greeting = library.greeting
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Run source text after a prelude that opens the library."""
    library = compile_plain("hints.cpp", tmp_path)

    def run(source: str) -> Run:
        ran = run_script(PRELUDE.format(path=str(library)) + source, tmp_path)
        assert (ran.status, ran.err) == (0, "")
        return ran

    return run


@pytest.mark.parametrize(
    ("name", "restype", "call"),
    [("greeting", "c_char_p", "greeting(b'you')"), ("wide_greeting", "c_wchar_p", "wide()")],
)
def test_a_dropped_pointer_is_named(
    name: str, restype: str, call: str, run: Callable[..., Run]
) -> None:
    ran = run(
        f"wide = library.wide_greeting\nlibrary.{name}.restype = ctypes.{restype}\n"
        f"library.constant.restype = ctypes.c_char_p\n"
        f"print(type([{call} for _ in range(3)][0]).__name__, library.constant())\n"
    )
    (leak,) = ran.report["findings"]
    assert (leak["blocks"], leak["handed_to_python"]) == (3, True)
    assert leak["hints"] == [COPIED]
    assert leak["foreign_function"]["name"] == name


@pytest.mark.parametrize(
    "source",
    [
        "greeting.restype = ctypes.c_void_p\nprint(ctypes.c_char_p(greeting(b'you')).value)",
        "greeting.restype = ctypes.c_void_p\np = greeting(b'you')\nprint(ctypes.string_at(p))",
        "greeting.restype = ctypes.c_void_p\n"
        "p = greeting(b'you')\nprint(ctypes.cast(p, ctypes.c_char_p).value)",
        "greeting.restype = ctypes.POINTER(ctypes.c_char)\nprint(greeting(b'you')[:5])",
        "class Text(ctypes.c_char_p): pass\n"
        "greeting.restype = Text\np = greeting(b'you')\nprint(p.value)",
    ],
)
def test_a_pointer_that_python_has_is_not_called_dropped(
    source: str, run: Callable[..., Run]
) -> None:
    (leak,) = run(source).report["findings"]
    assert (leak["foreign_function"]["name"], leak["hints"]) == ("greeting", [])


USUAL = """
def reader(count):
    block = get(count)
    try:
        yield block
    finally:
        free(block)
for _ in range(41):
    for _ in reader(8): pass
abandoned = reader(8)
next(abandoned)
os._exit(0)
"""


def test_who_usually_releases_is_learned_from_the_other_blocks(run: Callable[..., Run]) -> None:
    (leak,) = run(USUAL).report["findings"]
    assert leak["blocks"] == 1
    line = (PRELUDE + USUAL).splitlines().index("        free(block)") + 1
    assert leak["hints"] == [
        "41 of the 42 blocks from get_shared_memory were released by hints.so free_shared_memory,"
        f" at program.py:{line} in reader"
    ]


def test_a_function_that_nobody_releases_teaches_nothing(run: Callable[..., Run]) -> None:
    (leak,) = run("for _ in range(4): get(8)").report["findings"]
    assert (leak["blocks"], leak["hints"]) == (4, [])


WRAPPED = """
for name in "fresh", "one_in_ten":
    getattr(library, name).restype = ctypes.c_void_p
for name in "free_key", "free_value":
    getattr(library, name).argtypes = [ctypes.c_void_p]
"""


def test_a_wrapper_of_malloc_is_no_purpose_that_blocks_have_in_common(
    run: Callable[..., Run],
) -> None:
    source = "for _ in range(9): library.free_key(library.fresh(1))\n"
    lost_key = run(WRAPPED + source + "library.fresh(1)").leaks["fresh"]
    (hint,) = lost_key["hints"]
    assert hint.startswith("9 of the 10 blocks from fresh were released by hints.so free_key, at ")
    # Values come through the same wrapper and the same function, and no value was released.
    lost_value = run(WRAPPED + source + "library.fresh(0)").leaks["fresh"]
    assert lost_value["hints"] == []


def test_what_releases_fewer_than_half_is_not_named(run: Callable[..., Run]) -> None:
    source = "blocks = [library.one_in_ten() for _ in range(30)]\nlibrary.free_key(blocks[9])\n"
    leak = run(WRAPPED + source).leaks["one_in_ten"]
    assert (leak["blocks"], leak["hints"]) == (2, [])


def test_what_an_import_makes_once_is_said_and_comes_last(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "bindings.py").write_text(
        "def context(make): return make(5000)\nimport __main__\nhandle = context(__main__.get)\n"
    )
    first, last = run("import bindings\nfor _ in range(2): get(3)\n").report["findings"]
    assert (first["blocks"], first["hints"]) == (2, [])
    assert (last["blocks"], last["bytes"]) == (1, 40_000)
    assert last["hints"] == [
        "allocated while bindings.py was being imported: likely made once, whatever the program "
        "does"
    ]


OWNER = """
class Shared:
    def __init__(self):
        self.block = get(5)
    def close(self):
        if self.block:
            free(self.block)
    def __del__(self):
        self.close()
"""
COPIES = (
    "released by two copies of one Shared (copy.copy of an owner copies the pointer, not the "
    "memory), unless __del__ was called by name"
)


@pytest.mark.parametrize(
    ("ending", "are_copies"),
    [
        ("one = Shared()\ntwo = copy.copy(one)\ndel one, two\n", True),
        ("one = Shared()\none.me = one\ntwo = copy.copy(one)\ndel one, two\ngc.collect()\n", True),
        ("one = Shared()\none.close()\ndel one\n", False),
    ],
)
def test_copies_of_an_owner_are_named(
    ending: str, are_copies: bool, run: Callable[..., Run]
) -> None:
    (finding,) = run(OWNER + ending).report["findings"]
    assert finding["kind"] == "double-free"
    assert (COPIES in finding["hints"]) == are_copies
    assert "released again during garbage collection, in Shared.__del__" in finding["hints"]


def test_blocks_stored_through_arguments_are_handed_over_among_many(
    run: Callable[..., Run],
) -> None:
    ran = run(
        "a, b, c = (ctypes.c_void_p() for _ in range(3))\n"
        "library.leaves(ctypes.byref(a), ctypes.byref(b), ctypes.byref(c))\n"
    )
    leaks = [(leak["blocks"], leak["handed_to_python"]) for leak in ran.report["findings"]]
    assert leaks == [(3, True)]


FILE = """
import ctypes
libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype, libc.fclose.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
file = libc.fopen(b"/dev/null", b"w")
libc.fclose(file)
libc.fclose(file)  # reads it, and dies of that
"""


def test_a_function_that_is_given_again_what_it_has_ended_is_named(tmp_path: Path) -> None:
    found = run_script(FILE, tmp_path).of_kind("use-after-free")
    (access,) = (finding for finding in found if "damage" not in finding)
    (hint,) = access["hints"]
    assert hint.startswith("released in an earlier call of libc.so.6 ")
    assert hint.endswith(" in <module>: likely the same object was given to it twice")
