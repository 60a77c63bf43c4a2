"""Child processes of a program under `run`: each reports for itself, and none is harmed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from intercepted import compile_plain

LEAK = """
import ctypes, os, sys
library = ctypes.CDLL(os.environ["TEST_LIBRARY"])
library.get_shared_memory.restype = ctypes.c_void_p
library.free_shared_memory.argtypes = [ctypes.c_void_p]
def leak(count):
    for _ in range(count):
        library.get_shared_memory(42)
    return os.getpid()
def clean(count):
    for _ in range(count):
        library.free_shared_memory(library.get_shared_memory(42))
    return count
"""

PROCESS = """
import multiprocessing, leaking
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    process = context.Process(target=leaking.leak, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode
    leaking.leak(1)
    print("the end")
"""

POOL = """
import multiprocessing, leaking
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(leaking.clean, range(20)) == list(range(20))
    print("the end")
"""

EXECUTOR = """
import concurrent.futures, multiprocessing, leaking
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(leaking.leak, 3).result()
    leaking.leak(1)
    print("the end")
"""

WAYS = {
    "subprocess": "subprocess.run([sys.executable, '-c', 'import leaking; leaking.leak(3)'])",
    "shell": "os.system(sys.executable + ' -c \"import leaking; leaking.leak(3)\"')",
    "fork": "os.fork() or (leaking.leak(3), os._exit(0))\nos.wait()",
    "fork_and_exec": (
        "os.fork() or os.execv(sys.executable, ['python', '-c', 'import leaking; leaking.leak(3)'])"
        "\nos.wait()"
    ),
    "posix_spawn": (
        "os.posix_spawn(sys.executable, ['python', '-c', 'import leaking; leaking.leak(3)'],"
        " os.environ)\nos.wait()"
    ),
}

HARMLESS = """
import os, subprocess, sys
def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    print(command[0].rpartition("/")[2], done.returncode, done.stdout, done.stderr)
run("sh", "-c", "echo from $0; exit 3", "sh")
run("env", "-i", sys.executable, "-c", "print('in an empty environment')")
run(sys.executable, "-c", "print('without an environment')", env={})
run("cat", "/dev/null")
for program in sys.argv[1:]:
    run(program)
"""


@pytest.fixture
def leaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the module `leaking`, and have every process find it and its library."""
    (tmp_path / "leaking.py").write_text(LEAK, encoding="utf-8")
    monkeypatch.setenv("TEST_LIBRARY", str(compile_plain("shared_memory.cpp", tmp_path)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *_python_path()]))
    return tmp_path


def _python_path() -> list[str]:
    return [str(Path(sys.modules["heapledger"].__path__[0]).parent)]


def _run(folder: Path, source: str, *arguments: object) -> tuple[str, dict[str, Any], str]:
    script = folder / "program.py"
    script.write_text(source, encoding="utf-8")
    report = folder / "report.json"
    command = [sys.executable, "-m", "heapledger", "run", "--json", str(report), str(script)]
    ran = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, json.loads(report.read_text(encoding="utf-8")), ran.stderr


def _leaked(report: dict[str, Any]) -> list[tuple[str, int]]:
    return [(found["kind"], found["blocks"]) for found in report["findings"]]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("source", [PROCESS, EXECUTOR], ids=["process", "executor"])
def test_a_child_of_multiprocessing_reports_for_itself(
    source: str, method: str, leaking: Path
) -> None:
    out, report, text = _run(leaking, source.format(method=method))
    assert out == "the end\n"
    assert _leaked(report) == [("leak", 1)]
    assert [leak for child in report["children"] for leak in _leaked(child)] == [("leak", 3)]
    assert "leak of 1 block" in text
    assert "leak of 3 blocks" in text


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_that_is_terminated_is_clean(method: str, leaking: Path) -> None:
    out, report, text = _run(leaking, POOL.format(method=method))
    assert out == "the end\n"
    assert _leaked(report) == []
    assert [leak for child in report["children"] for leak in _leaked(child)] == []
    assert text.startswith("heapledger: no findings"), text


