"""Unmodified libraries under ctypes: what is seen of them, and what must not be."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from compiling import LIBRARY
from intercepted import Run, compile_plain, frames, run_attached, run_script

if TYPE_CHECKING:
    from pathlib import Path

MALLOC = [
    "by_malloc",
    "by_calloc",
    "by_realloc",
    "by_growing",
    "by_reallocarray",
    "by_posix_memalign",
    "by_aligned_alloc",
    "by_memalign",
    "by_valloc",
]
NEW = ["by_new", "by_new_nothrow", "by_new_aligned", "by_new_aligned_nothrow"]
NEW_ARRAY = [name.replace("by_new", "by_new_array") for name in NEW]
FAMILY = (
    dict.fromkeys(MALLOC, "malloc") | dict.fromkeys(NEW, "new") | dict.fromkeys(NEW_ARRAY, "new[]")
)
WITH_DELETE = [
    "with_delete",
    "with_delete_sized",
    "with_delete_nothrow",
    "with_delete_aligned",
    "with_delete_sized_aligned",
    "with_delete_aligned_nothrow",
]
RELEASES = {
    "malloc": ["with_free", "with_realloc"],
    "new": WITH_DELETE,
    "new[]": [name.replace("with_delete", "with_delete_array") for name in WITH_DELETE],
}
BUILDS = {
    "plain": [],
    "now": ["-Wl,-z,now"],
    "no-plt": ["-fno-plt", "-Wl,-z,now"],
    "static-libstdc++": ["-static-libstdc++", "-static-libgcc"],
    "symbolic": ["-Wl,-Bsymbolic"],
}
OPEN = """
import ctypes, os
library = ctypes.CDLL({path!r}, mode={mode})
def call(name, *arguments):
    function = getattr(library, name)
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p] * len(arguments)
    return function(*arguments)
"""


def opened(path: Path, mode: int = os.RTLD_NOW) -> str:
    return OPEN.format(path=str(path), mode=mode)


@pytest.fixture(params=["preloaded", "attached"])
def run_in_both_ways(request: pytest.FixtureRequest, tmp_path: Path):  # noqa: ANN201
    """Run source text with interception from the start, and beginning in the middle."""

    def run(before: str, after: str) -> Run:
        if request.param == "preloaded":
            return run_script(before + after, tmp_path)
        return run_attached(before + "# start\n" + after, tmp_path)

    return run


@pytest.mark.parametrize("build", BUILDS)
def test_every_way_to_allocate_is_seen(build: str, tmp_path: Path, run_in_both_ways) -> None:  # noqa: ANN001
    library = compile_plain("kinds.cpp", tmp_path, *BUILDS[build])
    run = run_in_both_ways(opened(library), f"for name in {list(FAMILY)}: call(name)\n")
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    seen = {name: leak["family"] for name, leak in run.leaks.items()}
    assert seen == FAMILY
    for name, leak in run.leaks.items():
        assert (leak["blocks"], leak["bytes"]) == (1, 48), name
        assert leak["handed_to_python"], name
        assert leak["foreign_function"]["library"] == str(library)
        assert leak["stacks"]["allocated"][0]["function"] == name


@pytest.mark.parametrize("build", BUILDS)
def test_every_matching_release_is_right(build: str, tmp_path: Path, run_in_both_ways) -> None:  # noqa: ANN001
    library = compile_plain("kinds.cpp", tmp_path, *BUILDS[build])
    pairs = [(name, how) for name, family in FAMILY.items() for how in RELEASES[family]]
    run = run_in_both_ways(
        opened(library),
        f"for name, how in {pairs}:\n    for _ in range(3): call(how, call(name))\n",
    )
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []
    assert run.report["stats"]["total_blocks"] >= 3 * len(pairs)
    assert run.report["stats"]["live_blocks"] == 0


@pytest.mark.parametrize("build", BUILDS)
def test_every_other_release_is_a_mismatch(build: str, tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path, *BUILDS[build])
    pairs = [
        (name, how)
        for name, family in FAMILY.items()
        for other, releases in RELEASES.items()
        if other != family
        for how in releases
    ]
    run = run_script(opened(library) + f"for name, how in {pairs}: call(how, call(name))", tmp_path)
    assert (run.status, run.err) == (0, "")
    wrong = run.of_kind("mismatched-free")
    assert sum(finding["count"] for finding in wrong) == len(pairs)
    assert run.report["findings"] == wrong, "no block is called a leak as well"


TAIL_CALLS = """
library.get_shared_memory.restype = library.make.restype = ctypes.c_void_p
for release in (library.free_shared_memory, library.give_back):
    release.argtypes = [ctypes.c_void_p]
