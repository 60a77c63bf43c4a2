"""What a library keeps for itself is told from what is lost, while it runs and at its end.

A pointer left behind in memory that nobody uses any more can make a lost block look kept (see
docs/detection.md), so of several lost blocks one may be missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, run_attached, run_script

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY = """
import ctypes
# start
lib = ctypes.CDLL({library!r})
lib.open_handle.restype = lib.the_context.restype = ctypes.c_void_p
lib.close_handle.argtypes = [ctypes.c_void_p]
lib.last_error.restype = ctypes.c_char_p
"""
CALLS = """
for _ in range(3):
    lib.look_up(), lib.log_line(), lib.warm_up(), lib.forget(), lib.remember()
    lib.the_context(), lib.last_error()
lib.close_handle(lib.open_handle(40))
"""


@pytest.fixture
def library(tmp_path: Path) -> str:
    return LIBRARY.format(library=str(compile_plain("references.cpp", tmp_path)))


def kept_and_lost(findings: list[dict]) -> tuple[dict[str, int], dict[str, int]]:
    """Return blocks by the name of the function, of what is kept and of what is lost."""
    sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for finding in findings:
        name = finding["foreign_function"]["name"]
        side = sides[0 if finding.get("kept_by") else 1]
        side[name] = side.get(name, 0) + finding["blocks"]
    return sides


@pytest.mark.parametrize("way", [run_script, run_attached])
def test_a_cache_is_told_from_a_leak(way, library: str, tmp_path: Path) -> None:  # noqa: ANN001
    run = way(library + CALLS, tmp_path)
    assert run.status == 0, run.err
    kept, lost = kept_and_lost(run.report["findings"])
    # The text of the last error is the thread's until the thread ends, and then goes.
    text = kept.pop("last_error", 0)
    assert text == (1 if way is run_attached else 0)
    missed = kept.pop("forget", 0)
    assert kept == {"look_up": 1, "log_line": 3, "warm_up": 1, "remember": 1, "the_context": 1}
    assert lost == {"forget": 3 - missed}
    assert missed <= 1
    keepers = {finding.get("kept_by", "") for finding in run.report["findings"]}
    assert "a thread-local variable" in keepers
    assert any(keeper.endswith("references.so") for keeper in keepers)


COUNTS = """
from heapledger._native import interface
print(interface.lost_count_between(mark, 0), interface.leak_count_since(mark))
found = interface.leaks_since(mark)
lost = [finding["blocks"] for finding in found if not finding.get("kept_by")]
print(sum(lost), sum(finding["blocks"] for finding in found))
now = interface.mark()
print(interface.lost_count_between(now, 0), interface.leak_count_since(now))
"""


BETWEEN = """
import json
from heapledger._native import interface
middle = interface.mark()
later = [lib.open_handle(1), lib.open_handle(2)]
print(interface.leak_count_between(mark, middle), interface.leak_count_between(middle, 0))
for period in ((mark, middle), (mark, 0)):
    for limits in ((9, 9), (0, 9), (9, 1), (0, 0)):
        print(json.dumps(interface.leaks_between(*period, *limits)))
