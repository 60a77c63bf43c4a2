"""The command line in a process of its own, as people use it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import heapledger
from heapledger.cli import asked, files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

EXPLICIT = ("--scope", "explicit")

CLEAN = """
import sys, heapledger
print("arguments", sys.argv[1:])
print("name", __name__)
print("input", sys.stdin.read())
print("complaint", file=sys.stderr)
with heapledger.allocate(8):
    pass
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""

ERRING = """
import heapledger
def close(block):
    block.free()
block = heapledger.allocate(48)
close(block)
block.free()
print("the last line")
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `python -m heapledger` in an empty directory."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **options.pop("environment", {})}
        return subprocess.run(
            [sys.executable, "-m", "heapledger", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
            env=environment,
            **options,
        )

    return run


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Write a program without errors; its first argument is its exit status."""
    path = tmp_path / "clean.py"
    path.write_text(CLEAN, encoding="utf-8")
    return path


@pytest.fixture
def erring(tmp_path: Path) -> Path:
    """Write a program that frees a block twice."""
    path = tmp_path / "erring.py"
    path.write_text(ERRING, encoding="utf-8")
    return path


def test_run_leaves_streams_arguments_and_status_alone(cli: Cli, clean: Path) -> None:
    ran = cli("run", *EXPLICIT, clean, "3", "--json", "-x", input="typed")
    assert ran.returncode == 3
    assert ran.stdout == ("arguments ['3', '--json', '-x']\nname __main__\ninput typed\n")
    complaint, _, report = ran.stderr.partition("\n")
    assert complaint == "complaint"
    assert "no findings" in report


def test_run_prints_the_report_after_the_programs_end(cli: Cli, erring: Path) -> None:
    ran = cli("run", *EXPLICIT, erring)
    assert ran.returncode == 0
    assert ran.stdout == "the last line\n"
    assert "double free of a 48-byte block" in ran.stderr
    for line in (5, 4, 7):
        assert f"erring.py:{line}" in ran.stderr


