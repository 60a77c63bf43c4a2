"""What foreign calls give to Python, whose it is, and how such calls are left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, frames, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Run

OPEN = """
import ctypes
class Pair(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("text", ctypes.c_char_p)]
class Many(ctypes.Structure):
    _fields_ = [("blocks", ctypes.c_void_p * 6)]
library = ctypes.CDLL({path!r})
for name in ("gives_pair_of_blocks", "jumps", "through", "pool_work", "replace"):
    getattr(library, name).restype = ctypes.c_void_p
library.release.argtypes = library.replace.argtypes = [ctypes.c_void_p]
library.gives_text.restype = ctypes.c_char_p
library.gives_numbers.restype = ctypes.POINTER(ctypes.c_int)
library.gives_pair.restype = Pair
library.gives_many.restype = Many
place = ctypes.c_void_p()
places = (ctypes.c_void_p * 5)()
pair = Pair()
"""

GIVEN = {
    "gives_numbers": ("library.gives_numbers()", 1),
    "gives_text": ("library.gives_text()", 1),
    "gives_pair": ("library.gives_pair()", 1),
    "gives_many": ("library.gives_many()", 6),
    "fills_one": ("library.fills_one(ctypes.byref(place))", 1),
    "fills_array": ("library.fills_array(places, 5)", 5),
    "fills_structure": ("library.fills_structure(ctypes.byref(pair))", 1),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library."""
    return compile_plain("gives.c", tmp_path_factory.mktemp("native"), "-O2")


def _run(library: Path, text: str, folder: Path, **options: str) -> Run:
    run = run_script(OPEN.format(path=str(library)) + text, folder, **options)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    return run


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_what_python_is_given_is_marked_and_what_is_kept_is_not(
    calls: str, library: Path, tmp_path: Path
) -> None:
    text = "\n".join([call for call, _ in GIVEN.values()] + ["library.keeps()"])
    run = _run(library, text, tmp_path, calls=calls)
    blocks = {name: leak["blocks"] for name, leak in run.leaks.items()}
    assert blocks == {name: count for name, (_, count) in GIVEN.items()} | {"keeps": 1}
    handed = {name for name, leak in run.leaks.items() if leak["handed_to_python"]}
    # A text is copied and its pointer dropped before anybody could look, at the types of ctypes.
    missed = {"gives_text"} if calls == "types" else set()
    assert handed == set(GIVEN) - missed


def test_a_part_of_what_python_was_given_is_not_given_itself(library: Path, tmp_path: Path) -> None:
    run = _run(library, "library.gives_pair_of_blocks()", tmp_path)
    leaks = run.of_kind("leak")
    assert sorted((leak["bytes"], leak["handed_to_python"]) for leak in leaks) == [
        (7, False),
        (16, True),
    ]


def test_a_dropped_text_has_a_hint(library: Path, tmp_path: Path) -> None:
    run = _run(library, "library.gives_text()", tmp_path)
    assert run.leaks["gives_text"]["blocks"] == 1


