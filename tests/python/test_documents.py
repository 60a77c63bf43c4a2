"""What the documents say is tried: the README's example and commands, the files they name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compiling import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text()


def test_the_example_in_the_readme_prints_what_the_readme_shows(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text(block("python"))
    compiler = [*["c++", "-g", "-O1", "-shared", "-fPIC", "-o"], str(tmp_path / "libcpp.so")]
    subprocess.run([*compiler, str(ROOT / "examples" / "libcpp.cpp")], check=True)
    finished = subprocess.run(
        [sys.executable, "-m", "heapledger", "run", program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stdout == "still running\n"
    assert what_stays(finished.stderr) == what_stays(block("text"))


def test_the_two_commands_of_the_readme_exist() -> None:
    commands = re.findall(r"^    (examples/run|scripts/check)$", README, re.MULTILINE)
    assert commands == ["examples/run", "scripts/check"]
    for command in commands:
        assert (ROOT / command).stat().st_mode & 0o111


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec scripts/check"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text()
    linked = re.findall(r"\]\((?!\w+:|#)([^)#]+)", text)
    quoted = re.findall(r"`((?:src|tests|docs|scripts|examples|benches|include)/[\w./-]+)`", text)
    missing = [name for name in linked if not (document.parent / name).exists()]
    missing += [name for name in quoted if not (ROOT / name).exists()]
    assert missing == []


def test_every_kind_of_finding_has_a_section() -> None:
    from heapledger.kinds import FINDING_KINDS

    text = (ROOT / "docs" / "detection.md").read_text()
    assert [kind for kind in FINDING_KINDS if f"\n## {kind}\n" not in text] == []


def test_every_key_of_a_report_is_described() -> None:
    program = "import heapledger; heapledger.free(1); print(heapledger.report(format='json'))"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    described = (ROOT / "docs" / "abi.md").read_text()
    report = json.loads(finished.stdout)
    kinds = set(report["stats"]["findings"])
    missing = [key for key in keys(report) if f"`{key}`" not in described and key not in kinds]
    assert missing == []


def keys(value: object) -> list[str]:
    """Return every key of a JSON value, at any depth."""
    if isinstance(value, list):
        return [key for item in value for key in keys(item)]
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in keys(item))]
    return []


def block(language: str) -> str:
    """Return the README's code block of one language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no block of {language}"
    return found[1]


def what_stays(text: str) -> list[str]:
    """Return the lines with what differs from run to run made equal."""
    for pattern, same in (
        (r"0x[0-9a-f]+", "ADDRESS"),
        (r"process \d+: .*", "PROCESS"),
        (r"\S*/(app\.py|libcpp\.cpp)", r"\1"),
    ):
        text = re.sub(pattern, same, text)
    return [line.rstrip() for line in text.strip().splitlines()]
