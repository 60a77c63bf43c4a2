"""Find the library, compile the C++ code of the tests, run programs in fresh interpreters."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCE = ROOT / "python"
BUILT = [ROOT / "target" / profile / "libheapledger.so" for profile in ("release", "debug")]


def _use_the_source_tree() -> None:
    """Take the library that was built here, unless heapledger is installed or one is named."""
    if "HEAPLEDGER_LIBRARY" not in os.environ:
        if importlib.util.find_spec("heapledger") is not None:
            return
        built = next((path for path in BUILT if path.exists()), None)
        if built is not None:
            os.environ["HEAPLEDGER_LIBRARY"] = str(built)
    sys.path.insert(0, str(SOURCE))
    paths = [str(SOURCE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


def _want_signals() -> None:
    """Take back what a shell or `nohup` had this process ignore: programs under test inherit it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


_use_the_source_tree()
_want_signals()

import heapledger  # noqa: E402 - after its place is known

# Every module now: what is first imported while pytester runs pytest in this process is taken out
# of `sys.modules` afterwards, and would be there twice.
for _name in heapledger.__all__:
    getattr(heapledger, _name)

# The tests of the pytest plugin run pytest; only this conftest may ask for plugins.
pytest_plugins = ["pytester"]


@dataclass(frozen=True)
class Program:
    """What a program in a fresh interpreter printed, and how it ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def shared_library_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile `native/shared.cpp`."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("native") / "libshared.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-g", "-o", str(path)]
    subprocess.run([*command, str(HERE / "native" / "shared.cpp")], check=True)
    return path


@pytest.fixture
def shared(shared_library_path: Path) -> ctypes.CDLL:
    """Open the compiled library anew: prototypes set by one test do not reach another."""
    library = ctypes.CDLL(str(shared_library_path))
    for name in ("get_shared_memory", "foo_open", "bar_open", "null_open", "allocate_with"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("free_shared_memory", "foo_close", "bar_close", "foo_value", "own_close"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.sum.restype = ctypes.c_double
    library.released.restype = ctypes.c_long
    return library


@pytest.fixture
def watched() -> Iterator[heapledger.Watch]:
    """Watch the test: its findings and leaks, not those of others."""
    with heapledger.watch() as watch:
        yield watch


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., Program]:
    """Run source text as a program in a fresh interpreter."""

    def run(source: str, *arguments: str, **environment: str) -> Program:
        script = tmp_path / "program.py"
        script.write_text(source, encoding="utf-8")
        finished = subprocess.run(
            [sys.executable, str(script), *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Program(finished.returncode, finished.stdout, finished.stderr)

    return run