@pytest.mark.parametrize("way", WAYS)
def test_a_child_started_in_any_way_reports_for_itself(way: str, leaking: Path) -> None:
    source = f"import os, subprocess, sys, leaking\n{WAYS[way]}\nleaking.leak(1)\nprint('end')\n"
    out, report, _ = _run(leaking, source)
    assert out == "end\n"
    assert _leaked(report) == [("leak", 1)]
    assert [leak for child in report["children"] for leak in _leaked(child)] == [("leak", 3)]


def test_a_program_that_executes_another_is_reported_as_that(leaking: Path) -> None:
    source = "import os, sys, leaking\nleaking.leak(1)\n"
    source += "os.execv(sys.executable, ['python', '-c', 'import leaking; leaking.leak(3)'])\n"
    _, report, _ = _run(leaking, source)
    assert _leaked(report) == [("leak", 3)]


def test_children_that_are_no_python_are_not_harmed(leaking: Path) -> None:
    source = leaking / "plain.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("plain"); return 7; }\n')
    programs = []
    for name, options in {"dynamic": [], "static": ["-static"], "narrow": ["-m32"]}.items():
        program = leaking / name
        command = [shutil.which("cc") or "cc", *options, "-o", str(program), str(source)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            programs.append(program)
    assert programs
    script = leaking / "harmless.py"
    script.write_text(HARMLESS, encoding="utf-8")
    plain = subprocess.run(
        [sys.executable, str(script), *map(str, programs)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    out, report, _ = _run(leaking, HARMLESS, *programs)
    # The dynamic linker itself complains when it cannot preload into a program of another kind.
    complaints = [line for line in out.splitlines() if "cannot be preloaded" not in line]
    assert complaints == plain.stdout.splitlines()
    assert _leaked(report) == []


def test_a_compiler_that_the_program_runs_is_not_judged(leaking: Path) -> None:
    source = "import subprocess\nsubprocess.run(['cc', '--version'], stdout=subprocess.DEVNULL)\n"
    script = leaking / "compiling.py"
    script.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "heapledger", "run", "--scope", "process", str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.startswith("heapledger: no findings"), ran.stderr


def test_leaks_of_a_child_without_python_are_counted_and_not_looked_for(leaking: Path) -> None:
    source = leaking / "forgets.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return malloc(3000) == 0; }\n")
    program = leaking / "forgets"
    command = [shutil.which("cc") or "cc", "-O0", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    script = leaking / "starting.py"
    script.write_text(f"import subprocess\nsubprocess.run([{str(program)!r}], check=True)\n")
    saved = leaking / "starting.json"
    run = [sys.executable, "-m", "heapledger", "run", "--quiet", "--json", str(saved)]
    subprocess.run([*run, "--scope", "process", str(script)], check=True, timeout=120)
    (child,) = json.loads(saved.read_text())["children"]
    assert child["findings"] == []
    assert child["limits"]["leaks_not_judged_in_programs_without_python"] == 1
    # A program that takes the place of the one that was started is asked.
    script.write_text(f"import os\nos.execv({str(program)!r}, ['forgets'])\n")
    subprocess.run([*run, "--scope", "process", str(script)], check=True, timeout=120)
    (leak,) = json.loads(saved.read_text())["findings"]
    assert (leak["kind"], leak["bytes"]) == ("leak", 3000)


FORKED_WHILE_CONNECTING = """
import os, signal, threading
import heapledger
from heapledger import origins
held, done = threading.Event(), threading.Event()
def hold():
    with origins._connection.lock:
        held.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    heapledger.start()
    heapledger.stop()
    os._exit(0)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
assert status == 0, status
"""


def test_a_child_forked_while_another_thread_connects_can_start() -> None:
    # From 3.12 on the interpreter warns of a fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED_WHILE_CONNECTING]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
