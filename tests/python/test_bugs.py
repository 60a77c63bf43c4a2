"""Each file of tests/bugs does one wrong thing; heapledger must find that and nothing else.

The first line of a file says what is expected: the kind, then facts as `name=value`, where `says`
is a part of the message. Comments `allocated`, `released` and `here` mark the lines which the
finding's stacks must name; a remark after a colon says what such a stack has not got. A file
`NAME_clean` is the same work done correctly: zero findings.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiling import ROOT, compile_shared

BUGS = sorted(path for path in (ROOT / "tests" / "bugs").iterdir() if path.suffix in (".c", ".cpp"))
RUNNER = Path(__file__).with_name("run_bug.py")
MARK = re.compile(r"// ((?:allocated|released|here)(?:, (?:released|here))*)(?:: (.+))?$")
NO_PYTHON = "no Python on this thread"
NO_LOCATION = "in function run"

Finding = dict[str, Any]


@pytest.mark.parametrize("source", BUGS, ids=lambda path: path.stem)
def test_bug(source: Path, tmp_path: Path) -> None:
    findings = run(compile_shared(source, tmp_path))
    kind, facts = expectation(source)
    if kind == "nothing":
        assert findings == []
        return
    assert [finding["kind"] for finding in findings] == [kind]
    (finding,) = findings
    check_facts(finding, facts)
    check_stacks(finding, source)


def test_every_bug_has_a_clean_twin_and_is_short() -> None:
    names = {path.stem for path in BUGS}
    bugs = {name for name in names if not name.endswith("_clean")}
    assert names - bugs == {f"{name}_clean" for name in bugs}
    for path in BUGS:
        assert path.read_text().count("\n") < 30, f"{path.name} does more than one thing"


def run(bug: Path) -> list[Finding]:
    """Run the bug in a process of its own, which must survive, and return its findings."""
    command = [sys.executable, str(RUNNER), str(bug)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    findings: list[Finding] = json.loads(finished.stdout)["findings"]
    return findings


def expectation(source: Path) -> tuple[str, dict[str, str]]:
    """Read the expected kind and facts from the first line of a bug."""
    first = source.read_text().splitlines()[0]
    assert first.startswith("// expect: "), f"{source.name} begins with: {first}"
    kind, *facts = shlex.split(first.removeprefix("// expect: "))
    return kind, dict(fact.split("=", 1) for fact in facts)


def check_facts(finding: Finding, facts: dict[str, str]) -> None:
    """Compare the message, the facts of the block and the counts."""
    for name, expected in facts.items():
        if name == "says":
            assert expected in finding["message"]
        else:
            place = finding["block"] if name in ("size", "offset") else finding
            assert place[name] == int(expected), f"{name}: {finding['message']}"


def check_stacks(finding: Finding, source: Path) -> None:
    """Compare every marked line with the stack it marks, and require the Python line above it."""
    for line, text in enumerate(source.read_text().splitlines(), start=1):
        mark = MARK.search(text)
        for name in mark[1].split(", ") if mark else []:
            assert mark is not None
            check_stack(finding["stacks"][name], source, line, mark[2])


def check_stack(frames: list[dict[str, Any]], source: Path, line: int, remark: str | None) -> None:
    """Compare one stack: the marked C line innermost, then the Python line that called it."""
    innermost = frames[0]
    assert innermost["language"] == "native"
    if remark == NO_LOCATION:
        assert innermost["function"] == "run"
    else:
        assert (Path(innermost["file"]).name, innermost["line"]) == (source.name, line)
        assert innermost["function"]
    python = [frame for frame in frames if frame["language"] == "python"]
    if remark == NO_PYTHON:
        assert python == []
        return
    called = (
        RUNNER.read_text().splitlines().index("    bug.run()  # the Python line of every stack")
    )
    found = [(Path(frame["file"]).name, frame["function"], frame["line"]) for frame in python[:1]]
    assert found == [(RUNNER.name, "main", called + 1)]
