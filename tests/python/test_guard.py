"""Guarded blocks: forbidden accesses are caught at the instruction, and the program goes on."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from compiling import ROOT, compile_shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Program

SOURCE = ROOT / "tests" / "python" / "native" / "touch.c"
HEAD = """
import ctypes, json, sys, heapledger
heapledger.start(scope="explicit", checks=("guard",))
touch = ctypes.CDLL(sys.argv[1])
from heapledger._native.library import file_path
library = ctypes.CDLL(str(file_path()))
library.hl_malloc.restype = library.hl_realloc.restype = ctypes.c_void_p
library.hl_malloc.argtypes = [ctypes.c_size_t]
library.hl_free.argtypes = [ctypes.c_void_p]
library.hl_realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
touch.read_byte.argtypes = [ctypes.c_void_p, ctypes.c_long]
touch.write_byte.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
touch.fill.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
touch.read_from_threads.argtypes = [ctypes.c_void_p]
"""
TAIL = """
print(json.dumps([finding.to_dict() for finding in heapledger.findings()]))
"""


@pytest.fixture
def touching(
    run_python: Callable[..., Program], tmp_path: Path
) -> Callable[[str], list[dict[str, Any]]]:
    """Run source that touches memory, which must survive, and return the findings."""

    def run(source: str) -> list[dict[str, Any]]:
        finished = start(run_python, tmp_path, source)
        assert finished.status == 0, finished.err
        assert finished.err == ""
        findings: list[dict[str, Any]] = json.loads(finished.out)
        return findings

    return run


def start(run_python: Callable[..., Program], tmp_path: Path, source: str) -> Program:
    """Run source in a fresh interpreter."""
    native = compile_shared(SOURCE, tmp_path)
    return run_python(HEAD + source + TAIL, str(native))


@pytest.mark.parametrize("size", [16, 48, 4096, 4112, 65536])
@pytest.mark.parametrize("access", ["read", "write"])
def test_an_access_past_the_end(
    touching: Callable[[str], list[dict[str, Any]]], size: int, access: str
) -> None:
    value = ", 7" if access == "write" else ""
    source = f"""
block = library.hl_malloc({size})
touch.{access}_byte(block, {size - 1}{value})
touch.{access}_byte(block, {size}{value})  # the line
library.hl_free(block)
"""
    (finding,) = touching(source)
    assert (finding["kind"], finding["block"]["offset"]) == ("heap-overflow", size)
    assert f"a {access}," in finding["message"]
    python = [frame for frame in finding["stacks"]["here"] if frame["language"] == "python"]
    lines = (HEAD + source).splitlines()
    assert lines[python[0]["line"] - 1].endswith("# the line")
    assert finding["stacks"]["here"][0]["function"] == f"{access}_byte"


def test_accesses_after_the_release_are_counted_and_go_on(
    touching: Callable[[str], list[dict[str, Any]]],
) -> None:
    (finding,) = touching("""
block = library.hl_malloc(100)
library.hl_free(block)
for _ in range(1000):
    touch.read_byte(block, 12)
    library.hl_free(library.hl_malloc(1))  # an event: the page is closed again
""")
    assert (finding["kind"], finding["block"]["offset"]) == ("use-after-free", 12)
    assert finding["count"] == 1000
    assert finding["stacks"]["released"]


def test_an_access_before_the_start(touching: Callable[[str], list[dict[str, Any]]]) -> None:
    (finding,) = touching("""
block = library.hl_malloc(4096)
touch.read_byte(block, -1)
library.hl_free(block)
""")
    assert (finding["kind"], finding["block"]["offset"]) == ("heap-underflow", -1)


@pytest.mark.parametrize("size", [1, 16, 48, 4096, 5000, 65536])
@pytest.mark.parametrize("access", ["read", "write"])
def test_an_access_before_the_start_of_a_block_on_the_left(
    touching: Callable[[str], list[dict[str, Any]]], size: int, access: str
) -> None:
    value = ", 7" if access == "write" else ""
    (finding,) = touching(f"""