"""


def sums_of(findings: list[dict]) -> dict[str, int]:
    """Return what the findings come to."""
    units = {unit: sum(finding[unit] for finding in findings) for unit in ("blocks", "bytes")}
    return {"findings": len(findings), **units}


def test_leaks_of_a_period_are_told_up_to_a_limit_and_the_rest_added_up(
    library: str, tmp_path: Path
) -> None:
    marked = library + "mark = heapledger.mark().number\n"
    run = run_attached(marked + CALLS + BETWEEN, tmp_path)
    assert run.status == 0, run.err
    counts, *answers = run.out.splitlines()
    before, after = map(int, counts.split())
    assert after == 4
    whole, *cut = map(json.loads, answers)
    of_period, until_now = cut[:3], cut[3:]
    kept = [one for one in whole["findings"] if one.get("kept_by")]
    lost = [one for one in whole["findings"] if not one.get("kept_by")]
    assert len(kept) > 1
    assert sums_of(kept + lost)["blocks"] == before
    nothing = sums_of([])
    assert whole["left_out"] == {"lost": nothing, "kept": nothing}
    largest = max(one["bytes"] for one in kept)
    for limits, answer in zip(((0, 9), (9, 1), (0, 0)), of_period, strict=True):
        told = answer["findings"]
        told_kept = [one for one in told if one.get("kept_by")]
        assert [one["bytes"] for one in told_kept[:1]] == [largest][: limits[1]]
        assert len(told_kept) == min(limits[1], len(kept))
        assert len(told) - len(told_kept) == min(limits[0], len(lost))
        for name, every, shown in (
            ("kept", kept, told_kept),
            ("lost", lost, [one for one in told if one not in told_kept]),
        ):
            left, had = answer["left_out"][name], sums_of(every)
            assert left == {unit: had[unit] - sums_of(shown)[unit] for unit in had}
    blocks = sum(sums["blocks"] for sums in until_now[-1]["left_out"].values())
    assert blocks == before + after


def test_what_is_lost_is_counted_as_the_findings_have_it(library: str, tmp_path: Path) -> None:
    marked = library + "mark = heapledger.mark().number\n"
    run = run_attached(marked + CALLS + COUNTS, tmp_path)
    assert run.status == 0, run.err
    counted, found, later = run.out.splitlines()
    assert counted == found
    lost, live = map(int, counted.split())
    assert 2 <= lost <= 3 < live
    assert later == "0 0"


UNLOADING = """
import _ctypes
class Closer:
    def __init__(self, library):
        self.close, self.handle = _ctypes.dlclose, library._handle
    def __del__(self):
        self.close(self.handle)
        assert library_name not in open_maps().read(), "still loaded"
        print("unloaded")
library_name = {library!r}
open_maps = lambda open=open: open("/proc/self/maps")
library = ctypes.CDLL(library_name)
library.keep_in_data()
closer = Closer(library)
del library
"""


CONTEXTS = """
lib.open_context.restype = ctypes.c_void_p
lib.close_context.argtypes = [ctypes.c_void_p]
def draw(count):
    contexts = [lib.open_context() for _ in range(count)]
    for context in contexts:
        lib.close_context(context)
"""


@pytest.mark.parametrize("way", [run_script, run_attached])
def test_objects_that_a_library_gives_out_again_are_kept(
    way,  # noqa: ANN001
    library: str,
    tmp_path: Path,
) -> None:
    run = way(f"{library}{CONTEXTS}draw(3), draw(2)\n", tmp_path)
    assert run.status == 0, run.err
    (kept,) = run.of_kind("leak")
    assert (kept["blocks"], kept["handed_to_python"]) == (3, True)
    assert kept["kept_by"].endswith("references.so")


def test_an_object_that_nobody_gave_back_is_lost_beside_those(library: str, tmp_path: Path) -> None:
    text = f"{library}{CONTEXTS}draw(3), draw(2)\n[lib.open_context() for _ in range(5)]\n"
    run = run_script(text, tmp_path)
    # Of the three that it gave out again the library still has pointers of old.
    assert kept_and_lost(run.report["findings"]) == ({"open_context": 3}, {"open_context": 2})


def test_objects_that_were_given_out_once_each_may_be_forgotten(
    library: str, tmp_path: Path
) -> None:
    run = run_script(f"{library}{CONTEXTS}draw(3)\n", tmp_path)
    assert kept_and_lost(run.report["findings"]) == ({}, {"open_context": 3})


@pytest.mark.parametrize("is_at_the_end", [True, False])
def test_what_a_library_keeps_is_kept_when_the_interpreters_end_unloads_it(
    *, is_at_the_end: bool, tmp_path: Path
) -> None:
    path = str(compile_plain("keeps.c", tmp_path))
    source = "import ctypes\n" + UNLOADING.format(library=path)
    run = run_script(source if is_at_the_end else source + "del closer\n", tmp_path)
    assert (run.status, run.out, run.err) == (0, "unloaded\n", "")
    (leak,) = run.of_kind("leak")
    assert leak.get("kept_by") == ("a library that was unloaded" if is_at_the_end else None)


@pytest.mark.parametrize("who", ["C", "Python"])
def test_what_a_thread_had_is_lost_with_the_thread(who: str, library: str, tmp_path: Path) -> None:
    started_by_python = """
