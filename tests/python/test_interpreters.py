"""The first example under every interpreter that is found: all must agree.

`HEAPLEDGER_TEST_PYTHONS` names further interpreters, separated as in `PATH`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiling import LIBRARY, ROOT
from intercepted import compile_plain, frames

FOUND_BY_THEMSELVES = ("~/.pyenv/versions/*/bin/python3", "/usr/bin/python3", "/usr/bin/python3.1?")
OLDEST = (3, 11)
DESCRIBE = """
import ctypes, platform, sysconfig
free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
print(".".join(platform.python_version_tuple()[:2]), "t" if free_threaded else "")
"""

BUILDS = {"O0": ["-O0"], "O2": ["-O2"], "O3": ["-O3"], "flto": ["-O2", "-flto"]}

# The thread matters: from 3.14 on, the interpreter asks the C library about the stack of each.
PROGRAM = """
import ctypes, sys, threading

library = ctypes.CDLL(sys.argv[1])
libc = ctypes.CDLL("libc.so.6")
library.get_shared_memory.restype = ctypes.c_void_p
library.get_plain_memory.restype = ctypes.c_void_p
library.free_shared_memory.argtypes = [ctypes.c_void_p]
libc.free.argtypes = [ctypes.c_void_p]


def leak():
    return library.get_shared_memory(42)


def close(block):
    library.free_shared_memory(block)


for _ in range(10):
    leak()
for _ in range(10):
    libc.free(library.get_plain_memory(100))
thread = threading.Thread(target=lambda: libc.free(library.get_plain_memory(100)))
thread.start()
thread.join()
block = library.get_shared_memory(7)
close(block)
library.free_shared_memory(block)
print("the last line")
"""


def _interpreters() -> dict[str, str]:
    """Return the interpreters found that are supported, each once, by a name for the test."""
    named = os.environ.get("HEAPLEDGER_TEST_PYTHONS", "").split(os.pathsep)
    paths = [Path(path) for path in (sys.executable, *named) if path]
    for pattern in FOUND_BY_THEMSELVES:
        paths += sorted(Path("/").glob(str(Path(pattern).expanduser().relative_to("/"))))
    # A virtual environment's interpreter is the one that it links to.
    distinct = {path.resolve(): path for path in reversed(paths) if path.exists()}
    described = {path: _description(path) for path in reversed(distinct.values())}
    return {f"{what}-{path}": str(path) for path, what in described.items() if what}


def _description(path: Path) -> str:
    """Return version and build; nothing for an interpreter that is too old or has no ctypes."""
    asked = subprocess.run([path, "-c", DESCRIBE], capture_output=True, text=True, check=False)
    version, _, rest = asked.stdout.strip().partition(" ")
    if asked.returncode != 0 or tuple(map(int, version.split("."))) < OLDEST:
        return ""
    return version + rest.strip()


INTERPRETERS = _interpreters()


@pytest.fixture(params=INTERPRETERS)
def python(request: pytest.FixtureRequest) -> str:
    """Return the path of one interpreter after the other."""
    return INTERPRETERS[request.param]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Write the program."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.lstrip(), encoding="utf-8")
    return path


def _run(
    python: str, program: Path, library: Path, *options: str, calls: str = "auto"
) -> tuple[list[Any], Any]:
    report = program.with_suffix(".json")
    report.unlink(missing_ok=True)
    command = [python, "-m", "heapledger", "run", *options, "--json", str(report)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "python"),
        "HEAPLEDGER_LIBRARY": str(LIBRARY),
        "HEAPLEDGER_OPTIONS": f"foreign_calls={calls}",
    }
    finished = subprocess.run(
        [*command, str(program), str(library)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "the last line\n"), finished.stderr
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    return findings, finished.stderr


def _check(findings: list[Any], text: str, library: Path) -> None:
    by_kind = {finding["kind"]: finding for finding in findings}
    assert sorted(finding["kind"] for finding in findings) == ["double-free", "leak"]
    leak = by_kind["leak"]
    assert (leak["blocks"], leak["bytes"], leak["family"]) == (10, 3360, "new[]")
    assert leak["foreign_function"] == {"library": str(library), "name": "get_shared_memory"}
    assert leak["handed_to_python"]
    assert list(frames(leak, "allocated")) == [("leak", 12), ("<module>", 20)]
    twice = by_kind["double-free"]
    assert twice["count"] == 1
    assert list(frames(twice, "allocated")) == [("<module>", 26)]
    assert list(frames(twice, "released")) == [("close", 16), ("<module>", 27)]
    assert list(frames(twice, "here")) == [("<module>", 28)]
    for line in (12, 16, 26, 28):
        assert f"program.py:{line}" in text


@pytest.mark.parametrize("build", BUILDS)
def test_the_first_example_on_every_interpreter(
    python: str, build: str, program: Path, tmp_path: Path
) -> None:
    library = compile_plain("shared_memory.cpp", tmp_path, *BUILDS[build])
    _check(*_run(python, program, library), library)


def test_the_process_scope_agrees_on_every_interpreter(
    python: str, program: Path, tmp_path: Path
) -> None:
    library = compile_plain("shared_memory.cpp", tmp_path, "-O2")
    _check(*_run(python, program, library, "--scope", "process"), library)


def test_calls_seen_at_the_types_of_ctypes_agree_on_every_interpreter(
    python: str, program: Path, tmp_path: Path
) -> None:
    library = compile_plain("shared_memory.cpp", tmp_path, "-O2")
    _check(*_run(python, program, library, calls="types"), library)


STATEMENTS = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])


def drop():
    library.get_plain_memory(10)


for _ in range(200):
    drop()
kept = library.get_plain_memory(10)
print("the last line")
"""


def test_whether_a_result_is_taken_is_known_on_every_interpreter(
    python: str, tmp_path: Path
) -> None:
    """Cold calls and calls that the interpreter has specialised; only the last result is cut."""
    library = compile_plain("shared_memory.cpp", tmp_path, "-O2")
    program = tmp_path / "program.py"
    program.write_text(STATEMENTS.lstrip(), encoding="utf-8")
    findings, _ = _run(python, program, library)
    leaks = sum(finding["blocks"] for finding in findings if finding["kind"] == "leak")
    assert leaks == 201
    cut = [finding for finding in findings if finding["kind"] == "truncated-pointer"]
    if any(finding["block"]["address"] >> 32 for finding in findings):
        assert [line for finding in cut for _, line in frames(finding, "here")] == [11]
    else:
        assert cut == []  # the heap of an interpreter that is no PIE
