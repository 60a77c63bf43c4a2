"""Views that heapledger made of memory that is released while they are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Run

HEAD = """
import ctypes, heapledger
library = ctypes.CDLL({path!r})
library.get_shared_memory.restype = ctypes.c_void_p
library.free_shared_memory.argtypes = [ctypes.c_void_p]
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library of the first example."""
    pytest.importorskip("numpy")
    return compile_plain("shared_memory.cpp", tmp_path_factory.mktemp("native"))


def run(library: Path, folder: Path, source: str) -> Run:
    finished = run_script(HEAD.format(path=str(library)) + source, folder)
    assert (finished.status, finished.err) == (0, "")
    return finished


def test_a_library_that_releases_memory_under_a_view_is_told_of(
    library: Path, tmp_path: Path
) -> None:
    said = run(
        library,
        tmp_path,
        """
def lend(block):
    return heapledger.array(block, "f8"), heapledger.array(block, "u1")
block = library.get_shared_memory(42)
first, second = lend(block)
with heapledger.watch() as watch:
    library.free_shared_memory(block)
print([finding.kind for finding in watch.findings])
""",
    )
    assert said.out == "['use-after-free']\n"
    (finding,) = said.errors
    assert "is released while 2 views of it are alive" in finding["message"]
    viewed = [frame["function"] for frame in finding["stacks"]["viewed"] if "line" in frame]
    assert "lend" in viewed
    assert finding["block"]["state"] == "live"


def test_a_resize_and_a_free_of_the_c_library_are_told_of(library: Path, tmp_path: Path) -> None:
    said = run(
        library,
        tmp_path,
        """
libc.realloc.restype = ctypes.c_void_p
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
block = libc.malloc(80)
view = heapledger.array(block, "u1")
block = libc.realloc(block, 800)
other = heapledger.array(block, "u1")
libc.free(block)
""",
    )
    assert [finding["kind"] for finding in said.errors] == ["use-after-free"] * 2


def test_views_that_are_gone_do_not_dangle(library: Path, tmp_path: Path) -> None:
    said = run(
        library,
        tmp_path,
        """
import gc
block = library.get_shared_memory(42)
view = heapledger.array(block, "f8")
part = view[3:9].reshape(2, 3)
del view
del part
library.free_shared_memory(block)
block = library.get_shared_memory(42)
class Cycle:
    pass
cycle = Cycle()
cycle.itself, cycle.view = cycle, heapledger.array(block, "f8")
del cycle
gc.collect()
library.free_shared_memory(block)
block = libc.malloc(80)
kept = heapledger.array(block, "u1")
mine = heapledger.allocate(80)
held = mine.array("u1")
""",
    )
    assert said.errors == []


def test_our_own_block_is_not_released_under_a_view(library: Path, tmp_path: Path) -> None:
    said = run(
        library,
        tmp_path,
        """
from heapledger._native.library import file_path
ours = ctypes.CDLL(str(file_path()))
ours.hl_free.argtypes = [ctypes.c_void_p]
block = heapledger.allocate(80, zero=True)
view = block.view()
array = block.array("u1")
ours.hl_free(block.address)
array[:] = 7
assert view[79] == 7
try:
    block.free()
except BufferError:
    print("refused")
del view, array
block.free()
assert heapledger.describe(block.address).state != "live"
""",
    )
    assert said.out == "refused\n"
    (finding,) = said.errors
    assert finding["kind"] == "use-after-free"
    assert "is not released, for 2 views of it are alive" in finding["message"]
    assert said.of_kind("leak") == []


def test_a_view_in_a_cycle_with_its_block_is_no_error(library: Path, tmp_path: Path) -> None:
    said = run(
        library,
        tmp_path,
        """
import gc
block = heapledger.allocate(80)
class Cycle:
    pass
cycle = Cycle()
cycle.itself, cycle.block, cycle.view = cycle, block, block.array("u1")
del cycle, block
gc.collect()
assert heapledger.stats().live_blocks == 0
""",
    )
    assert said.report["findings"] == []
