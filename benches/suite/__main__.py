"""Run a suite with and without heapledger in turns, and compare processor time.

    python benches/suite [--rounds N] [--directory DIR] [PYTEST ARGUMENTS...]

Runs pytest of this interpreter in DIR. Processor time, user and system, of the process and its
children; the median of each side, the least, and their ratios. With no arguments, a suite of 300
trivial tests is made for it: that is what beginning costs, and the least that a test can.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TRIVIAL = """
import pytest

@pytest.mark.parametrize("number", range(300))
def test_adds(number):
    assert number + number == 2 * number
"""

WITHOUT, WITH = "--no-heapledger", "--heapledger"


class Run(NamedTuple):
    """One run: seconds of processor time, and pytest's last line."""

    seconds: float
    outcome: str


def run(directory: Path, arguments: list[str]) -> Run:
    """Run pytest there and measure it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = ran.stdout.strip().splitlines()
    return Run(seconds, lines[-1] if lines else ran.stderr.strip())


def compare(directory: Path, arguments: list[str], rounds: int) -> str:
    """Measure both sides in turns and say how they compare."""
    runs: dict[str, list[Run]] = {WITHOUT: [], WITH: []}
    # The first run of each side writes bytecode.
    for number in range(rounds + 1):
        for side in runs:
            one = run(directory, [*arguments, side])
            if number:
                runs[side].append(one)
    lines = [f"{'':16} {'median':>8} {'least':>8}"]
    middle = {side: statistics.median(r.seconds for r in runs[side]) for side in runs}
    least = {side: min(r.seconds for r in runs[side]) for side in runs}
    lines += [f"{side:16} {middle[side]:7.3f}s {least[side]:7.3f}s" for side in runs]
    ratios = (of[WITH] / of[WITHOUT] for of in (middle, least))
    lines.append(f"{'ratio':16} {next(ratios):8.3f} {next(ratios):8.3f}")
    lines += [f"{side}: {runs[side][-1].outcome}" for side in runs]
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, and print what was measured."""
    parser = argparse.ArgumentParser(prog="benches/suite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path)
    options, arguments = parser.parse_known_args()
    if options.directory is not None:
        sys.stdout.write(compare(options.directory, arguments, options.rounds) + "\n")
        return
    with tempfile.TemporaryDirectory() as made:
        Path(made, "test_trivial.py").write_text(TRIVIAL)
        sys.stdout.write(compare(Path(made), arguments, options.rounds) + "\n")


if __name__ == "__main__":
    main()