def leak():
    for _ in range(10):
        library.get_shared_memory(42)
leak()
block = library.make(7)
library.give_back(block)
library.give_back(block)
print("the end")
"""


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_a_function_that_ends_in_a_jump_to_the_allocator_is_seen(
    calls: str, tmp_path: Path
) -> None:
    library = compile_plain("tail_calls.cpp", tmp_path, "-O2")
    run = run_script(opened(library) + TAIL_CALLS, tmp_path, calls=calls)
    assert (run.status, run.out, run.err) == (0, "the end\n", "")
    (leak,) = run.of_kind("leak")
    assert (leak["blocks"], leak["bytes"], leak["family"]) == (10, 3360, "new[]")
    assert leak["foreign_function"] == {"library": str(library), "name": "get_shared_memory"}
    assert [function for function, _ in frames(leak, "allocated")] == ["leak", "<module>"]
    (twice,) = run.errors
    assert twice["kind"] == "double-free"
    lines = [line for side in ("allocated", "released", "here") for _, line in frames(twice, side)]
    assert lines == sorted(set(lines)), "allocated, released and here on three lines"


def test_a_deeply_bound_library_is_seen(tmp_path: Path, run_in_both_ways) -> None:  # noqa: ANN001
    library = compile_plain("kinds.cpp", tmp_path)
    mode = os.RTLD_NOW | os.RTLD_DEEPBIND
    run = run_in_both_ways(opened(library, mode), f"for name in {list(FAMILY)}: call(name)\n")
    assert {name: leak["family"] for name, leak in run.leaks.items()} == FAMILY


def test_a_lazily_bound_library_is_seen(tmp_path: Path, run_in_both_ways) -> None:  # noqa: ANN001
    library = compile_plain("kinds.cpp", tmp_path, "-Wl,-z,lazy")
    run = run_in_both_ways(
        opened(library, os.RTLD_LAZY), f"for name in {list(FAMILY)} * 2: call(name)\n"
    )
    assert {name: leak["blocks"] for name, leak in run.leaks.items()} == dict.fromkeys(FAMILY, 2)


def test_a_function_pointer_in_data_is_seen(tmp_path: Path, run_in_both_ways) -> None:  # noqa: ANN001
    library = compile_plain("data_pointer.c", tmp_path)
    after = "call('by_data_pointer'); call('with_data_pointer', call('by_data_pointer'))\n"
    run = run_in_both_ways(opened(library), after)
    assert run.errors == []
    assert run.leaks["by_data_pointer"]["blocks"] == 1


def test_usable_size_is_what_was_asked_for(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = opened(library) + f"print(*{{call('usable', call(name)) for name in {list(FAMILY)!r}}})"
    assert run_script(text, tmp_path).out == "48\n"


def test_libraries_loaded_later_are_seen(tmp_path: Path) -> None:
    opener = compile_plain("opener.c", tmp_path)
    plugin = compile_plain("plugin.c", tmp_path)
    text = opened(opener) + "library.by_plugin.restype = ctypes.c_void_p\n"
    text += f"library.by_plugin({str(plugin).encode()!r})\n"
    run = run_script(text, tmp_path)
    leak = run.leaks["by_plugin"]
    assert leak["stacks"]["allocated"][0]["function"] == "plugin_allocate"


def test_unloaded_libraries_are_left_alone(tmp_path: Path) -> None:
    opener = compile_plain("opener.c", tmp_path)
    plugin = compile_plain("plugin.c", tmp_path)
    path = str(plugin).encode()
    before = opened(opener) + f"assert library.open_and_close({path!r}) == 0\n"
    after = f"for _ in range(50): assert library.open_and_close({path!r}) == 0\n"
    after += "heapledger.stop()\nheapledger.start(scope='foreign')\nheapledger.stop()\n"
    run = run_attached(before + "# start\n" + after, tmp_path)
    assert (run.status, run.err) == (0, "")


def test_what_libc_hands_over_is_seen_and_what_it_keeps_is_not(tmp_path: Path) -> None:
    library = compile_plain("libc_gives.c", tmp_path)
    gives = ["strdup", "strndup", "wcsdup", "asprintf", "vasprintf", "getline"]
    gives += ["realpath", "getcwd", "fopen", "opendir"]
    keeps = ["time_zone", "locale", "buffer", "environment"]
    names = [f"gives_{name}" for name in gives] + [f"keeps_{name}" for name in keeps]
    run = run_script(opened(library) + f"for name in {names}: call(name)", tmp_path)
    assert (run.status, run.out, run.err) == (0, "printed\n", "")
    assert run.errors == []
    assert set(run.leaks) == {f"gives_{name}" for name in gives}
    for name, leak in run.leaks.items():
        assert leak["blocks"] == 1, name
        # The header defines getline itself, inline.
        caller = {"gives_vasprintf": "format", "gives_getline": "getline"}.get(name, name)
        native = [frame for frame in leak["stacks"]["allocated"] if frame["language"] == "native"]
        assert (caller, str(library)) in {(at["function"], at["library"]) for at in native}, name


LOOKUPS = """
import ctypes, ctypes.util
for name in ("libc.so.6", None, ctypes.util.find_library("c")):
    libc = ctypes.CDLL(name)
    for function in (libc.malloc, libc.strdup):
        function.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    kept = libc.malloc(24)
    libc.free(libc.malloc(24))
    libc.free(libc.strdup(b"copied"))
    libc.free(kept)
    libc.free(kept)