def test_run_quietly_prints_nothing(cli: Cli, erring: Path) -> None:
    ran = cli("run", *EXPLICIT, "--quiet", erring)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_run_of_a_module(cli: Cli, clean: Path) -> None:
    ran = cli(
        "run",
        *EXPLICIT,
        "-m",
        "clean",
        "0",
        "-m",
        "x",
        environment={
            "PYTHONPATH": (f"{clean.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        },
        input="",
    )
    assert ran.returncode == 0
    assert "arguments ['0', '-m', 'x']" in ran.stdout
    assert "name __main__" in ran.stdout


def test_run_of_standard_input(cli: Cli) -> None:
    ran = cli("run", *EXPLICIT, "-", input="print('from stdin')")
    assert (ran.returncode, ran.stdout) == (0, "from stdin\n")


def test_an_uncaught_exception_is_the_programs_own(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("1 / 0", encoding="utf-8")
    ran = cli("run", *EXPLICIT, "failing.py")
    assert ran.returncode == 1
    assert "ZeroDivisionError" in ran.stderr
    assert "heapledger" in ran.stderr


@pytest.mark.parametrize(("program", "expected"), [("erring", 42), ("clean", 0)])
def test_error_exitcode_replaces_the_status_when_there_are_findings(
    cli: Cli, request: pytest.FixtureRequest, program: str, expected: int
) -> None:
    path = request.getfixturevalue(program)
    ran = cli("run", *EXPLICIT, "--error-exitcode", "42", path, input="")
    assert ran.returncode == expected


def test_json_is_the_report_of_the_contract(cli: Cli, erring: Path, tmp_path: Path) -> None:
    ran = cli("run", *EXPLICIT, "--json", "out.json", "--quiet", erring)
    assert (ran.returncode, ran.stderr) == (0, "")
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (report["schema"], report["version"]) == ("heapledger.report", 1)
    assert report["options"]["scope"] == "explicit"
    assert report["process"]["argv"][-1] == str(erring)
    (found,) = report["findings"]
    finding = heapledger.Finding.from_dict(found)
    assert finding.kind == "double-free"
    assert [finding.stacks[event][0].line for event in ("allocated", "released", "here")] == [
        5,
        4,
        7,
    ]
    assert finding.to_dict().keys() <= found.keys()


def test_report_prints_a_saved_report(cli: Cli, erring: Path) -> None:
    direct = cli("run", *EXPLICIT, "--json", "out.json", erring)
    saved = cli("report", "out.json")
    assert (saved.returncode, saved.stdout) == (0, direct.stderr)
    again = cli("report", "out.json", "--format", "json")
    assert [found["kind"] for found in json.loads(again.stdout)["findings"]] == ["double-free"]


def test_suppressed_findings_do_not_count(cli: Cli, erring: Path, tmp_path: Path) -> None:
    (tmp_path / "known.supp").write_text(
        "double-free:*erring.py:*\nleak:unused\n", encoding="utf-8"
    )
    ran = cli(
        "run", *EXPLICIT, "--suppressions", "known.supp", "--error-exitcode", "42",
        "--json", "out.json", erring,
    )  # fmt: skip
    assert ran.returncode == 0
    assert "double free of a 48-byte" not in ran.stderr
    assert "leak:unused" in ran.stderr
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [found["suppressed"] for found in report["findings"]] == [True]
    whole = cli("report", "out.json", "--suppressions", "known.supp", "--format", "json")
    assert [found["suppressed"] for found in json.loads(whole.stdout)["findings"]] == [True]


def test_child_processes_are_in_the_report(cli: Cli, erring: Path, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, os, multiprocessing, heapledger\n"
        f"subprocess.run([sys.executable, {str(erring)!r}], check=True)\n"
        "def in_child():\n"
        "    heapledger.free(0x10)\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn'):\n"
        "        context = multiprocessing.get_context(method)\n"
        "        process = context.Process(target=in_child)\n"
        "        process.start()\n"
        "        process.join()\n"
        "    subprocess.run([sys.executable, '-c', 'pass'], check=True)\n",
        encoding="utf-8",
    )
    ran = cli("run", *EXPLICIT, "--json", "out.json", "--error-exitcode", "9", "parent.py")
    assert ran.returncode == 9
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    kinds = [[found["kind"] for found in child["findings"]] for child in report["children"]]
    assert ["double-free"] in kinds
    assert ["invalid-free"] in kinds
    assert report["findings"] == []
    assert "Child process" in ran.stderr
    assert "erring.py:7" in ran.stderr
    printed = cli("report", "out.json")
    assert printed.stdout == ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "name a SCRIPT"),
        (["run", "-m"], "-m needs the name of a module"),
        (["run", "--scope", "all", "x.py"], "invalid choice: 'all'"),
        (["run", "--check", "quarantines", "x.py"], "unknown check 'quarantines'"),
        (["run", "--native-stacks", "some", "x.py"], "invalid choice: 'some'"),
        (["run", "--error-exitcode", "256", "x.py"], "no number from 0 to 255"),
        (["run", "--error-exitcode", "-1", "x.py"], "no number from 0 to 255"),
        (["run", "--bogus", "x.py"], "unrecognized arguments: --bogus"),
        (["run", "missing.py"], "there is no script missing.py"),
        (["run", "--json", "no/such/out.json", "clean.py"], "there is no such directory"),
        (["run", "--json", ".", "clean.py"], "it is a directory"),
        (["run", "--suppressions", "missing.supp", "clean.py"], "missing.supp does not exist"),
        (["report", "missing.json"], "missing.json"),
        (["report", "clean.py"], "clean.py is no report of heapledger"),
        (["report", "other.json"], "its schema is not"),
        ([], "required"),
        (["walk"], "invalid choice"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    cli: Cli, clean: Path, words: list[str], said: str
) -> None:
    (clean.parent / "other.json").write_text('{"schema": "other"}', encoding="utf-8")
    ran = cli(*words, input="")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("options", [{"scope": "foreign"}, {"checks": ("guard",)}], ids=str)
def test_what_the_library_cannot_do_is_told_before_the_run(
    cli: Cli, clean: Path, options: dict[str, Any]
) -> None:
    try:
        heapledger.start(**{"scope": "explicit", **options})
    except (heapledger.UnsupportedError, heapledger.UsageError) as error:
        sentence = str(error)
    else:
        heapledger.stop()
        pytest.skip("the library can do it")
    words = ["--scope", options.get("scope", "explicit")]
    words += ["--check", ",".join(options.get("checks", ()))]
    ran = cli("run", *words, clean, input="")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert sentence in ran.stderr


def test_a_bad_suppressions_file_is_told_before_the_run(
    cli: Cli, clean: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.supp").write_text("this is no rule\n", encoding="utf-8")
    ran = cli("run", *EXPLICIT, "--suppressions", "bad.supp", clean, input="")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "bad.supp" in ran.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_directory_is_told_before_the_run(cli: Cli, clean: Path) -> None:
    clean.parent.chmod(0o500)
    try:
        ran = cli("run", "--json", "out.json", clean)
    finally:
        clean.parent.chmod(0o700)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "not writable" in ran.stderr


def test_a_report_that_cannot_be_written_does_not_lose_the_run(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "removing.py").write_text(
        "import os\nos.rmdir('place')\nprint('ran')\nraise SystemExit(5)\n", encoding="utf-8"
    )
    (tmp_path / "place").mkdir()
    ran = cli("run", *EXPLICIT, "--json", "place/out.json", "removing.py")
    assert (ran.returncode, ran.stdout) == (5, "ran\n")
    assert "the report could not be written" in ran.stderr
    assert "no findings" in ran.stderr


def test_json_may_go_to_a_device(cli: Cli, erring: Path) -> None:
    ran = cli("run", *EXPLICIT, "--quiet", "--json", "/dev/stdout", erring)
    assert ran.returncode == 0
    first, _, rest = ran.stdout.partition("\n")
    assert first == "the last line"
    assert json.loads(rest)["schema"] == "heapledger.report"


def test_reports_of_a_run_are_private_and_removed(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "odd: place"
    place.mkdir()
    (tmp_path / "looking.py").write_text(
        "import os\n"
        "(name,) = os.listdir(os.environ['TMPDIR'])\n"
        "print(oct(os.stat(os.path.join(os.environ['TMPDIR'], name)).st_mode & 0o777))\n",
        encoding="utf-8",
    )
    ran = cli("run", *EXPLICIT, "looking.py", environment={"TMPDIR": str(place)})
    assert ran.stdout == "0o700\n"
    assert "no findings" in ran.stderr
    assert list(place.iterdir()) == []


def test_written_files_are_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old", encoding="utf-8")
    files.write_whole(target, "new")
    assert target.read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert stat.S_ISREG(target.stat().st_mode)


@pytest.mark.parametrize(
    ("words", "own", "program"),
    [
        (["x.py", "--json", "y"], [], ["x.py", "--json", "y"]),
        (["--json", "a", "x.py", "-q"], ["--json", "a"], ["x.py", "-q"]),
        (["--json=a", "-q", "x.py"], ["--json=a", "-q"], ["x.py"]),
        (["-q", "-m", "m", "--help"], ["-q"], ["-m", "m", "--help"]),
        (["--", "-odd.py", "1"], [], ["-odd.py", "1"]),
        (["-", "1"], [], ["-", "1"]),
        (["--scope"], ["--scope"], []),
        ([], [], []),
    ],
)
def test_where_the_program_begins(words: list[str], own: list[str], program: list[str]) -> None:
    assert asked.split_at_program(words) == (own, program)


def test_doctor_says_what_works(cli: Cli) -> None:
    ran = cli("doctor")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "records explicit allocations" in ran.stdout
    assert "read by the library" in ran.stdout
    answers = dict(line.split(":", 1) for line in ran.stdout.splitlines())
    assert re.search(r" \d\d+ slots in \d+ loaded objects", answers["interception"])
    assert re.search(r"malloc \([1-9]\d*\)", answers["  allocates"])
    assert re.search(r"free \([1-9]\d*\)", answers["  releases"])
    assert "seen through" in answers["foreign calls"]
    assert "libheapledger" in answers["  never touched"]
    assert "  trouble" not in answers
    supplied = cli("doctor", environment={"HEAPLEDGER_OPTIONS": "python_frames=supplied"})
    assert "told by Python, slower: HEAPLEDGER_OPTIONS asks for it" in supplied.stdout


def test_help_and_version(cli: Cli) -> None:
    assert cli("--version").stdout == f"heapledger {heapledger.__version__}\n"
    for words in (["--help"], ["run", "--help"], ["report", "--help"], ["doctor", "--help"]):
        ran = cli(*words)
        assert ran.returncode == 0
        assert "usage: heapledger" in ran.stdout
    text = cli("run", "--help").stdout
    for option in ("--scope", "--check", "--json", "--suppressions", "--error-exitcode"):
        assert option in text
    assert "-m MODULE" in text
