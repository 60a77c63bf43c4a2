"""The quarantine: what is withheld over all threads, its limits, and what they let go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

HEAD = """
import ctypes, json, threading, heapledger
from heapledger._native.library import file_path
library = ctypes.CDLL(str(file_path()))
library.hl_malloc.restype = ctypes.c_void_p
library.hl_malloc.argtypes = [ctypes.c_size_t]
library.hl_free.argtypes = [ctypes.c_void_p]

def come_and_go(count, size=48):
    for _ in range(count):
        library.hl_free(library.hl_malloc(size))

def in_threads(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
TAIL = """
print(json.dumps({
    "stats": heapledger.stats().to_dict(),
    "findings": [finding.to_dict() for finding in heapledger.findings()],
    "report": json.loads(heapledger.report(format="json")),
}))
"""


@pytest.fixture
def run(run_python: Callable[..., Program]) -> Callable[[str], dict[str, Any]]:
    """Run source in a fresh interpreter, which must end well, and return what it says."""

    def run(source: str) -> dict[str, Any]:
        finished = run_python(HEAD + source + TAIL)
        assert (finished.status, finished.err) == (0, "")
        said: dict[str, Any] = json.loads(finished.out)
        return said

    return run


def test_blocks_are_withheld_up_to_the_limit_and_counted_when_they_leave(
    run: Callable[[str], dict[str, Any]],
) -> None:
    said = run("""
heapledger.start(scope="explicit", quarantine_blocks=2000)
come_and_go(10_000)
""")
    stats, report = said["stats"], said["report"]
    assert 1_000 < stats["quarantined_blocks"] <= 2_000
    assert stats["quarantined_blocks"] + stats["evicted_blocks"] == 10_000
    assert 48 * stats["quarantined_blocks"] < stats["quarantined_bytes"]
    assert report["options"]["quarantine_blocks"] == 2_000
    assert report["limits"]["quarantine_evicted_block_count"] == stats["evicted_blocks"]
    assert said["findings"] == []


def test_memory_is_withheld_up_to_the_limit(run: Callable[[str], dict[str, Any]]) -> None:
    stats = run("""
heapledger.start(scope="explicit", quarantine_bytes="4M")
for size in (100, 5_000, 70_000, 900_000):
    come_and_go(1_000, size)
""")["stats"]
    assert 1 << 20 < stats["quarantined_bytes"] <= 4 << 20
    assert stats["evicted_bytes"] > 900_000_000


def test_nothing_is_withheld_without_room(run: Callable[[str], dict[str, Any]]) -> None:
    for limit in ("quarantine_blocks=0", "quarantine_bytes=0"):
        stats = run(f"heapledger.start(scope='explicit', {limit})\ncome_and_go(100)\n")["stats"]
        assert (stats["quarantined_blocks"], stats["evicted_blocks"]) == (0, 0)


def test_the_limits_hold_for_all_threads_together(run: Callable[[str], dict[str, Any]]) -> None:
    stats = run("""
heapledger.start(scope="explicit", quarantine_blocks=3000)
in_threads(8, lambda: come_and_go(20_000))
""")["stats"]
    assert 1_500 < stats["quarantined_blocks"] <= 3_000
    assert stats["quarantined_blocks"] + stats["evicted_blocks"] == 160_000


def test_what_an_ended_thread_withheld_is_still_looked_at(
    run: Callable[[str], dict[str, Any]],
) -> None:
    (finding,) = run("""
heapledger.start(scope="explicit", quarantine_blocks=20_000)
blocks = []
def work():
    blocks.append(library.hl_malloc(64))
    library.hl_free(blocks[0])
in_threads(1, work)
in_threads(8, lambda: come_and_go(1_000))
ctypes.memset(blocks[0] + 20, 7, 4)
heapledger.check()
""")["findings"]
    assert (finding["kind"], finding["block"]["offset"]) == ("use-after-free", 20)


@pytest.mark.parametrize("release_count", [0, 200], ids=["by this thread", "by all threads"])
def test_a_write_is_found_at_the_next_of_every_so_many_events(
    run: Callable[[str], dict[str, Any]], release_count: int
) -> None:
    said = run(f"""
heapledger.start(scope="explicit", check_every=500)
block = library.hl_malloc(48)
library.hl_free(block)
come_and_go({release_count})  # the thread hands its batch over
ctypes.memset(block + 5, 7, 3)
come_and_go(500)
early = len(heapledger.findings())
come_and_go(500)
assert early == len(heapledger.findings()) == 1, early
""")
    (finding,) = said["findings"]
    assert (finding["kind"], finding["block"]["offset"]) == ("use-after-free", 5)
    assert finding["damage"]["before"]["event"] == "check"
    assert said["stats"]["evicted_blocks"] == 0


def test_a_double_free_is_one_after_thousands_of_releases(
    run: Callable[[str], dict[str, Any]],
) -> None:
    (finding,) = run("""
heapledger.start(scope="explicit", quarantine_blocks=20_000)
block = library.hl_malloc(48)
library.hl_free(block)
come_and_go(10_000)
library.hl_free(block)
""")["findings"]
    assert (finding["kind"], finding["block"]["state"]) == ("double-free", "quarantined")


def test_a_lower_limit_lets_go_of_what_is_beyond_it(run: Callable[[str], dict[str, Any]]) -> None:
    stats = run("""
heapledger.start(scope="explicit")
come_and_go(10_000)
heapledger.stop()
heapledger.start(scope="explicit", quarantine_blocks=500)
come_and_go(1_000)
""")["stats"]
    assert stats["quarantined_blocks"] <= 500
    assert stats["quarantined_blocks"] + stats["evicted_blocks"] == 11_000


@pytest.mark.parametrize("wrong", ["quarantine_bytes='64X'", "quarantine_blocks=-1", "guard='5'"])
def test_a_value_that_makes_no_sense_is_named(
    run_python: Callable[..., Program], wrong: str
) -> None:
    name = wrong.split("=", 1)[0]
    finished = run_python(f"import heapledger\nheapledger.start({wrong})\n")
    assert finished.status == 1
    assert f"{name} cannot be" in finished.err.splitlines()[-1]
