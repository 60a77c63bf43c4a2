"""Run pytest, with the plugin, on small suites."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


class Suite:
    """A suite in a directory of its own, run by a pytest without plugins but those asked for."""

    def __init__(self, pytester: pytest.Pytester, scope: str) -> None:
        """Put the module `memory` there."""
        self.pytester = pytester
        self.scope = scope
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
        words = ["-p", "heapledger.pytest_plugin"]
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