"""


def test_libc_handles_are_seen(tmp_path: Path) -> None:
    run = run_script(LOOKUPS, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert [finding["kind"] for finding in run.report["findings"]] == ["double-free"]
    (double,) = run.errors
    assert double["count"] == 3
    assert double["foreign_function"]["name"] == "malloc"
    assert [line for _, line in frames(double, "allocated")] == [8]
    assert [line for _, line in frames(double, "released")] == [11]
    assert [line for _, line in frames(double, "here")] == [12]


def test_a_libc_handle_releases_a_librarys_block(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = opened(library) + "libc = ctypes.CDLL('libc.so.6')\n"
    text += "libc.free.argtypes = [ctypes.c_void_p]\n"
    text += "for name in ('by_malloc', 'by_calloc'): libc.free(call(name))\n"
    run = run_script(text, tmp_path)
    assert run.report["findings"] == []
    assert run.report["stats"]["total_blocks"] == 2


WRONG = {
    "interior": ("invalid-free", "16 bytes inside"),
    "misaligned": ("invalid-free", "3 bytes inside"),
    "on_stack": ("invalid-free", "stack"),
    "in_image": ("invalid-free", "loaded"),
    "unmapped": ("invalid-free", "mapped"),
    "twice": ("double-free", "50-byte"),
    "resized_after_release": ("realloc-after-free", "50-byte"),
    "past_the_end": ("heap-overflow", "10-byte"),
    "too_large": ("size-overflow", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_are_reported_and_survived(name: str, tmp_path: Path) -> None:
    library = compile_plain("wrong.cpp", tmp_path)
    run = run_script(opened(library) + f"call({name!r})\nprint('alive')", tmp_path)
    assert (run.status, run.out, run.err) == (0, "alive\n", "")
    (finding,) = run.errors
    kind, says = WRONG[name]
    assert finding["kind"] == kind
    assert says in finding["message"], finding["message"]
    assert finding["foreign_function"]["name"] == name


def test_exceptions_pass_and_leave_no_mark(tmp_path: Path) -> None:
    library = compile_plain("wrong.cpp", tmp_path)
    kinds = compile_plain("kinds.cpp", tmp_path)
    text = opened(library) + "assert call('throws') == 1\n" + opened(kinds) + "call('by_malloc')"
    run = run_script(text, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert set(run.leaks) == {"by_malloc"}


CALLBACKS = """
kept = []
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int)
def called():
    kept.append(bytearray(100_000))
    kept.append(list(range(50_000)))
    return 0
