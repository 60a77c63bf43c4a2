"""Compile C and C++ sources against the library under test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from heapledger._native.library import file_path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = file_path()
LANGUAGES = {".c": ("cc", "-std=gnu11"), ".cpp": ("c++", "-std=c++17")}


def compile_shared(source: Path, folder: Path) -> Path:
    """Compile one source into a shared object in `folder` and return its path."""
    return _compile(source, folder / f"{source.stem}.so", "-shared", "-fPIC")


def compile_program(source: Path, folder: Path) -> Path:
    """Compile one source into a program in `folder` that finds the library where it is."""
    return _compile(source, folder / source.stem, f"-Wl,-rpath,{LIBRARY.parent}")


def _compile(source: Path, target: Path, *options: str) -> Path:
    compiler, standard = LANGUAGES[source.suffix]
    assert shutil.which(compiler), f"no {compiler} on PATH: install a C++ compiler, such as g++"
    warnings = ("-Wall", "-Wextra", "-Wno-unused-but-set-variable")
    places = ("-I", str(ROOT / "include"), "-o", str(target), str(source), str(LIBRARY))
    command = [compiler, standard, "-g", "-pthread", *warnings, *options, *places]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr, f"warnings in {source.name}:\n{finished.stderr}"
    return target
