"""Run programs whose calls are intercepted, and read their reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiling import LANGUAGES, LIBRARY, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SOURCES = ROOT / "tests" / "intercept"
Finding = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """How a program ended and what its report says."""

    status: int
    out: str
    err: str
    report: dict[str, Any]

    def of_kind(self, kind: str) -> list[Finding]:
        """Return the findings of one kind."""
        return [finding for finding in self.report["findings"] if finding["kind"] == kind]

    @property
    def leaks(self) -> dict[str, Finding]:
        """Return leaks by the name of the foreign function."""
        return {
            finding["foreign_function"]["name"] if finding["foreign_function"] else "": finding
            for finding in self.of_kind("leak")
        }

    @property
    def errors(self) -> list[Finding]:
        """Return everything that is not a leak."""
        return [finding for finding in self.report["findings"] if finding["kind"] != "leak"]


def compile_plain(source: str, folder: Path, *options: str) -> Path:
    """Compile a source of `tests/intercept`, which knows nothing of heapledger, with options."""
    path = SOURCES / source
    compiler, standard = LANGUAGES[path.suffix]
    name = "_".join([path.stem, *(option.strip("-").replace(",", "_") for option in options)])
    target = folder / f"{name}.so"
    command = [compiler, standard, "-g", "-O1", "-pthread", "-shared", "-fPIC", *options]
    subprocess.run([*command, "-w", "-o", str(target), str(path)], check=True)
    return target


def run_preloaded(
    command: Sequence[str],
    folder: Path,
    *,
    scope: str = "foreign",
    calls: str = "auto",
    options: str = "",
) -> Run:
    """Run a program under LD_PRELOAD."""
    report = folder / "report.json"
    options = f"scope={scope}:foreign_calls={calls}:json={report}:{options}"
    environment = {**os.environ, "LD_PRELOAD": str(LIBRARY), "HEAPLEDGER_OPTIONS": options}
    return _run(command, environment, report)


def run_script(source: str, folder: Path, **options: str) -> Run:
    """Run source text in a fresh interpreter under LD_PRELOAD."""
    script = folder / "program.py"
    script.write_text(source, encoding="utf-8")
    return run_preloaded([sys.executable, str(script)], folder, **options)


def run_attached(source: str, folder: Path, *, scope: str = "foreign") -> Run:
    """Run source text in a fresh interpreter that starts heapledger itself.

    The libraries of the text are loaded before the session starts.
    """
    report = folder / "attached.json"
    script = folder / "attached.py"
    text = source.replace("# start\n", f"import heapledger\nheapledger.start(scope={scope!r})\n")
    assert text != source, "the text does not say where the session starts"
    ending = f"""
import pathlib
pathlib.Path({str(report)!r}).write_text(heapledger.report("json"))
"""
    script.write_text(text + ending, encoding="utf-8")
    return _run([sys.executable, str(script)], dict(os.environ), report)


def _run(command: Sequence[str], environment: dict[str, str], report: Path) -> Run:
    report.unlink(missing_ok=True)
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    content = json.loads(report.read_text()) if report.exists() else {"findings": []}
    return Run(finished.returncode, finished.stdout, finished.stderr, content)


def frames(finding: Finding, side: str) -> Iterator[tuple[str, int]]:
    """Yield function and line of the Python frames of one side, innermost first."""
    for frame in finding["stacks"][side]:
        if frame["language"] == "python":
            yield frame["function"], frame["line"]