import os, threading
thread = threading.Thread(target=lib.forget)
thread.start(), thread.join()
while os.path.exists(f"/proc/self/task/{thread.native_id}"): pass
"""
    text = "lib.forget_on_thread()\n" if who == "C" else started_by_python
    run = run_attached(library + text, tmp_path)
    assert run.status == 0, run.err
    kept, lost = kept_and_lost(run.report["findings"])
    expected = {"forget_on_thread": 1} if who == "C" else {"forget": 1}
    assert (kept, lost) == ({}, expected)


def test_what_a_running_thread_has_is_kept(library: str, tmp_path: Path) -> None:
    text = """
import threading
lib.wait_with_block.argtypes = [ctypes.c_int, ctypes.c_int]
import os
(is_there, say_there), (may_go, say_go) = os.pipe(), os.pipe()
lib.forget_on_thread()  # leaves a stack that the next thread may take
thread = threading.Thread(target=lib.wait_with_block, args=(say_there, may_go))
thread.start()
os.read(is_there, 1)
[waiting] = [x for x in heapledger.leaks() if x.foreign_function.name == "wait_with_block"]
assert waiting.kept_by, heapledger.report()
os.write(say_go, b"x")
thread.join()
"""
    run = run_attached(library + text, tmp_path)
    assert run.status == 0, run.err
    assert "wait_with_block" not in str(run.report["findings"])


def test_what_only_a_leak_refers_to_is_lost_with_it(library: str, tmp_path: Path) -> None:
    run = run_script(library + "lib.open_handle(40)\n", tmp_path)
    assert len(run.of_kind("leak")) == 3
    hints = {leak["handed_to_python"]: leak["hints"] for leak in run.of_kind("leak")}
    assert any("only another block" in hint for hint in hints[False])
    assert not any("refers to it" in hint for hint in hints[True])
    assert not any("kept_by" in leak for leak in run.of_kind("leak"))
    # The handle is the mistake: it comes first, though its parts are larger.
    order = [
        (leak["handed_to_python"], leak.get("indirect", False)) for leak in run.of_kind("leak")
    ]
    assert order == [(True, False), (False, True), (False, True)]


def test_what_an_older_handle_holds_is_no_leak_of_now(library: str, tmp_path: Path) -> None:
    text = """
handle = lib.open_handle(40)
mark = heapledger.mark()
lib.look_up()
assert all(leak.kept_by for leak in heapledger.leaks(since=mark)), heapledger.report()
assert not all(leak.kept_by for leak in heapledger.leaks())
lib.close_handle(handle)
"""
    assert run_attached(library + text, tmp_path).status == 0


POOLS = """
lib.make_pool.restype = lib.spare_of.restype = ctypes.c_void_p
lib.spare_of.argtypes = lib.fill.argtypes = [ctypes.c_void_p]
def fill():
    pool = lib.make_pool()
    lib.fill(pool), lib.fill(lib.spare_of(pool))
    return pool
