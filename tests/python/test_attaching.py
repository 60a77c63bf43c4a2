"""Starting in a running program and stopping again: the process is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, run_attached

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = """
import ctypes, os, sys, threading
library = ctypes.CDLL({path!r})
for name in ("by_malloc", "by_new"):
    getattr(library, name).restype = ctypes.c_void_p
library.with_free.argtypes = library.with_delete.argtypes = [ctypes.c_void_p]
OURS = os.path.basename({ours!r})
def mappings():
    for line in open("/proc/self/maps"):
        place, flags, _, _, _, *path = line.split()
        start, end = place.split("-")
        yield int(start, 16), int(end, 16), flags, " ".join(path)
def state():
    '''Permissions of everything loaded, and the content of the library's pages.'''
    flags, content = [], []
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for start, end, flag, path in mappings():
            if ".so" in path and OURS not in path or path.endswith("python3"):
                flags.append((start, flag, path))
            if path == {path!r} and "r" in flag:
                memory.seek(start)
                content.append(memory.read(end - start))
    return flags, content
library.with_free(library.by_malloc())
"""

BUILDS = {
    "lazy": ["-Wl,-z,lazy"],
    "full-relro": ["-Wl,-z,now,-z,relro"],
    "no-relro": ["-Wl,-z,norelro"],
    "no-plt": ["-fno-plt"],
}

MANY_TIMES = """
import gc
heapledger.stop()
gc.collect()
before = state()
for _ in range(20):
    heapledger.start()
    during = state()
    heapledger.stop()
after = state()
assert [flag for _, flag, _ in during[0]] == [flag for _, flag, _ in before[0]], "closed again"
assert before[1] != during[1], "slots were written"
assert before == after
"""


@pytest.mark.parametrize("build", BUILDS)
def test_slots_and_permissions_are_as_before_however_often_we_start(
    build: str, tmp_path: Path
) -> None:
    library = compile_plain("kinds.cpp", tmp_path, *BUILDS[build])
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + "# start\n" + MANY_TIMES, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []


LIVE = """
before_stop = [library.by_malloc() for _ in range(100)]
objects = [library.by_new() for _ in range(100)]
heapledger.stop()
for block in before_stop[:50]:
    library.with_free(block)
for block in objects:
    library.with_delete(block)
heapledger.start()
for block in before_stop[50:]:
    library.with_free(block)
new = library.by_malloc()
library.with_free(new)
assert heapledger.describe(new).state != "live"
heapledger.stop()
"""


def test_blocks_that_are_live_at_a_stop_are_released_without_us(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + "# start\n" + LIVE, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert [found for found in run.errors if found["kind"] != "leak"] == []


GUARDED = """
heapledger.stop()
heapledger.start(checks=("guard",))
blocks = [library.by_malloc() for _ in range(3)]
heapledger.stop()
for block in blocks:
    library.with_free(block)
heapledger.start()
library.with_free(library.by_malloc())
heapledger.stop()
"""


def test_guarded_blocks_that_are_live_at_a_stop_are_released_by_us(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + "# start\n" + GUARDED, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []


BUSY = """
stopping = threading.Event()
counts = []
def work():
    count = 0
    held = []
    while not stopping.is_set():
        held.append(library.by_malloc())
        if len(held) > 50:
            library.with_free(held.pop(0))
        library.with_delete(library.by_new())
        count += 1
    for block in held:
        library.with_free(block)
    counts.append(count)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
# start
for _ in range(15):
    heapledger.stop()
    heapledger.start()
stopping.set()
for thread in threads:
    thread.join()
assert len(counts) == 4 and min(counts) > 0
print("the end")
"""


def test_starting_and_stopping_among_busy_threads(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + BUSY, tmp_path)
    assert (run.status, run.out, run.err) == (0, "the end\n", "")
    assert run.report["findings"] == []


FAILED = """
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
# start
for number in range(20):
    try:
        getattr(library, f"there_is_no_{number}")
    except AttributeError as error:
        assert str(error).endswith(f"undefined symbol: there_is_no_{number}")
    for block in [libc.malloc(24) for _ in range(10)]:
        libc.free(block)
print("the end")
"""


def test_a_lookup_that_fails_is_told_as_without_us(tmp_path: Path) -> None:
    # glibc's dlerror allocates and releases in the middle: nothing of ours may call dlsym then.
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + FAILED, tmp_path)
    assert (run.status, run.out, run.err) == (0, "the end\n", "")
    assert run.report["findings"] == []


KEPT = """
library.keep_operator()
library.by_kept_operator.restype = ctypes.c_void_p
# start
library.with_delete_array(ctypes.c_void_p(library.by_kept_operator()))
forgotten = library.by_kept_operator()
"""


def test_an_array_form_called_past_us_is_no_operator_of_objects(tmp_path: Path) -> None:
    # It jumps to `operator new`, and that reaches us. So does a call that begins before `start`.
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + KEPT, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert [(found["kind"], found["blocks"]) for found in run.report["findings"]] == [("leak", 1)]


OBTAINED = """
libc = ctypes.CDLL("libc.so.6")
allocate, release, make = libc.malloc, libc.free, library.by_malloc
allocate.restype = ctypes.c_void_p
release.argtypes = [ctypes.c_void_p]
address = ctypes.cast(library.by_malloc, ctypes.c_void_p).value
by_address = ctypes.CFUNCTYPE(ctypes.c_void_p)(address)
# start
release(make())
release(by_address())
release(allocate(24))
library.with_free(allocate(24))
make()
"""


def test_functions_that_were_looked_up_before_the_start(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(text + OBTAINED, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert {name: leak["blocks"] for name, leak in run.leaks.items()} == {"by_malloc": 1}


RELOADED = """
import _ctypes
def load():
    again = ctypes.CDLL(PLUGIN, mode=ctypes.DEFAULT_MODE)
    again.plugin_allocate.restype = ctypes.c_void_p
    library.with_free(again.plugin_allocate())
    _ctypes.dlclose(again._handle)
# start
for _ in range(20):
    load()
again = ctypes.CDLL(PLUGIN)
again.plugin_allocate.restype = ctypes.c_void_p
again.plugin_allocate()
"""


def test_a_library_that_is_unloaded_and_loaded_again_is_seen_again(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    plugin = compile_plain("plugin.c", tmp_path)
    text = SLOTS.format(path=str(library), ours="libheapledger.so")
    run = run_attached(f"PLUGIN = {str(plugin)!r}\n" + text + RELOADED, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert {name: leak["blocks"] for name, leak in run.leaks.items()} == {"plugin_allocate": 1}
    assert run.report["stats"]["total_blocks"] == 21
