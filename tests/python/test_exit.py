"""What happens to blocks when the process ends, forks or runs several threads."""

from __future__ import annotations

import json
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

import heapledger
from heapledger import reports
from heapledger._native import interface

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Program
    from heapledger import Watch

PRELUDE = "import ctypes, sys, os, gc, atexit, threading\nimport heapledger\n"


def exit_report(
    run_python: Callable[..., Program], tmp_path: Path, source: str
) -> dict[str, object]:
    """Run a program and return the report its library wrote after the interpreter's end."""
    target = tmp_path / "exit.json"
    ran = run_python(
        PRELUDE + "heapledger.start(scope='explicit')\n" + source,
        LD_PRELOAD=str(interface.library_path()),
        HEAPLEDGER_OPTIONS=f"scope=explicit:json={target}",
    )
    assert (ran.status, ran.err) == (0, "")
    report: dict[str, object] = json.loads(target.read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize(
    "source",
    [
        "block = heapledger.allocate(8)",
        "sys.held = heapledger.allocate(8)",
        "class C:\n    held = heapledger.allocate(8)",
        "held = [heapledger.allocate(8)]\nheld.append(held)",
        "import json\njson.held = heapledger.allocate(8)",
        "local = threading.local()\nlocal.held = heapledger.allocate(8)",
        "def f(held=heapledger.allocate(8)): pass",
        "block = heapledger.allocate(8)\nview = block.view()",
        "block = heapledger.allocate(8)\natexit.register(block.free)",
        "block = heapledger.allocate(8)\ntry: 1 / 0\nexcept Exception as e: kept = e",
        "heapledger.held = heapledger.allocate(8)",
        "heapledger.memory.held = heapledger.allocate(8)",
        "import builtins\nbuiltins.held = heapledger.allocate(8)",
        "import numpy\na = heapledger.allocate(8).array('u1')\nnumpy.held = a",
    ],
)
def test_blocks_that_python_still_holds_at_the_end_are_released(
    run_python: Callable[..., Program], tmp_path: Path, source: str
) -> None:
    report = exit_report(run_python, tmp_path, source)
    assert report["findings"] == []


def test_adopted_blocks_are_released_at_the_end_by_their_function(
    run_python: Callable[..., Program], tmp_path: Path, shared_library_path: Path
) -> None:
    report = exit_report(
        run_python,
        tmp_path,
        f"lib = ctypes.CDLL({str(shared_library_path)!r})\n"
        "lib.get_shared_memory.restype = ctypes.c_void_p\n"
        "block = heapledger.adopt(lib.get_shared_memory(4), 32, free=lib.free_shared_memory)\n",
    )
    assert report["findings"] == []


def test_a_recorded_block_that_nobody_released_is_a_leak_at_the_end(
    run_python: Callable[..., Program], tmp_path: Path, shared_library_path: Path
) -> None:
    report = exit_report(
        run_python,
        tmp_path,
        f"lib = ctypes.CDLL({str(shared_library_path)!r})\n"
        "lib.get_shared_memory.restype = ctypes.c_void_p\n"
        "for _ in range(3):\n"
        "    heapledger.adopt(lib.get_shared_memory(4), 32)\n",
    )
    findings = report["findings"]
    assert isinstance(findings, list)
    (leak,) = (heapledger.Finding.from_dict(found) for found in findings)
    assert (leak.kind, leak.blocks, leak.bytes) == ("leak", 3, 96)
    assert leak.stacks["allocated"][0].line == 7


def test_a_forked_child_never_releases_what_it_inherited(
    shared: ctypes.CDLL, watched: Watch
) -> None:
    released = shared.released()
    block = heapledger.adopt(shared.get_shared_memory(4), 32, free=shared.free_shared_memory)
    own = heapledger.allocate(8)
    address = own.address
    child = os.fork()
    if child == 0:
        status = 1
        try:
            block.free()
            block.free()
            del block, own
            mine = heapledger.adopt(shared.get_shared_memory(4), 32, free=shared.free_shared_memory)
            mine.free()
            before = heapledger.describe(address)
            assert before is None or before.state == "live"
            assert shared.released() == released + 1
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shared.released() == released
    block.free()
    own.free()
    assert shared.released() == released + 1
    assert watched.findings == []


def test_one_of_many_threads_wins_a_free(shared: ctypes.CDLL, watched: Watch) -> None:
    released = shared.released()
    barrier = threading.Barrier(8)

    def work(blocks: list[heapledger.Block]) -> None:
        for block in blocks:
            barrier.wait(30)
            block.free()

    blocks = [
        heapledger.adopt(shared.get_shared_memory(4), 32, free=shared.free_shared_memory)
        for _ in range(50)
    ]
    threads = [threading.Thread(target=work, args=(blocks,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.released() == released + 50
    assert {finding.kind for finding in watched.findings} == {"double-free"}
    assert sum(finding.count for finding in watched.findings) == 7 * 50


def test_threads_that_allocate_and_release_leave_nothing(
    shared: ctypes.CDLL, watched: Watch
) -> None:
    released = shared.released()
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)
        held: list[heapledger.Block] = []
        try:
            for _ in range(400):
                if held and choose.random() < 0.5:
                    block = held.pop(choose.randrange(len(held)))
                    if choose.random() < 0.5:
                        block.free()
                    del block
                elif choose.random() < 0.5:
                    held.append(heapledger.allocate(choose.randrange(1, 500)))
                else:
                    pointer = shared.get_shared_memory(4)
                    held.append(heapledger.adopt(pointer, 32, free=shared.free_shared_memory))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert shared.released() > released
    assert watched.leaks == []
    assert watched.findings == []


def test_a_process_writes_its_report_for_people_too(
    run_python: Callable[..., Program], tmp_path: Path
) -> None:
    text, saved = tmp_path / "%p.txt", tmp_path / "report.json"
    ran = run_python(
        PRELUDE + "heapledger.start(scope='explicit')\n"
        "block = heapledger.allocate(48)\nblock.free()\nblock.free()\n",
        LD_PRELOAD=str(interface.library_path()),
        HEAPLEDGER_OPTIONS=f"scope=explicit:json={saved}:text={text}",
    )
    assert (ran.status, ran.err) == (0, "")
    [written] = tmp_path.glob("*.txt")
    assert written.read_text(encoding="utf-8") == reports.text_of(reports.loaded(saved))
    assert "double free of a 48-byte block" in written.read_text(encoding="utf-8")
