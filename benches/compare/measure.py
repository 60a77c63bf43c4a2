"""One run of a program: its processor time, its memory, what it says of itself."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SAID = re.compile(r"^@(\w+) ([\d.]+)$", re.MULTILINE)
_ERROR_LINE_COUNT = 3
_SECONDS_MAX = 300


@dataclass(frozen=True)
class Run:
    """What one run cost. Processor time is that of the program and of all its children."""

    cpu_seconds: float
    peak_kib: int
    capture_bytes: int
    said: dict[str, float] = field(default_factory=dict)
    """What the program printed in lines `@name value`."""


@dataclass(frozen=True)
class Failure:
    """Why a run has no figures, in one line."""

    reason: str


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    captures: Path,
    launcher: Path,
) -> Run | Failure:
    """Run a program to its end. What it leaves in the folder `captures` is its capture."""
    captures.mkdir(parents=True, exist_ok=True)
    for left in captures.iterdir():
        left.unlink()
    with tempfile.TemporaryDirectory() as folder:
        used = Path(folder) / "used"
        try:
            finished = subprocess.run(
                [str(launcher), str(used), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Failure(f"not through after {_SECONDS_MAX} s")
        if finished.returncode != 0 or not used.exists():
            return Failure("the program could not be started")
        status, microseconds, peak_kib = (int(word) for word in used.read_text().split())
    if status != 0:
        lines = finished.stderr.decode(errors="replace").strip().splitlines()
        return Failure(f"status {status}: {' / '.join(lines[-_ERROR_LINE_COUNT:])}")
    text = finished.stdout.decode(errors="replace")
    return Run(
        cpu_seconds=microseconds / 1_000_000,
        peak_kib=peak_kib,
        capture_bytes=sum(path.stat().st_size for path in captures.iterdir()),
        said={name: float(value) for name, value in _SAID.findall(text)},
    )