"""


@pytest.mark.parametrize("made", ["before", "after"])
def test_what_a_call_stores_in_an_object_of_its_library_is_not_handed_over(
    made: str, library: str, tmp_path: Path
) -> None:
    # Of objects that nobody recorded only the small ones are known, by their beginning.
    before = f"{POOLS}old = lib.make_pool()\n" if made == "before" else ""
    after = "lib.fill(old)\n" if made == "before" else f"{POOLS}old = fill()\n"
    text = library.replace("# start\n", "") + before + "# start\n" + after
    run = run_attached(text, tmp_path)
    assert run.status == 0, run.err
    handed = {
        leak["foreign_function"]["name"]: leak["handed_to_python"] for leak in run.of_kind("leak")
    }
    assert handed == ({"fill": False} if made == "before" else {"make_pool": True, "fill": False})


BESIDE = """
import ctypes
lib = ctypes.CDLL({library!r})
lib.make_rooms(8, 3000, 0)
lib.text_before_room.restype = ctypes.c_void_p
lib.keep_beside.argtypes = [ctypes.c_void_p]
text = lib.text_before_room()
assert text
# start
lib.keep_beside(text)
"""


def test_what_a_call_stores_behind_a_text_that_it_was_given_is_not_handed_over(
    tmp_path: Path,
) -> None:
    text = BESIDE.format(library=str(compile_plain("leftovers.c", tmp_path)))
    run = run_attached(text, tmp_path)
    assert run.status == 0, run.err
    (leak,) = run.of_kind("leak")
    assert (leak["handed_to_python"], leak["kept_by"]) == (False, "memory outside the ledger")


def test_what_a_call_stores_where_python_said_is_handed_over(library: str, tmp_path: Path) -> None:
    text = f"""{library}
lib.fill.argtypes = [ctypes.c_void_p]
single, several = ctypes.c_void_p(), (ctypes.c_void_p * 100)()
lib.fill(ctypes.byref(single))
lib.fill(several)
"""
    leaks = run_attached(text, tmp_path).of_kind("leak")
    assert [leak["handed_to_python"] for leak in leaks] == [True, True]


def test_keeping_fails_no_assertion_and_losing_does(library: str, tmp_path: Path) -> None:
    text = """
with heapledger.no_leaks():
    lib.look_up(), lib.log_line(), lib.the_context(), lib.last_error()
try:
    with heapledger.no_leaks():
        for _ in range(8):
            lib.forget(), lib.log_line()
except heapledger.LeakError as error:
    [leak] = error.findings
    assert leak.foreign_function.name == "forget" and leak.blocks >= 5, str(error)
    assert str(error).startswith(f"{leak.blocks} blocks of native memory ("), str(error)
else:
    raise SystemExit("the lost block was not missed")
"""
    run = run_attached(library + text, tmp_path)
    assert run.status == 0, run.err + run.out


@pytest.mark.parametrize(("call", "status"), [("look_up", 0), ("forget", 9)])
def test_the_exit_status_tells_them_apart(
    call: str, status: int, library: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(f"{library}for _ in range(5): lib.{call}()\n", encoding="utf-8")
    command = [sys.executable, "-m", "heapledger", "run", "--error-exitcode", "9", str(script)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == status, finished.stderr
    first = finished.stderr.splitlines()[0]
    kept = "heapledger: no findings; 1 block (1,000 bytes) kept by libraries"
    assert first == kept if status == 0 else first.startswith("heapledger: 1 leak (")


def test_all_leaks_lists_what_is_kept_and_what_is_the_interpreters(
    library: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(f"{library}lib.look_up()\n", encoding="utf-8")
    summaries = []
    for options in ([], ["--all-leaks"]):
        command = [sys.executable, "-m", "heapledger", "run", "--scope", "process", *options]
        finished = subprocess.run(
            [*command, str(script)], capture_output=True, text=True, timeout=120, check=False
        )
        assert finished.returncode == 0, finished.stderr
        summaries.append(finished.stderr)
    few, all_of_them = summaries
    assert few.startswith("heapledger: no findings; 1 block (1,000 bytes) kept by libraries")
    assert "of the interpreter, its modules and the C library are no leaks; --all-leaks" in few
    assert int(all_of_them.split()[1].replace(",", "")) > 10
    assert "references.so look_up" in all_of_them
    assert "--all-leaks" not in all_of_them
