"""Finding the library, and what an import does and does not do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import heapledger
from heapledger._native import interface, library
from heapledger._native.prototypes import ABI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

CARGO = Path(__file__).parent.parent.parent / "Cargo.toml"

IMPORT = "import heapledger; print('imported')"


def compiled(source: str, path: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path.with_suffix(".c").write_text(source, encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(path.with_suffix(".c"))]
    subprocess.run(command, check=True)
    return path


def test_a_missing_library_says_where_it_should_be_and_what_to_do(
    run_python: Callable[..., Program],
) -> None:
    ran = run_python(IMPORT, HEAPLEDGER_LIBRARY="/nowhere/libheapledger.so")
    assert ran.status == 1
    last = ran.err.splitlines()[-1]
    assert last.startswith("heapledger.errors.LibraryNotFoundError: ")
    for part in ("/nowhere/libheapledger.so", "HEAPLEDGER_LIBRARY", "pip install", "cargo build"):
        assert part in last


def test_a_file_that_is_no_library_is_refused(
    run_python: Callable[..., Program], tmp_path: Path
) -> None:
    damaged = tmp_path / "libheapledger.so"
    damaged.write_bytes(b"not a library")
    ran = run_python(IMPORT, HEAPLEDGER_LIBRARY=str(damaged))
    assert "LibraryNotFoundError" in ran.err
    assert "cannot be loaded" in ran.err


def test_another_library_is_refused(run_python: Callable[..., Program], tmp_path: Path) -> None:
    other = compiled("int nothing;", tmp_path / "libother.so")
    ran = run_python(IMPORT, HEAPLEDGER_LIBRARY=str(other))
    assert "AbiMismatchError" in ran.err
    assert "is not heapledger's library" in ran.err


def test_a_library_of_another_version_is_refused_and_both_are_named(
    run_python: Callable[..., Program], tmp_path: Path
) -> None:
    source = "unsigned hl_abi_version(void) { return 77; }"
    other = compiled(source, tmp_path / "libheapledger.so")
    ran = run_python(IMPORT, HEAPLEDGER_LIBRARY=str(other))
    last = ran.err.splitlines()[-1]
    assert last.startswith("heapledger.errors.AbiMismatchError: ")
    assert "version 77" in last
    assert f"speaks version {ABI_VERSION}" in last


def test_a_library_that_lacks_a_function_is_refused(
    run_python: Callable[..., Program], tmp_path: Path
) -> None:
    source = f"unsigned hl_abi_version(void) {{ return {ABI_VERSION}; }}"
    other = compiled(source, tmp_path / "libheapledger.so")
    ran = run_python(IMPORT, HEAPLEDGER_LIBRARY=str(other))
    assert "AbiMismatchError" in ran.err
    assert "has no function hl_" in ran.err


def test_the_override_wins_over_the_file_beside_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEAPLEDGER_LIBRARY", "elsewhere/lib.so")
    assert library.file_path() == Path.cwd() / "elsewhere" / "lib.so"
    monkeypatch.delenv("HEAPLEDGER_LIBRARY")
    assert library.file_path() == Path(library.__file__).parent / "libheapledger.so"


def test_a_library_that_is_in_the_process_is_the_one_that_is_used(
    run_python: Callable[..., Program],
) -> None:
    path = interface.library_path()
    ran = run_python(
        "import heapledger\n"
        "from heapledger._native import interface\n"
        "print(interface.library_path())\n"
        "heapledger.allocate(8).free()\n"
        "print(heapledger.stats().total_blocks)\n",
        LD_PRELOAD=str(path),
        HEAPLEDGER_LIBRARY="/nowhere/libheapledger.so",
    )
    assert ran.err == ""
    assert ran.out.splitlines() == [os.path.realpath(str(path)), "1"]


def test_the_import_installs_and_starts_nothing(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import sys, threading, signal\n"
        "handlers = [signal.getsignal(n) for n in range(1, 65)]\n"
        "import heapledger\n"
        "from heapledger import origins\n"
        "assert origins._connection.reader is None\n"
        "assert threading.active_count() == 1\n"
        "assert sys.getprofile() is None and sys.gettrace() is None\n"
        "assert [signal.getsignal(n) for n in range(1, 65)] == handlers\n"
        "assert heapledger.stats().total_blocks == 0\n"
        "for name in ('numpy', 'rich', 'argparse', 'subprocess', 'asyncio'):\n"
        "    assert name not in sys.modules, name\n"
    )
    assert (ran.status, ran.err) == (0, "")


def test_ctypes_is_imported_by_one_package_and_numpy_by_one_module() -> None:
    package = Path(heapledger.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        outside_checks = text.split("if TYPE_CHECKING:")[0]
        if path.parent.name != "_native":
            assert "import ctypes" not in outside_checks, path
            assert "from ctypes" not in outside_checks, path
        if path.name != "arrays.py":
            assert "\n    import numpy\n" not in text, path


def test_the_version_is_the_crates() -> None:
    if not CARGO.exists():
        pytest.skip("heapledger is tested outside its source tree")
    assert f'version = "{heapledger.__version__}"' in CARGO.read_text(encoding="utf-8")


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in heapledger.__all__:
        assert getattr(heapledger, name) is not None
        if not name.startswith("__"):
            assert getattr(heapledger, name).__doc__, name
    assert (Path(heapledger.__file__).parent / "py.typed").exists()
    assert heapledger.__doc__
