"""The suite of `tests/suite`: every bad function is found, every good one is silent.

Each source is compiled once as a program, whose functions run one in a process in scope `process`,
and once as a library, whose functions Python calls one after another in scope `foreign`. The bad
functions must end as if nothing were wrong. What touches memory that is nobody's in guarded blocks
only is run with the check `guard`, as a program.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from compiling import LANGUAGES, LIBRARY, ROOT

if TYPE_CHECKING:
    from pathlib import Path

SUITE = ROOT / "tests" / "suite"
GUARDED = SUITE / "guarded_writes.c"
SOURCES = sorted(path for path in SUITE.iterdir() if path.suffix != ".h" and path != GUARDED)
DIRECT = re.compile(r'^BAD\((\w+), "([^"]*)"\)', re.MULTILINE)
MACRO = re.compile(r'^#define (\w+)\(.*\n    BAD\(name, "([^"]*)"\)', re.MULTILINE)
FUNCTION = re.compile(r" T ((?:bad|good)_\w+)")
RUNS_AT_ONCE = os.cpu_count() or 1

# What the scope `foreign` cannot know: the block was made when the library was loaded, which is no
# foreign call. And what it cannot survive: the write goes on over memory of the interpreter's.
NOT_UNDER_PYTHON = {
    "bad_static_block_past_end",
    "bad_never_released_far",
    "bad_neighbour_overflows",
    "bad_over_three_blocks",
    "bad_shrunk_then_past",
    "bad_over_the_end_of_the_margin",
}
CALLER = """
import ctypes, json, sys, heapledger
library, names, result = ctypes.CDLL(sys.argv[1]), sys.argv[3:], {}
for name in names:
    function = getattr(library, name)
    function.restype = None
    with heapledger.watch() as watch:
        print(name, flush=True)
        function()
        heapledger.check()
    result[name] = sorted({finding.kind for finding in (*watch.findings, *watch.leaks)})
with open(sys.argv[2], "w") as file:
    json.dump(result, file)
