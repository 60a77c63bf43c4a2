"""Print what each check costs: `python benches/checks [--rounds N] [BYTES...]`.

Nanoseconds of processor time of a malloc+free pair in a C program, scope `process`, defaults
otherwise, and in the last rows of AddressSanitizer, preloaded, and valgrind's memcheck, where they
are installed. The configurations run by turns, and the least of all rounds counts: on a busy
machine some round is left alone. A library built with `cargo build --release` is meant:
HEAPLEDGER_LIBRARY may name it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from heapledger._native.library import file_path

_CHECKS = {
    "glibc alone": None,
    "recorded, no check": "none",
    "`quarantine`": "quarantine",
    "`redzone`": "redzone",
    "`quarantine` and `redzone`": "quarantine,redzone",
    "`guard`": "guard",
}
_ASAN, _MEMCHECK = "AddressSanitizer", "valgrind's memcheck"
_SLOW = ("`guard`", _MEMCHECK)
_SIZES = (24, 64, 200, 600, 2_000, 10_000, 100_000)
_PAIR_COUNT_MAX = 100_000
_SLOW_PAIR_COUNT = 4_000
_BYTES_PER_ROUND = 200_000_000
"""Beyond so many bytes a round has fewer pairs."""


def main() -> int:
    """Measure, and print."""
    options = _arguments()
    sizes: list[int] = options.sizes or list(_SIZES)
    print(f"| ns per pair of | {' | '.join(f'{size:,} bytes' for size in sizes)} |")
    print("|---" * (len(sizes) + 1) + "|")
    with TemporaryDirectory() as folder:
        program = Path(folder) / "ring"
        source = Path(__file__).with_name("ring.c")
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
        names = [*_CHECKS, *_peers()]
        least = {(name, size): float("inf") for name in names for size in sizes}
        for _ in range(options.rounds):
            for name, size in least:
                each = _measure(program, size, name)
                least[name, size] = min(each, least[name, size])
    for name in names:
        print(f"| {name} | {' | '.join(f'{least[name, size]:.0f}' for size in sizes)} |")
    return 0


def _peers() -> list[str]:
    """Return the other tools that are installed."""
    peers = {_ASAN: _asan() is not None, _MEMCHECK: shutil.which("valgrind") is not None}
    return [name for name, is_there in peers.items() if is_there]


def _asan() -> str | None:
    """Return the path of the compiler's AddressSanitizer; it prints the name alone without one."""
    command = ["cc", "-print-file-name=libasan.so"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return path if os.path.isabs(path) else None


def _measure(program: Path, size: int, name: str) -> float:
    environment = dict(os.environ)
    pair_count = min(_PAIR_COUNT_MAX, _BYTES_PER_ROUND // size)
    if name in _SLOW:
        pair_count = min(pair_count, _SLOW_PAIR_COUNT)
    command = [str(program), str(size), str(pair_count)]
    if name == _ASAN:
        environment["LD_PRELOAD"] = str(_asan())
    elif name == _MEMCHECK:
        command = ["valgrind", "--quiet", "--leak-check=no", *command]
    elif checks := _CHECKS[name]:
        environment["LD_PRELOAD"] = str(file_path())
        environment["HEAPLEDGER_OPTIONS"] = f"scope=process:json=/dev/null:check={checks}"
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(finished.stdout)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/checks", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, metavar="BYTES")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