heapledger.stop()
heapledger.start(scope="explicit", checks=("guard",), guard="left")
block = library.hl_malloc({size})
touch.{access}_byte(block, 0{value})
touch.{access}_byte(block, -1{value})
library.hl_free(block)
""")
    assert (finding["kind"], finding["block"]["offset"]) == ("heap-underflow", -1)
    assert finding["block"]["size"] == size
    assert f"a {access}," in finding["message"]
    assert finding["stacks"]["here"][0]["function"] == f"{access}_byte"


def test_both_sides_by_turns(touching: Callable[[str], list[dict[str, Any]]]) -> None:
    findings = touching("""
heapledger.stop()
heapledger.start(scope="explicit", checks=("guard",), guard="alternate")
for _ in range(20):
    block = library.hl_malloc(64)
    touch.read_byte(block, -1)
    touch.read_byte(block, 64)
    library.hl_free(block)
""")
    counts = {finding["kind"]: finding["count"] for finding in findings}
    assert counts == {"heap-underflow": 10, "heap-overflow": 10}


def test_writes_that_meet_no_page_are_found_at_the_release(
    touching: Callable[[str], list[dict[str, Any]]],
) -> None:
    findings = touching("""
block = library.hl_malloc(10)
touch.write_byte(block, 10, 1)
touch.write_byte(block, -2, 1)
library.hl_free(block)
""")
    found = {(finding["kind"], finding["block"]["offset"]) for finding in findings}
    assert found == {("heap-overflow", 10), ("heap-underflow", -2)}


def test_the_clean_twin_is_silent(touching: Callable[[str], list[dict[str, Any]]]) -> None:
    assert (
        touching("""
for size in [0, 1, 10, 16, 100, 4096, 5000, 65536, 65537, 1 << 20]:
    block = library.hl_malloc(size)
    touch.fill(block, 1, size)
    grown = library.hl_realloc(block, 2 * size + 1)
    if size:
        assert touch.read_byte(grown, size - 1) == 1
    touch.fill(grown, 2, 2 * size + 1)
    small = library.hl_realloc(grown, 5)
    library.hl_free(small)
blocks = [library.hl_malloc(24) for _ in range(3000)]
for block in blocks:
    touch.fill(block, 3, 24)
    library.hl_free(block)
heapledger.check()
""")
        == []
    )


def test_threads_that_read_a_released_block(
    touching: Callable[[str], list[dict[str, Any]]],
) -> None:
    findings = touching("""
block = library.hl_malloc(64)
library.hl_free(block)
assert touch.read_from_threads(block) == 0
""")
    assert {finding["kind"] for finding in findings} == {"use-after-free"}


def test_a_double_free_of_a_guarded_block(
    touching: Callable[[str], list[dict[str, Any]]],
) -> None:
    (finding,) = touching("""
block = library.hl_malloc(64)
for _ in range(1001):
    library.hl_free(block)
""")
    assert (finding["kind"], finding["count"]) == ("double-free", 1000)


@pytest.mark.parametrize("moment", ["before", "after", "never"])
def test_a_real_crash_dies_of_its_signal_with_faulthandlers_dump(
    run_python: Callable[..., Program], tmp_path: Path, moment: str
) -> None:
    enable = "import faulthandler; faulthandler.enable()\n"
    source = """