"""


@dataclass(frozen=True)
class Case:
    """One function, and the kinds of finding that it must give."""

    name: str
    kinds: frozenset[str]
    """Whatever the checks."""
    guarded_kinds: frozenset[str]
    """Also with the check `guard`."""


@dataclass(frozen=True)
class Group:
    """The functions of one source, compiled."""

    program: Path
    library: Path
    cases: tuple[Case, ...]


NOT_ALWAYS_SURVIVED = {"bad_never_released_far"}
"""The rest of the heap is damaged: whether glibc meets the damage before we do, and aborts,
depends on the build of our library."""


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Group:
    """Compile one source in both ways."""
    source: Path = request.param
    return compiled(source, tmp_path_factory.mktemp(source.stem))


def compiled(source: Path, folder: Path) -> Group:
    """Compile one source in both ways, and read what is expected of its functions."""
    program, library = folder / source.stem, folder / f"{source.stem}.so"
    compiler, _ = LANGUAGES[source.suffix]
    command = [compiler, "-g", "-O0", "-w", "-pthread", str(source), "-o"]
    builds = [
        [*command, str(program), "-DSUITE_PROGRAM"],
        [*command, str(library), "-shared", "-fPIC"],
    ]
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        for finished in pool.map(lambda build: subprocess.run(build, check=True), builds):
            assert finished.returncode == 0
    return Group(program, library, cases_of(source, library))


def cases_of(source: Path, library: Path) -> tuple[Case, ...]:
    """Read what is expected of the functions that were compiled."""
    text = source.read_text()
    expected = dict(DIRECT.findall(text))
    for macro, kinds in MACRO.findall(text):
        for name in re.findall(rf"^{macro}\((\w+),", text, re.MULTILINE):
            expected[name] = kinds
    symbols = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True)
    names = FUNCTION.findall(symbols.stdout)
    bad = {name.removeprefix("bad_") for name in names if name.startswith("bad_")}
    good = {name.removeprefix("good_") for name in names if name.startswith("good_")}
    assert bad == set(expected), "the expectations are not those of the functions"
    assert bad <= good, "a bad function without a good twin"
    return tuple(case(name, expected) for name in names)


def case(name: str, expected: dict[str, str]) -> Case:
    """Make the case of one function."""
    stated = expected[name.removeprefix("bad_")].split() if name.startswith("bad_") else []
    always = frozenset(kind for kind in stated if not kind.startswith("guard:"))
    return Case(name, always, frozenset(kind.removeprefix("guard:") for kind in stated))


def test_as_a_program(group: Group, tmp_path: Path) -> None:
    def complaint(case: Case) -> str:
        return run_program(group, case, tmp_path, "", case.kinds)

    survived = [case for case in group.cases if case.name not in NOT_ALWAYS_SURVIVED]
    assert complaints(complaint, survived) == []


def test_as_a_guarded_program(group: Group, tmp_path: Path) -> None:
    def complaint(case: Case) -> str:
        return run_program(group, case, tmp_path, ":check=guard", case.guarded_kinds)

    reads = {
        name.removeprefix("bad_")
        for name, kinds, guarded in ((c.name, c.kinds, c.guarded_kinds) for c in group.cases)
        if kinds != guarded
    }
    chosen = [case for case in group.cases if case.name.split("_", 1)[1] in reads]
    assert complaints(complaint, chosen) == []


@pytest.mark.parametrize("name", sorted(NOT_ALWAYS_SURVIVED))
def test_what_a_program_may_not_survive_is_in_its_report(name: str, tmp_path: Path) -> None:
    group = compiled(SUITE / "overflow.c", tmp_path)
    (case,) = (case for case in group.cases if case.name == name)
    _, found = run_and_read(group, case, tmp_path, "")
    assert found == sorted(case.kinds)


@pytest.mark.parametrize("side", ["right", "left"])
def test_writes_beside_guarded_blocks(side: str, tmp_path: Path) -> None:
    group = compiled(GUARDED, tmp_path)

    def complaint(case: Case) -> str:
        return run_program(group, case, tmp_path, f":check=guard:guard={side}", case.kinds)

    assert complaints(complaint, group.cases) == []


def test_as_a_library_under_python(group: Group, tmp_path: Path) -> None:
    script, result = tmp_path / "caller.py", tmp_path / "result.json"
    script.write_text(CALLER)
    names = [case.name for case in group.cases if case.name not in NOT_UNDER_PYTHON]
    command = [sys.executable, "-m", "heapledger", "run", "--quiet", str(script)]
    finished = subprocess.run(
        [*command, str(group.library), str(result), *names],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, ""), finished.stdout
    found = json.loads(result.read_text())
    expected = {case.name: sorted(case.kinds) for case in group.cases if case.name in names}
    assert found == expected


def complaints(complaint, cases) -> list[str]:  # noqa: ANN001
    """Run cases a few at a time and return what is wrong with them."""
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        return [text for text in pool.map(complaint, cases) if text]


def run_program(
    group: Group, case: Case, folder: Path, options: str, expected: frozenset[str]
) -> str:
    """Run one function in a process of its own and return what is wrong, or nothing."""
    finished, found = run_and_read(group, case, folder, options)
    if finished.returncode or finished.stderr or f"ran {case.name}\n" not in finished.stdout:
        return f"{case.name}: status {finished.returncode}, {finished.stderr}"
    return "" if found == sorted(expected) else f"{case.name}: {found}, not {sorted(expected)}"


def run_and_read(
    group: Group, case: Case, folder: Path, options: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run one function in a process of its own and return how it ended, and the kinds found."""
    report = folder / f"{case.name}.json"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(LIBRARY),
        "HEAPLEDGER_OPTIONS": f"scope=process:json={report}{options}",
    }
    finished = subprocess.run(
        [str(group.program), case.name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    findings = json.loads(report.read_text())["findings"] if report.exists() else []
    return finished, sorted({finding["kind"] for finding in findings})
