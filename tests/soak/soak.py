"""Random traffic from eight threads whose truth is known, compared with what heapledger says.

    soak.py [--seconds N] [--seed N]

A phase is one of three kinds. In a *judged* phase the threads allocate and release through
ctypes, cffi and NumPy, make errors on purpose and note them, while another thread asks for marks,
leaks, reports and checks; at its end the findings must be exactly the noted errors. In a *shaken*
phase the session is stopped and started meanwhile and nobody makes errors, so there must be none.
In an *unwatched* phase no session runs. The memory of the ledger must stop growing, and every
answer must come in time.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import faulthandler
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import heapledger

THREAD_COUNT = 8
HELD_COUNT_MAX = 200
SIZE_MAX = 6_000
ERROR_SHARE = 0.002
KINDS = ("double-free", "heap-overflow", "use-after-free", "mismatched-free", "invalid-free")
# Releases are remembered up to a million; until then the ledger grows by right.
SETTLED_BLOCK_COUNT = 1_500_000
GROWTH_BYTES_MAX = 16 << 20
SECONDS_TO_ANSWER = 300

# Before the functions are looked up: ctypes keeps the addresses that it is given then.
heapledger.start(scope="foreign")
libc = ctypes.CDLL("libc.so.6")
libcxx = ctypes.CDLL("libstdc++.so.6")
for owner, name, takes in (
    (libc, "malloc", [ctypes.c_size_t]),
    (libc, "calloc", [ctypes.c_size_t, ctypes.c_size_t]),
    (libc, "realloc", [ctypes.c_void_p, ctypes.c_size_t]),
    (libcxx, "_Znam", [ctypes.c_size_t]),
):
    function = getattr(owner, name)
    function.restype, function.argtypes = ctypes.c_void_p, takes
libc.free.argtypes = libcxx._ZdaPv.argtypes = libcxx._ZdlPv.argtypes = [ctypes.c_void_p]

try:
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("void *malloc(size_t); void free(void *);")
    by_cffi = ffi.dlopen("libc.so.6")
except ImportError:
    by_cffi = None
try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


@dataclass
class Held:
    """A block in the generator's hands: where, how large, whose, and what its bytes are."""

    address: int
    size: int
    family: str
    fill: int


@dataclass
class Truth:
    """What one thread did wrong on purpose: what must be found, and what may be."""

    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    perhaps: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: list[Held] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    block_count: int = 0