block = library.hl_malloc(64)
library.hl_free(block)
touch.read_byte(block, 1)
library.hl_free(library.hl_malloc(1))
kinds = [finding.kind for finding in heapledger.findings()]
print(kinds, flush=True)
touch.read_byte(8, 0)
"""
    native = compile_shared(SOURCE, tmp_path)
    before = enable if moment == "before" else ""
    after = enable if moment == "after" else ""
    # An event between: that is when our handler is put back in front.
    event = "library.hl_free(library.hl_malloc(1))\n"
    finished = run_python(before + HEAD + after + event + source, str(native))
    assert finished.out == "['use-after-free']\n"
    assert finished.status == -signal.SIGSEGV
    assert ("Fatal Python error: Segmentation fault" in finished.err) == (moment != "never")
    assert finished.err.count("Fatal Python error") <= 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_behind_a_handler_that_gives_way_is_reported(
    run_python: Callable[..., Program], tmp_path: Path, moment: str
) -> None:
    native, report = compile_shared(SOURCE, tmp_path), tmp_path / "report.json"
    begin = HEAD.replace(
        'heapledger.start(scope="explicit", checks=("guard",))',
        f'begin = b"scope=foreign:check=guard:json={report}"',
    )
    start = "library.hl_start(begin)\n"
    register = "touch.register_once()\n"
    order = register + start if moment == "before" else start + register
    source = """
block = library.hl_malloc(64)
library.hl_free(block)
touch.read_byte(block, 1)
touch.read_byte(8, 0)
"""
    finished = run_python(begin + order + source, str(native))
    assert finished.status == -signal.SIGSEGV
    said = json.loads(report.read_text())
    assert [finding["kind"] for finding in said["findings"]] == ["use-after-free"]


def test_sampling_guards_some_blocks(run_python: Callable[..., Program], tmp_path: Path) -> None:
    begin = 'ctypes.CDLL(str(file_path())).hl_start(b"scope=explicit:guard=1/10")\n'
    source = HEAD.replace('heapledger.start(scope="explicit", checks=("guard",))\n', "") + begin
    source += """
blocks = [library.hl_malloc(32) for _ in range(100)]
for block in blocks:
    touch.read_byte(block, 32)
"""
    native = compile_shared(SOURCE, tmp_path)
    finished = run_python(source + TAIL, str(native))
    assert finished.status == 0, finished.err
    (finding,) = json.loads(finished.out)
    assert (finding["kind"], finding["count"]) == ("heap-overflow", 10)


LARGE = """
import ctypes, json, resource, sys, heapledger
heapledger.start(scope="explicit")
from heapledger._native.library import file_path
library = ctypes.CDLL(str(file_path()))
library.hl_malloc.restype = ctypes.c_void_p
library.hl_malloc.argtypes = [ctypes.c_size_t]
library.hl_free.argtypes = [ctypes.c_void_p]
"""


@pytest.mark.parametrize("size", [1 << 20, 8 << 20, 300 << 20])
def test_a_view_of_a_large_released_block_is_caught_without_the_check(
    run_python: Callable[..., Program], size: int
) -> None:
    source = f"""
block = library.hl_malloc({size})
view = (ctypes.c_double * ({size} // 8)).from_address(block)
view[{size} // 16] = 1.5
library.hl_free(block)
view[{size} // 16] = view[{size} // 16] + 1  # the line
view[0] = 7.0
heapledger.check()
assert heapledger.stats().quarantined_blocks == 1
"""
    finished = run_python(LARGE + source + TAIL)
    assert (finished.status, finished.err) == (0, "")
    findings = json.loads(finished.out)
    assert {finding["kind"] for finding in findings} == {"use-after-free"}
    assert {finding["block"]["offset"] for finding in findings} == {0, size // 2}
    caught = next(finding for finding in findings if finding["block"]["offset"])
    assert "a read," in caught["message"]
    python = [frame for frame in caught["stacks"]["here"] if frame["language"] == "python"]
    assert (LARGE + source).splitlines()[python[0]["line"] - 1].endswith("# the line")


def test_large_blocks_take_neither_memory_nor_scarce_addresses(
    run_python: Callable[..., Program],
) -> None:
    work = """
def churn(size, count):
    for _ in range(count):
        block = library.hl_malloc(size)
        assert block
        ctypes.memset(block, 1, size)
        library.hl_free(block)
churn(32 << 20, 100)
# Not `ru_maxrss`, which a program inherits from the one that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) >> 10
assert peak < 200, peak
"""
    assert run_python(LARGE + work).err == ""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
    assert run_python(limit + LARGE + work + "churn(512 << 20, 5)").err == ""
