"""Run pytest, with the plugin, on small suites."""

from __future__ import annotations

import gc
import importlib.util
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercepted import compile_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = """
import heapledger

forgotten = []

def forget(size=10, times=1):
    for _ in range(times):
        forgotten.append(heapledger.allocate(size))

def free_twice():
    block = heapledger.allocate(48)
    block.free()
    block.free()
"""
"""What the suites misuse memory with, in scope explicit: the module `memory`."""

BINDING = """
import ctypes

lib = ctypes.CDLL({path!r})
for name in ("make_block", "make_array", "greeting", "the_context", "make_line", "open_parser"):
    getattr(lib, name).restype = ctypes.c_void_p
lib.make_block.argtypes = lib.make_array.argtypes = [ctypes.c_size_t]
for name in ("drop_block", "drop_array"):
    getattr(lib, name).argtypes = [ctypes.c_void_p]
lib.open_block.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t]
lib.describe_parser.argtypes = lib.close_parser.argtypes = [ctypes.c_void_p]
lib.describe_parser.restype = ctypes.c_char_p
lib.write_past.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
Callback = ctypes.CFUNCTYPE(None)

libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
"""
"""What the suites call in scope foreign: the module `binding`, as a package would write it."""


class Suite:
    """A suite in a directory of its own, run by a pytest without plugins but those asked for."""

    def __init__(self, pytester: pytest.Pytester, scope: str) -> None:
        """Put the module `memory` there."""
        self.pytester = pytester
        self.scope = scope
        self.door = "heapledger.pytest_plugin"
        pytester.makepyfile(memory=MEMORY)

    @property
    def path(self) -> Path:
        """The directory."""
        return self.pytester.path

    def write(self, source: str, name: str = "test_suite.py") -> Path:
        """Write a file of the suite; the lines may be indented."""
        path = self.path / name
        path.write_text(unindented(source), encoding="utf-8")
        return path

    def run(self, *arguments: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        """Run the suite within this process."""
        return self.pytester.runpytest_inprocess(*self._arguments(arguments, plugins))

    def run_apart(self, *arguments: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        """Run the suite in a process of its own."""
        words = self._arguments(arguments, plugins)
        return self.pytester.runpytest_subprocess(*words, timeout=120)

    def run_json(
        self, *arguments: str, plugins: tuple[str, ...] = (), apart: bool = False
    ) -> dict[str, Any]:
        """Run the suite and return the session's report."""
        run = self.run_apart if apart else self.run
        run("--heapledger-json", "session.json", *arguments, plugins=plugins)
        report: dict[str, Any] = json.loads((self.path / "session.json").read_text())
        return report

    def _arguments(self, arguments: tuple[str, ...], plugins: tuple[str, ...]) -> list[str]:
        words = ["-p", self.door]
        for plugin in plugins:
            words += ["-p", plugin]
        if "--no-heapledger" not in arguments:
            words += ["--heapledger"]
        if self.scope and not any(word.startswith("--heapledger-scope") for word in arguments):
            words += ["--heapledger-scope", self.scope]
        return [*words, *arguments]


def unindented(source: str) -> str:
    """Return a text without the indentation that its lines share."""
    return textwrap.dedent(source).lstrip("\n")


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Collect what the suites of a module left in this process: no later test sees it go."""
    yield
    gc.collect()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep plugins that happen to be installed, and CI's variables, out of the runs."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("PYTEST_ADDOPTS", "GITHUB_ACTIONS", "CI", "HEAPLEDGER_OPTIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def suite(pytester: pytest.Pytester, alone: None) -> Suite:
    """Return a suite in scope explicit."""
    return Suite(pytester, "explicit")


@pytest.fixture
def needs() -> Callable[[str], str]:
    """Return a function that skips the test where a plugin is not installed."""

    def plugin_named(module: str) -> str:
        if importlib.util.find_spec(module.split(".")[0]) is None:
            pytest.skip(f"{module} is not installed")
        return module

    return plugin_named


@pytest.fixture(scope="session")
def misuse_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library `native/misuse.cpp`."""
    source = Path(__file__).parent / "native" / "misuse.cpp"
    return compile_plain(str(source), tmp_path_factory.mktemp("misuse"))


@pytest.fixture
def foreign(pytester: pytest.Pytester, alone: None, misuse_path: Path) -> Suite:
    """Return a suite in the default scope, with the module `binding`; run it apart."""
    suite = Suite(pytester, "")
    suite.write(BINDING.format(path=str(misuse_path)), "binding.py")
    return suite