"""


def test_calls_are_seen_at_the_types_of_ctypes_too(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = opened(library) + f"for name in {list(FAMILY)}: call(name)\n"
    text += "class Derived(type(library.by_malloc)):\n"
    text += "    _flags_ = 1\n    _restype_ = ctypes.c_void_p\n"
    text += "Derived(('by_calloc', library))()\n"
    run = run_script(text, tmp_path, calls="types")
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    assert {name: leak["family"] for name, leak in run.leaks.items()} == FAMILY
    assert all(leak["handed_to_python"] for leak in run.leaks.values())
    assert sum(leak["blocks"] for leak in run.of_kind("leak")) == len(FAMILY) + 1


def test_what_python_does_in_a_callback_is_pythons(tmp_path: Path) -> None:
    library = compile_plain("callbacks.c", tmp_path)
    text = opened(library) + CALLBACKS + "library.around_callback.restype = ctypes.c_void_p\n"
    text += "library.around_callback(CALLBACK(called))\nlibrary.on_thread(CALLBACK(called))\n"
    run = run_script(text, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
    sizes = {name: (leak["blocks"], leak["bytes"]) for name, leak in run.leaks.items()}
    assert sizes == {"around_callback": (1, 20), "on_thread": (1, 30)}


def test_a_thread_started_in_a_foreign_call_belongs_to_it(tmp_path: Path) -> None:
    library = compile_plain("callbacks.c", tmp_path)
    text = opened(library) + "def start():\n    library.on_thread(None)\nstart()\n"
    text += "library.on_leaving_thread()\n"
    run = run_script(text, tmp_path)
    assert {name: leak["bytes"] for name, leak in run.leaks.items()} == {
        "on_thread": 30,
        "on_leaving_thread": 40,
    }
    assert [function for function, _ in frames(run.leaks["on_thread"], "allocated")] == [
        "start",
        "<module>",
    ]


FOREVER = """
import threading, time
def called():
    return 0
