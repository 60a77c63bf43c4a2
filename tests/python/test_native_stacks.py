"""Native stacks: from the allocation to the Python line, and further when asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from heapledger import reports
from intercepted import SOURCES, compile_plain, run_preloaded, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Finding, Run

CASES = {
    "plainly": ["plainly"],
    "nested": ["allocate", "inner", "inner", "inner", "inner", "nested"],
    "in_handler": ["allocate", "inner", "inner", "in_handler"],
    "with_variable_frame": ["allocate", "inner", "inner", "with_variable_frame"],
    "with_aligned_frame": ["allocate", "inner", "inner", "with_aligned_frame"],
}
"""What each function of the library leaves: the functions, innermost first."""

BUILDS = {
    "unoptimised": ["-O0"],
    "optimised": ["-O2"],
    "hard": ["-O3", "-fomit-frame-pointer"],
    "small": ["-Os", "-fno-omit-frame-pointer"],
    "without-debug-information": ["-O2", "-g0"],
    "relocated-late": ["-O1", "-Wl,-z,lazy"],
}

CALLS = """
import ctypes
library = ctypes.CDLL({path!r})
for name in {names!r}:
    getattr(library, name)()  # the Python line
"""


def script(library: Path, *names: str) -> str:
    return CALLS.format(path=str(library), names=list(names))


def native(finding: Finding, side: str = "allocated") -> list[dict[str, Any]]:
    return [frame for frame in finding["stacks"][side] if frame["language"] == "native"]


def shown(finding: Finding) -> list[str]:
    """Name the functions of the native frames that a report shows, innermost first."""
    frames = (frame for frame in native(finding) if not frame.get("internal"))
    return [str(frame["function"]).rpartition("::")[2] for frame in frames]


def own(finding: Finding, library: Path) -> list[str]:
    """Name the library's functions on the stack, innermost first, without their namespace."""
    return [
        str(frame["function"]).removeprefix("(anonymous namespace)::").removesuffix(".cold")
        for frame in native(finding)
        if frame["library"] == str(library)
    ]


def run_with(source: str, folder: Path, depth: str, **options: str) -> Run:
    return run_script(source, folder, scope=f"foreign:native_stacks={depth}", **options)


@pytest.mark.parametrize("build", BUILDS)
def test_every_function_between_the_allocation_and_python_is_named(
    build: str, tmp_path: Path
) -> None:
    library = compile_plain("deep.cpp", tmp_path, *BUILDS[build])
    run = run_with(script(library, *CASES), tmp_path, "boundary")
    assert run.status == 0, run.err
    for name, functions in CASES.items():
        leak = run.leaks[name]
        assert own(leak, library) == functions
        assert len(native(leak)) == len(functions), "nothing but the library's own"
        frames = leak["stacks"]["allocated"]
        assert [frame["language"] for frame in frames[len(functions) :]] == ["python"]


def test_off_keeps_the_immediate_caller_and_full_keeps_all(tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path)
    off = run_with(script(library, "nested"), tmp_path, "off").leaks["nested"]
    assert own(off, library) == ["allocate"]
    assert len(native(off)) == 1
    full = run_with(script(library, "nested"), tmp_path, "full").leaks["nested"]
    assert own(full, library) == CASES["nested"]
    frames = full["stacks"]["allocated"]
    languages = [frame["language"] for frame in frames]
    inner = len(CASES["nested"])
    assert languages[: inner + 1] == ["native"] * inner + ["python"]
    assert set(languages[inner + 1 :]) == {"native"}
    outer = {str(frame["function"]) for frame in frames[inner + 1 :]}
    assert {"_PyEval_EvalFrameDefault", "Py_RunMain"} <= outer


def test_a_library_in_the_place_of_another_has_its_own_frames(tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path)
    plugins = [
        compile_plain("plugin_a.cpp", tmp_path),
        compile_plain("plugin_b.cpp", tmp_path),
    ]
    paths = [os.fsencode(plugin) for plugin in plugins] * 3
    text = f"""
import ctypes
library = ctypes.CDLL({str(library)!r})
library.uses.restype = ctypes.c_void_p
library.uses.argtypes = [ctypes.c_char_p]
places = [library.uses(path) // 4096 for path in {paths!r}]
print(len(set(places)))
"""
    run = run_with(text, tmp_path, "boundary")
    assert run.out == "1\n", "the test is of use only where one takes the place of the other"
    names = [plugin.name for plugin in plugins]
    seen = [
        (leak["count"], [frame["function"] for frame in native(leak)])
        for leak in run.of_kind("leak")
        if native(leak)[0]["library"].rpartition("/")[2] in names
    ]
    assert sorted(seen) == [
        (3, ["deeper_in_a", "of_a", "run", "uses"]),
        (3, ["of_b", "run", "uses"]),
    ]


