"""Compile `libcpp.cpp` with the system's C++ compiler and load it, as the founding case does."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"


def load() -> ctypes.CDLL:
    """Load the C++ library, compiling it first when it is missing or older than its source."""
    library = ctypes.CDLL(str(compiled(HERE / "libcpp.cpp", "libcpp.so", "-shared", "-fPIC")))
    library.get_shared_memory.restype = ctypes.c_void_p
    library.get_shared_memory.argtypes = [ctypes.c_size_t]
    library.free_shared_memory.restype = None
    library.free_shared_memory.argtypes = [ctypes.c_void_p]
    library.fill_shared_memory.restype = None
    library.fill_shared_memory.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double]
    return library


def compiled(source: Path, name: str, *options: str) -> Path:
    """Compile `source` into the build folder unless that was done already; return the file."""
    target = BUILD / name
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    BUILD.mkdir(exist_ok=True)
    # Under a name of its own first: another program may be starting at this moment.
    temporary = target.with_name(f"{name}.{os.getpid()}")
    command = [compiler(source), "-g", "-O1", str(source), "-o", str(temporary), *options]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"{source.name} could not be compiled; the compiler's message is above.")
    temporary.replace(target)
    return target


def compiler(source: Path) -> str:
    """Return the system's compiler for the language of `source`, or end with advice."""
    names = ("cc", "gcc", "clang") if source.suffix == ".c" else ("c++", "g++", "clang++")
    for name in names:
        if shutil.which(name):
            return name
    sys.exit(
        "The examples need a C++ compiler, and none was found on PATH (tried "
        + ", ".join(names)
        + ").\nInstall one, for example with: apt-get install g++"
    )