call = CALLBACK(called)
thread = threading.Thread(target=library.forever, args=(call,), daemon=True)
thread.start()
time.sleep(0.2)
print("ending")
"""


def test_a_thread_that_ends_in_a_callback_does_no_harm(tmp_path: Path) -> None:
    library = compile_plain("callbacks.c", tmp_path)
    run = run_script(opened(library) + CALLBACKS + FOREVER, tmp_path)
    assert (run.status, run.out, run.err) == (0, "ending\n", "")
    assert run.errors == []


def test_memory_in_front_of_a_damaged_block_can_be_released(tmp_path: Path) -> None:
    """It is not on record, and glibc would abort over the size of the block behind it."""
    library = compile_plain("beside_unrecorded.c", tmp_path)
    text = opened(library) + "beside = library.write_in_front()\nlibrary.release_front()\n"
    run = run_script(text + "library.release_block()\nprint(beside)\n", tmp_path)
    assert (run.status, run.out, run.err) == (0, "1\n", "")
    (underflow,) = run.of_kind("heap-underflow")
    assert underflow["damage"]["found"] == "11"
    assert underflow["damage"]["before"]["event"] == "neighbour"


HEAP_IS_LOW = ctypes.addressof(ctypes.create_string_buffer(1 << 10)) < 1 << 32
"""Where the interpreter is no PIE the heap lies below 4 GiB, and 32 bits hold its pointers."""


@pytest.mark.skipif(HEAP_IS_LOW, reason="no pointer of this interpreter is cut")
def test_a_cut_pointer_is_noticed(tmp_path: Path) -> None:
    library = compile_plain("keeps.c", tmp_path)
    text = opened(library) + "def cut():\n    return library.only_returns()\ncut()\n"
    run = run_script(text, tmp_path)
    (cut,) = run.of_kind("truncated-pointer")
    assert cut["foreign_function"]["name"] == "only_returns"
    assert [function for function, _ in frames(cut, "here")] == ["cut", "<module>"]


def test_an_accidental_result_is_not_a_cut_pointer(tmp_path: Path) -> None:
    library = compile_plain("keeps.c", tmp_path)
    text = opened(library)
    for name in ("keep_in_data", "keep_in_list", "keep_in_list", "keep_in_argument"):
        text += f"library.{name}(ctypes.byref(ctypes.c_void_p()))\n"
    run = run_script(text, tmp_path)
    assert run.errors == []
    assert sum(leak["blocks"] for leak in run.of_kind("leak")) == 4


@pytest.mark.skipif(HEAP_IS_LOW, reason="no pointer of this interpreter is cut")
def test_a_cut_pointer_that_comes_back_is_noticed(tmp_path: Path) -> None:
    library = compile_plain("keeps.c", tmp_path)
    text = opened(library) + "cut = library.keep_and_return()\nlibrary.take(cut)\n"
    run = run_script(text, tmp_path)
    (cut,) = run.of_kind("truncated-pointer")
    assert [line for _, line in frames(cut, "allocated")] == [9]
    assert [line for _, line in frames(cut, "here")] == [10]


CLEAN = [
    "pass",
    "import json, ssl, sqlite3, asyncio",
    "import numpy",
    "import locale, time\n"
    "locale.setlocale(locale.LC_ALL, '')\nprint(time.localtime().tm_year > 2000)",
]


@pytest.mark.parametrize("scope", ["foreign", "process"])
@pytest.mark.parametrize("text", CLEAN)
def test_ordinary_programs_have_no_findings(text: str, scope: str, tmp_path: Path) -> None:
    run = run_script(text, tmp_path, scope=scope)
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []


def test_stopping_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    library = compile_plain("kinds.cpp", tmp_path)
    text = """
def slots():
    import re
    found = {}
    for line in open("/proc/self/maps"):
        start, end, flags = re.match(r"(\\w+)-(\\w+) (....)", line).groups()
        if library._name in line and "r" in flags:
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(int(start, 16))
                found[flags, len(found)] = memory.read(int(end, 16) - int(start, 16))
    return found
call("with_free", call("by_malloc"))
before = slots()
# start
during = slots()
heapledger.stop()
assert before == slots()
assert before != during
"""
    run = run_attached(opened(library) + text, tmp_path)
    assert (run.status, run.err) == (0, "")


def test_a_copy_of_the_library_under_another_name_starts_too(tmp_path: Path) -> None:
    copy = tmp_path / "copied.so"
    copy.write_bytes(LIBRARY.read_bytes())
    report = tmp_path / "report.json"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(copy),
        "HEAPLEDGER_OPTIONS": f"scope=process:json={report}",
    }
    subprocess.run(["/bin/true"], env=environment, check=True, timeout=60)
    assert report.exists()


def test_memory_from_an_ended_threads_cache_is_no_longer_released(tmp_path: Path) -> None:
    # glibc leaves its mark of a released block in what it gives out of that cache again.
    library = compile_plain("allocates.c", tmp_path)
    text = """
import io, threading
library.allocate.argtypes = [ctypes.c_size_t]
library.allocate.restype = ctypes.c_void_p
library.release.argtypes = [ctypes.c_void_p]
def release():
    for block in [library.allocate(10) for _ in range(7)]:
        library.release(block)
def allocate():
    assert [io.StringIO() for _ in range(1000)]
# start
for checks in ("none", "quarantine"):
    heapledger.stop()
    heapledger.start(checks=checks)
    for work in (release, allocate):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
"""
    run = run_attached(opened(library) + text, tmp_path)
    assert (run.status, run.err, run.report["findings"]) == (0, "", [])