JUMPS = """
assert library.jumps()
kept = bytearray(1_000_000)
library.keeps()
library.jumps_out_of_qsort()
more = [bytearray(1000) for _ in range(1000)]
library.keeps()
"""


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_a_jump_leaves_no_stale_state(calls: str, library: Path, tmp_path: Path) -> None:
    run = _run(library, JUMPS, tmp_path, calls=calls)
    blocks = {name: leak["blocks"] for name, leak in run.leaks.items()}
    # One finding for each stack: the five blocks left behind were allocated at different depths.
    sizes = sorted((leak["bytes"] // leak["blocks"]) for leak in run.of_kind("leak"))
    assert set(sizes) <= {40, 50, 60}
    assert set(blocks) == {"jumps", "keeps"}
    assert sum(leak["blocks"] for leak in run.of_kind("leak")) == 5 + 1 + 2


LEAVES = """
import os, threading, time
thread = threading.Thread(target=library.leaves_thread, daemon=True)
before = len(os.listdir("/proc/self/task"))
thread.start()
deadline = time.monotonic() + 30
while len(os.listdir("/proc/self/task")) > before and time.monotonic() < deadline:
    pass
library.keeps()
print("the end", flush=True)
os._exit(0)
"""


def test_a_thread_may_end_in_a_foreign_call(library: Path, tmp_path: Path) -> None:
    run = _run(library, LEAVES, tmp_path)
    assert run.out == "the end\n"
    assert {name: leak["blocks"] for name, leak in run.leaks.items()} == {"keeps": 1}


POOL = """
def start():
    library.pool_start()
start()
for _ in range(3):
    library.release(library.pool_work())
library.pool_work()
library.pool_stop()
"""


def test_a_threads_work_for_a_later_call_belongs_to_the_call_that_started_it(
    library: Path, tmp_path: Path
) -> None:
    run = _run(library, POOL, tmp_path)
    leak = run.leaks["pool_start"]
    assert (leak["blocks"], leak["bytes"], leak["handed_to_python"]) == (1, 70, True)
    assert [function for function, _ in frames(leak, "allocated")] == ["start", "<module>"]
    assert run.report["stats"]["total_blocks"] == 4


NESTED = """
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_void_p)
def inner():
    kept.append(bytearray(50_000))
    library.fills_one(ctypes.byref(place))
    return library.through(CALLBACK(innermost))
def innermost():
    library.keeps()
    return library.jumps()
kept = []
library.through(CALLBACK(inner))
"""


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_nested_calls_have_their_own_blocks_and_lines(
    calls: str, library: Path, tmp_path: Path
) -> None:
    run = _run(library, NESTED, tmp_path, calls=calls)
    assert set(run.leaks) == {"fills_one", "keeps", "jumps"}
    functions = [function for function, _ in frames(run.leaks["keeps"], "allocated")]
    assert functions == ["innermost", "inner", "<module>"]
    jumps = [leak for leak in run.of_kind("leak") if leak["foreign_function"]["name"] == "jumps"]
    assert any(leak["handed_to_python"] for leak in jumps)


GENERATORS = """
import asyncio
def generate():
    while True:
        yield library.gives_numbers()
async def coroutine():
    await asyncio.sleep(0)
    return library.gives_numbers()
source = generate()
next(source), next(source)
asyncio.run(coroutine())
"""


def test_calls_in_generators_and_coroutines_have_their_lines(library: Path, tmp_path: Path) -> None:
    run = _run(library, GENERATORS, tmp_path)
    found = {
        next(frames(leak, "allocated"))[0]: leak["blocks"]
        for leak in run.of_kind("leak")
        if leak["foreign_function"]["name"] == "gives_numbers"
    }
    assert found == {"generate": 2, "coroutine": 1}


def test_a_block_that_another_call_resizes_is_one_block(library: Path, tmp_path: Path) -> None:
    text = "block = library.gives_pair_of_blocks()\nblock = library.replace(block)\n"
    run = _run(library, text + "library.release(block)\n", tmp_path)
    assert [leak["bytes"] for leak in run.of_kind("leak")] == [7]


HANDLES = """
import ctypes, ctypes.util
def libc_of(maker, name):
    libc = maker(name)
    libc.malloc.restype = libc.strdup.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    return libc
handles = [
    libc_of(ctypes.CDLL, None),
    libc_of(ctypes.CDLL, "libc.so.6"),
    libc_of(ctypes.CDLL, ctypes.util.find_library("c")),
    libc_of(ctypes.PyDLL, None),
    ctypes.pythonapi,
    libc_of(ctypes.cdll.LoadLibrary, "libc.so.6"),
    libc_of(lambda name: ctypes.CDLL(name, use_errno=True), "libc.so.6"),
]
ctypes.pythonapi.malloc.restype = ctypes.pythonapi.strdup.restype = ctypes.c_void_p
ctypes.pythonapi.free.argtypes = [ctypes.c_void_p]
for one in handles:
    for other in handles:
        other.free(one.malloc(24))
        other.free(one.strdup(b"a text"))
    one.malloc(24)
by_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(("malloc", handles[1]))
by_type(100)
assert not hasattr(ctypes, "WinDLL")
ctypes.c_int.in_dll(ctypes.pythonapi, "Py_NoSiteFlag").value
api = ctypes.pythonapi.PyBytes_FromStringAndSize
api.restype = ctypes.py_object
api.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]
kept = api(b"x" * 100, 100)
"""


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_every_handle_of_the_c_library_is_the_same_heap(calls: str, tmp_path: Path) -> None:
    run = run_script(HANDLES, tmp_path, calls=calls)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert sum(leak["blocks"] for leak in run.of_kind("leak")) == 8
    assert {leak["foreign_function"]["name"] for leak in run.of_kind("leak")} == {"malloc"}