class Worker:
    """One thread's traffic."""

    def __init__(self, seed: int, *, errs: bool) -> None:
        """Begin with nothing."""
        self.random = random.Random(seed)
        self.errs = errs
        self.held: list[Held] = []
        self.truth = Truth()

    def run(self, until: float) -> None:
        """Allocate, use, resize and release until the time is over, and then release everything."""
        try:
            while time.monotonic() < until:
                self.step()
            while self.held:
                self.release(self.held.pop())
        except BaseException as error:
            self.truth.wrong.append(f"{type(error).__name__}: {error}")

    def step(self) -> None:
        """Do one thing."""
        choice = self.random.random()
        if self.errs and choice < ERROR_SHARE:
            self.err()
        elif len(self.held) < HELD_COUNT_MAX and choice < 0.55:
            self.held.append(self.allocate(self.random.randrange(1, SIZE_MAX)))
        elif self.held:
            place = self.random.randrange(len(self.held))
            self.held[place], self.held[-1] = self.held[-1], self.held[place]
            block = self.held.pop()
            if choice < 0.65 and block.family == "malloc":
                self.held.append(self.resize(block))
            else:
                self.release(block)

    def allocate(self, size: int) -> Held:
        """Get a block by one of several ways, and fill it."""
        ways = ["malloc", "calloc", "new[]"] + (["cffi"] if by_cffi else [])
        way = self.random.choice(ways)
        if way == "malloc":
            address = libc.malloc(size)
        elif way == "calloc":
            address = libc.calloc(1, size)
        elif way == "new[]":
            address = libcxx._Znam(size)
        else:
            address = int(ffi.cast("uintptr_t", by_cffi.malloc(size)))
        self.truth.block_count += 1
        block = Held(address, size, way, self.random.randrange(1, 256))
        self.fill(block)
        return block

    def fill(self, block: Held) -> None:
        """Write every byte; through NumPy where that is there."""
        if numpy is not None and self.random.random() < 0.3:
            kind = ctypes.c_uint8 * block.size
            array = numpy.ctypeslib.as_array(kind.from_address(block.address))
            array[:] = block.fill
        else:
            ctypes.memset(block.address, block.fill, block.size)

    def is_intact(self, block: Held, size: int) -> bool:
        """Look at every byte."""
        return ctypes.string_at(block.address, size) == bytes([block.fill]) * size

    def resize(self, block: Held) -> Held:
        """Move a block; what was in it must be in it still."""
        size = self.random.randrange(1, SIZE_MAX)
        moved = Held(libc.realloc(block.address, size), size, "malloc", block.fill)
        if not self.is_intact(moved, min(size, block.size)):
            self.truth.wrong.append("a resized block lost its content")
        self.fill(moved)
        return moved

    def release(self, block: Held) -> None:
        """Look at a block for the last time and give it back by the way it came."""
        if not self.is_intact(block, block.size):
            self.truth.wrong.append("a block lost its content")
        if block.family == "new[]":
            libcxx._ZdaPv(block.address)
        elif block.family == "cffi":
            assert by_cffi is not None
            by_cffi.free(ffi.cast("void *", block.address))
        else:
            libc.free(block.address)

    def err(self) -> None:
        """Do one thing that is wrong, and note it."""
        kind = self.random.choice([*KINDS, "leak"])
        size = self.random.randrange(24, 600)
        if kind == "leak":
            self.truth.lost.append(Held(libc.malloc(size), size, "malloc", 0))
            return
        if kind == "use-after-free":
            self.write_released(libc.malloc(size), size)
            return
        self.truth.errors[kind] += 1
        if kind == "mismatched-free":
            address = libcxx._Znam(size)
            libcxx._ZdlPv(address)
            libcxx._ZdaPv(address)
            return
        address = libc.malloc(size)
        if kind == "heap-overflow":
            ctypes.memset(address + size, 0x41, 1)
        if kind == "invalid-free":
            libc.free(address + 16)
        libc.free(address)
        if kind == "double-free":
            libc.free(address)

    def write_released(self, address: int, size: int) -> None:
        """Write to a block after its release, of which it is watched while it is withheld."""
        libc.free(address)
        # The first and last bytes of a released block are watched, of a small one all.
        ctypes.memset(address + size // 4, 0x41, 1)
        # The others may have released thousands of blocks between the two.
        block = heapledger.describe(address)
        is_withheld = block is not None and block.state == "quarantined"
        expected = self.truth.errors if is_withheld else self.truth.perhaps
        expected["use-after-free"] += 1


def ask(until: float, wrong: list[str]) -> None:
    """Ask for everything there is to ask while the others work."""
    choose = random.Random(1)
    mark = heapledger.mark()
    try:
        while time.monotonic() < until:
            question = choose.randrange(7)
            if question == 0:
                mark = heapledger.mark()
            elif question == 1:
                heapledger.leaks(since=mark)
            elif question == 2:
                json.loads(heapledger.report("json"))
            elif question == 3:
                heapledger.check()
            elif question == 4:
                heapledger.describe(choose.randrange(1 << 47))
            elif question == 5:
                heapledger.findings()
            else:
                heapledger.stats()
            time.sleep(0.02)
    except BaseException as error:
        wrong.append(f"asking: {type(error).__name__}: {error}")


def shake(until: float, wrong: list[str]) -> None:
    """Stop and start while the others work."""
    try:
        while time.monotonic() < until:
            heapledger.stop()
            time.sleep(0.01)
            heapledger.start(scope="foreign")
            time.sleep(0.05)
    except BaseException as error:
        wrong.append(f"starting and stopping: {type(error).__name__}: {error}")


def phase(seed: int, seconds: float, *, errs: bool, beside: Any = None) -> Truth:
    """Let the threads work for a while; return all that they noted."""
    until = time.monotonic() + seconds
    workers = [Worker(seed * THREAD_COUNT + number, errs=errs) for number in range(THREAD_COUNT)]
    total = Truth()
    threads = [threading.Thread(target=worker.run, args=(until,)) for worker in workers]
    if beside is not None:
        threads.append(threading.Thread(target=beside, args=(until, total.wrong)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        total.errors += worker.truth.errors
        total.perhaps += worker.truth.perhaps
        total.lost += worker.truth.lost
        total.wrong += worker.truth.wrong
        total.block_count += worker.truth.block_count
    return total


def counts() -> collections.Counter[str]:
    """Return how often each kind of error was found since the beginning."""
    found: collections.Counter[str] = collections.Counter()
    for finding in heapledger.findings():
        if finding.kind != "leak":
            found[finding.kind] += finding.count
    return found


def places() -> collections.Counter[str]:
    """Return how often each finding was made: what one that is too many looks like."""
    found: collections.Counter[str] = collections.Counter()
    for finding in heapledger.findings():
        here = [f"{frame.function}:{frame.line}" for frame in finding.stacks.get("here", ())]
        found[f"{finding.message}, here {here[:3]}, damage {finding.damage}"] += finding.count
    return found


def judge(seed: int, seconds: float) -> Truth:
    """Compare a phase's findings with its truth, and give back what was lost."""
    before, places_before = counts(), places()
    with heapledger.watch() as watch:
        truth = phase(seed, seconds, errs=True, beside=ask)
        heapledger.check()
    found = counts() - before
    leaks = watch.leaks
    blocks, lost_bytes = sum(leak.blocks for leak in leaks), sum(leak.bytes for leak in leaks)
    if truth.errors - found or found - truth.errors - truth.perhaps:
        truth.wrong.append(
            f"made {dict(truth.errors)}, perhaps {dict(truth.perhaps)}, found {dict(found)}"
        )
        truth.wrong += [f"{count} x {place}" for place, count in (places() - places_before).items()]
    if (blocks, lost_bytes) != (len(truth.lost), sum(block.size for block in truth.lost)):
        truth.wrong.append(f"lost {len(truth.lost)} blocks, found {blocks}: {leaks}")
    for block in truth.lost:
        libc.free(block.address)
    return truth


def shaken(seed: int, seconds: float) -> Truth:
    """Expect nothing of a phase in which the session comes and goes."""
    before = counts()
    truth = phase(seed, seconds, errs=False, beside=shake)
    heapledger.check()
    if counts() != before:
        truth.wrong.append(f"nothing was wrong, found {counts() - before}")
    return truth


def unwatched(seed: int, seconds: float) -> Truth:
    """Let a phase go unseen."""
    heapledger.stop()
    truth = phase(seed, seconds, errs=False)
    heapledger.start(scope="foreign")
    return truth


def resident_bytes() -> int:
    """Return how much memory the process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def main() -> int:
    """Go on until the time is over; print what was seen; 1 when something was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    errors: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    sizes: list[tuple[int, int, int]] = []
    block_count = lost_count = phase_count = 0
    end = time.monotonic() + options.seconds
    length = min(5.0, max(1.0, options.seconds / 12))
    while time.monotonic() < end and not wrong:
        faulthandler.dump_traceback_later(length + SECONDS_TO_ANSWER, exit=True)
        kind = (judge, judge, shaken, unwatched)[phase_count % 4]
        truth = kind(options.seed * 1000 + phase_count, length)
        phase_count += 1
        errors += truth.errors
        wrong += truth.wrong
        block_count += truth.block_count
        lost_count += len(truth.lost)
        stats = heapledger.stats()
        sizes.append((stats.total_blocks, stats.ledger_bytes, resident_bytes()))
    faulthandler.cancel_dump_traceback_later()
    settled = [size for size in sizes if size[0] > SETTLED_BLOCK_COUNT]
    if len(settled) >= 6:
        half = len(settled) // 2
        for name, place in (("ledger", 1), ("process", 2)):
            early = max(size[place] for size in settled[:half])
            late = min(size[place] for size in settled[half:])
            if late > early + GROWTH_BYTES_MAX:
                wrong.append(f"the {name} grew from {early} to {late} bytes")
    print(f"{phase_count} phases, {block_count} blocks, {lost_count} lost, errors {dict(errors)}")
    for blocks, ledger, resident in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
        print(f"recorded {blocks}: ledger {ledger >> 20} MiB, process {resident >> 20} MiB")
    for sentence in wrong[:20]:
        print(f"WRONG: {sentence[:2000]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