def test_text_hides_the_frames_of_those_who_carry_calls(tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path)
    run = run_with(script(library, "nested"), tmp_path, "full")
    text = reports.text_of(run.report)
    everything = reports.text_of(run.report, all_frames=True)
    for name in ("ffi_call", "_PyEval_EvalFrameDefault", "libheapledger"):
        assert name not in text
        assert name in everything
    assert text.count("native (anonymous namespace)::inner at ") == len(CASES["nested"]) - 2
    python, innermost = text.index("program.py:"), text.index("::allocate at ")
    assert python < innermost, "the C++ line stands under the Python line"


def test_a_program_without_python_has_its_stack_up_to_main(tmp_path: Path) -> None:
    source, program = SOURCES / "leaks_in_threads.cpp", tmp_path / "program"
    subprocess.run(["c++", "-g", "-O1", "-pthread", "-o", program, source], check=True)
    run = run_preloaded([str(program)], tmp_path, scope="process")
    stacks = {tuple(shown(leak)): leak["count"] for leak in run.of_kind("leak")}
    assert stacks == {("leak", "leak", "main"): 1, ("leak", "start"): 1}
    for leak in run.of_kind("leak"):
        internal = [frame for frame in native(leak) if frame.get("internal")]
        assert internal
        assert internal == native(leak)[-len(internal) :]
    assert "in leak" in run.of_kind("leak")[0]["message"]


def test_frames_of_a_thread_stand_before_the_line_that_started_it(tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path)
    leak = run_with(script(library, "on_thread"), tmp_path, "boundary").leaks["on_thread"]
    assert shown(leak) == ["allocate", "inner", "inner", "start"]
    assert [frame["language"] for frame in leak["stacks"]["allocated"]][-1] == "python"


@pytest.mark.parametrize("depth", ["boundary", "full"])
def test_many_stacks_on_four_threads_do_no_harm(depth: str, tmp_path: Path) -> None:
    plugin = compile_plain("plugin_a.cpp", tmp_path)
    program = tmp_path / "program"
    source = SOURCES / "many_stacks.cpp"
    subprocess.run(["c++", "-O1", "-pthread", "-o", program, source, "-ldl"], check=True)
    command = [str(program), str(plugin), "50000"]
    run = run_preloaded(command, tmp_path, scope=f"process:native_stacks={depth}")
    assert (run.status, run.out) == (0, "done\n"), run.err
    assert run.report["findings"] == []
    assert run.report["limits"]["native_stack_lost_count"] == 0
    assert run.report["stats"]["total_blocks"] >= 100_000


def test_a_saved_report_gets_names_from_the_files_of_another_root(tmp_path: Path) -> None:
    library = compile_plain("deep.cpp", tmp_path, "-O2", "-Wl,--build-id")
    root = tmp_path / "root"
    copy = root / library.relative_to("/")
    copy.parent.mkdir(parents=True)
    shutil.copy(library, copy)
    subprocess.run(["strip", library], check=True)
    run = run_with(script(library, "nested"), tmp_path, "boundary")
    assert own(run.leaks["nested"], library) == ["", "", "", "", "", "nested"]
    report = tmp_path / "report.json"

    def shown_under(folder: Path) -> str:
        command = [sys.executable, "-m", "heapledger", "report", str(report)]
        finished = subprocess.run(
            [*command, "--sysroot", str(folder)], capture_output=True, text=True, check=True
        )
        assert finished.stderr == "", "no bar where nobody looks"
        return finished.stdout

    text = shown_under(root)
    assert text.count("native (anonymous namespace)::inner at ") == len(CASES["nested"]) - 2
    assert f"native nested at {SOURCES / 'deep.cpp'}:" in text
    assert "inner" not in shown_under(tmp_path), "there is no such file"
    shutil.copy(compile_plain("plugin_a.cpp", tmp_path), copy)
    assert "inner" not in shown_under(root), "another file, by its build id"
