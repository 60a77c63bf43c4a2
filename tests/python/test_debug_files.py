"""Names for libraries whose debug information is elsewhere, and for code that is in no file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from intercepted import SOURCES, compile_plain, run_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALL = """
import ctypes
ctypes.CDLL({path!r}).{function}()
"""
FUNCTIONS = ["allocate", "inner", "inner", "inner", "inner", "nested"]


def frames(library: Path, folder: Path, function: str = "nested") -> list[dict[str, Any]]:
    """Return the library's frames of what a function leaks, innermost first."""
    run = run_script(CALL.format(path=str(library), function=function), folder)
    assert run.status == 0, run.err
    stack = run.leaks[function]["stacks"]["allocated"]
    return [frame for frame in stack if frame.get("library") == str(library)]


def assert_named(found: list[dict[str, Any]]) -> None:
    names = [str(frame["function"]).removeprefix("(anonymous namespace)::") for frame in found]
    assert names == FUNCTIONS
    assert {frame["file"] for frame in found} == {str(SOURCES / "deep.cpp")}
    assert all(frame["line"] > 0 for frame in found)


def assert_exported_names_only(found: list[dict[str, Any]]) -> None:
    assert [frame["function"] for frame in found] == ["", "", "", "", "", "nested"]
    assert all(frame["offset"] > 0 for frame in found)


def split(folder: Path) -> tuple[Path, Path, str]:
    """Return a stripped library, its debug file (beside it, unlinked), and its build id."""
    library = compile_plain("deep.cpp", folder, "-O2", "-Wl,--build-id")
    debug = folder / "somewhere" / "deep.debug"
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", library, debug], check=True)
    subprocess.run(["strip", library], check=True)
    notes = subprocess.run(["readelf", "-n", library], capture_output=True, text=True, check=True)
    found = re.search(r"Build ID: ([0-9a-f]+)", notes.stdout)
    assert found
    return library, debug, found[1]


def link(library: Path, debug: Path) -> None:
    """Name the debug file in the library; the name has no folder."""
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", library], check=True)


@pytest.mark.parametrize("place", [".", ".debug"])
def test_a_debug_file_is_found_by_its_link(place: str, tmp_path: Path) -> None:
    library, debug, _ = split(tmp_path)
    assert_exported_names_only(frames(library, tmp_path))
    link(library, debug)
    assert_exported_names_only(frames(library, tmp_path))
    (tmp_path / place).mkdir(exist_ok=True)
    shutil.copy(debug, tmp_path / place)
    assert_named(frames(library, tmp_path))


def test_a_debug_file_of_another_build_is_not_asked(tmp_path: Path) -> None:
    library, debug, _ = split(tmp_path)
    link(library, debug)
    content = bytearray(debug.read_bytes())
    content[-1] ^= 1
    (tmp_path / debug.name).write_bytes(content)
    assert_exported_names_only(frames(library, tmp_path))


@pytest.mark.parametrize(
    "variables",
    [
        lambda cache: {"DEBUGINFOD_CACHE_PATH": str(cache)},
        lambda cache: {"XDG_CACHE_HOME": str(cache.parent)},
        lambda cache: {"HOME": str(cache.parent.parent)},
    ],
    ids=["named", "cache", "home"],
)
def test_what_debuginfod_fetched_before_is_used(
    variables: Callable[[Path], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, debug, build_id = split(tmp_path)
    cache = tmp_path / "home" / ".cache" / "debuginfod_client"
    (cache / build_id).mkdir(parents=True)
    shutil.copy(debug, cache / build_id / "debuginfo")
    for name in ("DEBUGINFOD_CACHE_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables(cache).items():
        monkeypatch.setenv(name, value)
    assert_named(frames(library, tmp_path))


def test_a_root_may_hold_the_debug_file_by_its_build_id(tmp_path: Path) -> None:
    library, debug, build_id = split(tmp_path)
    assert_exported_names_only(frames(library, tmp_path))
    root = tmp_path / "root"
    place = root / "usr" / "lib" / "debug" / ".build-id" / build_id[:2]
    place.mkdir(parents=True)
    shutil.copy(debug, place / f"{build_id[2:]}.debug")
    copy = root / library.relative_to("/")
    copy.parent.mkdir(parents=True)
    shutil.copy(library, copy)
    command = [sys.executable, "-m", "heapledger", "report", str(tmp_path / "report.json")]
    shown = subprocess.run(
        [*command, "--sysroot", str(root)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.count("native (anonymous namespace)::inner at ") == len(FUNCTIONS) - 2


@pytest.mark.skipif(not shutil.which("dwz"), reason="dwz is not installed")
def test_debug_files_may_share_what_they_have_in_common(tmp_path: Path) -> None:
    """As Debian and Fedora pack them: `.gnu_debugaltlink`."""
    library, debug, _ = split(tmp_path)
    link(library, debug)
    other = tmp_path / "other.debug"
    for place in (tmp_path / debug.name, other):
        shutil.copy(debug, place)
    files = [tmp_path / debug.name, other]
    common = tmp_path / "common.debug"
    subprocess.run(["dwz", "-m", common, *files], check=True, cwd=tmp_path)
    sections = subprocess.run(
        ["readelf", "-SW", files[0]], capture_output=True, text=True, check=True
    ).stdout
    assert ".gnu_debugaltlink" in sections
    # The link holds a checksum of the file as it is now.
    subprocess.run(["objcopy", "--remove-section=.gnu_debuglink", library], check=True)
    link(library, files[0])
    assert_named(frames(library, tmp_path))


def test_the_vdso_is_in_no_file_and_has_names(tmp_path: Path) -> None:
    library = compile_plain("in_vdso.c", tmp_path)
    source = CALL.format(path=str(library), function="interrupt_the_clock")
    run = run_script(source, tmp_path)
    assert run.status == 0, run.err
    leaks = [leak for leak in run.of_kind("leak") if leak["foreign_function"]]
    assert sum(leak["blocks"] for leak in leaks) == 40
    stacks = [leak["stacks"]["allocated"] for leak in leaks]
    libraries = {os.path.basename(str(frame.get("library"))) for stack in stacks for frame in stack}
    if not any(library.startswith("linux-vdso") for library in libraries):
        pytest.skip("no signal came while the vdso was executing")
    named = {
        str(frame["function"])
        for stack in stacks
        for frame in stack
        if str(frame.get("library")).startswith("linux-vdso")
    }
    assert named <= {"clock_gettime", "__vdso_clock_gettime"}
    ends = {stack[-2]["function"] for stack in stacks if len(stack) > 1}
    assert ends == {"interrupt_the_clock"}, "unwinding goes on through the vdso"
