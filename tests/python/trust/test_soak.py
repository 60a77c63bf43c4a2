"""A short soak: what random traffic did wrong on purpose is found, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compiling import ROOT

SECONDS = os.environ.get("HEAPLEDGER_SOAK_SECONDS", "12")


@pytest.mark.slow
def test_a_soak(tmp_path: object) -> None:
    command = [sys.executable, str(ROOT / "tests" / "soak" / "soak.py"), "--seconds", SECONDS]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WRONG" not in ran.stdout
    assert "lost" in ran.stdout


DAMAGED_AND_LOOKED_AT = """
import ctypes, threading, time
import heapledger
heapledger.start(scope="foreign")
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
end = time.monotonic() + 3
made = []
def damage():
    count = 0
    while time.monotonic() < end:
        block = libc.malloc(100)
        ctypes.memset(block + 100, 0x41, 1)
        libc.free(block)
        count += 1
    made.append(count)
def look():
    while time.monotonic() < end:
        heapledger.check()
threads = [threading.Thread(target=target) for target in (damage, damage, damage, look)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(made), sum(found.count for found in heapledger.findings()))
"""


def test_damage_is_one_finding_whoever_sees_it_first() -> None:
    command = [sys.executable, "-c", DAMAGED_AND_LOOKED_AT]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    made, found = map(int, ran.stdout.split())
    assert made == found > 100
