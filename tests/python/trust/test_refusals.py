"""Whatever the system refuses us, the program does what it does, and the report says so.

Needs the library built with the feature `refusals` (src/memory/refusal.rs). For each kind of
request the first is refused, then the second, and so on until the program makes no more; and then
all from the n-th on. `HEAPLEDGER_REFUSALS=all` tries every n, otherwise some are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trust.conftest import Ending, Trial

REQUESTS = (
    "map",
    "heap",
    "open-pages",
    "open-slots",
    "guard",
    "maps",
    "peek",
    "open",
    "write",
    "rename",
    "thread-key",
    "thread-slot",
    "fork-handlers",
)
NUMBER_MAX = 10_000
EVERY = os.environ.get("HEAPLEDGER_REFUSALS") == "all"

PROGRAM = (
    "import os, sys, threading\n"
    "from traffic import *\n"
    "library = native()\n"
    "threads = [threading.Thread(target=traffic, args=(10,)) for _ in range(3)]\n"
    "for thread in threads: thread.start()\n"
    "for thread in threads: thread.join()\n"
    "print(traffic(), library.run_threads(3, 65536, 20), flush=True)\n"
    "child = os.fork()\n"
    "if child == 0: os._exit(traffic(5))\n"
    "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
    "leak(2)\n"
    "block = libc.malloc(40)\n"
    "libc.free(block)\n"
    "libc.free(block)\n"
    "print('survived')\n"
)
OUT = "120 60\n15\n"
PROTECTED = (
    "from traffic import *\n"
    "blocks = [libc.malloc(48) for _ in range(500)]\n"
    "ctypes.string_at(blocks[0] + 48, 1)\n"
    "ctypes.memset(blocks[1] + 48, 7, 1)\n"
    "libc.free(blocks[2])\n"
    "ctypes.string_at(blocks[2], 1)\n"
    "with open('/proc/self/maps') as maps:\n"
    "    print(sum(' ---p ' in line for line in maps) >= len(blocks) - 3)\n"
    "for block in blocks[:2] + blocks[3:]: libc.free(block)\n"
    "print(traffic())\n"
)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library that can be refused things; `scripts/check test` has done it before."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("there is no cargo")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = [cargo, "build", "--lib", "--locked", "--quiet", "--features", "refusals"]
    subprocess.run([*command, "--target-dir", str(target)], check=True, cwd=ROOT)
    copy = tmp_path_factory.mktemp("refusing") / "libheapledger.so"
    shutil.copyfile(target / "debug" / "libheapledger.so", copy)
    return copy


def numbers() -> Iterator[int]:
    """Yield the requests to refuse: all, or 1, 2, 4, 8 and so on."""
    number = 1
    while number <= NUMBER_MAX:
        yield number
        number += 1 if EVERY else number


def run(trial: Trial, refuse: str, scope: str) -> tuple[Ending, bool]:
    """Run the program, and tell whether anything was refused."""
    sign = trial.folder / "refused"
    sign.unlink(missing_ok=True)
    for report in trial.folder.glob(f"{scope}-*.json"):
        report.unlink()
    checks = "check=quarantine,redzone,guard:guard=1/7"
    options = f"scope={scope}:{checks}:json={trial.folder}/{scope}-%p.json"
    ending = trial.run(
        trial.command(PROGRAM),
        scope,
        HEAPLEDGER_OPTIONS=options,
        HEAPLEDGER_REFUSE=refuse,
        HEAPLEDGER_REFUSED=str(sign),
    )
    return ending, sign.exists()


def check(trial: Trial, ending: Ending, scope: str, refuse: str) -> None:
    """Assert that the program ended as with us or as without us, and what the report says."""
    # Where the record of the block was dropped, glibc gets to see the second release.
    as_without_us = ending.status == -6 and ending.out == OUT and "double free" in ending.err
    as_with_us = (ending.status, ending.out, ending.err) == (0, OUT + "survived\n", "")
    assert as_with_us or as_without_us, f"{refuse}: {ending}"
    for report in trial.reports[scope]:
        kinds = [finding["kind"] for finding in report["findings"]]
        # A library whose slots could not be written releases the block again without us: what
        # glibc writes into it then is seen.
        unseen = {"use-after-free"} if refuse.startswith(("maps:", "open-slots:")) else set()
        assert set(kinds) <= {"double-free", "leak"} | unseen, f"{refuse}: {report}"
        if report["process"]["argv"] and not as_without_us:
            counted = [
                value
                for name, value in report["limits"].items()
                if name.endswith("count") and value
            ]
            complete = not kinds or {"double-free", "leak"} <= set(kinds)
            assert complete or counted or report["limits"]["troubles"], f"{refuse}: {report}"


@pytest.mark.slow
@pytest.mark.parametrize("request_name", REQUESTS)
def test_each_request_is_refused_in_turn(trial: Trial, refusing: Path, request_name: str) -> None:
    trial.library = refusing
    tried = 0
    for number in numbers():
        refuse = f"{request_name}:{number}"
        ending, reached = run(trial, refuse, "foreign")
        check(trial, ending, "foreign", refuse)
        if not reached:
            break
        tried += 1
        if number in (1, 8) or EVERY:
            ending, _ = run(trial, f"{refuse}+", "process")
            check(trial, ending, "process", f"{refuse}+")
    print(f"{request_name}: {tried} tried", file=sys.stderr)
    assert tried or request_name in ("guard", "thread-slot")


@pytest.mark.slow
def test_where_the_kernel_has_no_guard_markers_pages_are_protected(
    trial: Trial, refusing: Path
) -> None:
    """The first request for guard pages asks for markers; before Linux 6.13 it is refused."""
    trial.library = refusing
    ending = trial.run(
        trial.command(PROTECTED),
        "foreign",
        HEAPLEDGER_OPTIONS=f"check=guard:json={trial.folder}/foreign-%p.json",
        HEAPLEDGER_REFUSE="guard:1",
    )
    assert (ending.status, ending.out, ending.err) == (0, "True\n120\n", "")
    (report,) = trial.reports["foreign"]
    found = [(finding["kind"], finding["block"]["offset"]) for finding in report["findings"]]
    assert sorted(found) == [("heap-overflow", 48), ("heap-overflow", 48), ("use-after-free", 0)]
    assert not report["limits"]["troubles"]
