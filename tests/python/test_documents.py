"""What the documents say is tried: the README's example and commands, the files they name."""

from __future__ import annotations

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
    finished = subprocess.run(
        [sys.executable, program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert without_addresses(finished.stdout) == without_addresses(block("text"))


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
    from heapledger.records import FINDING_KINDS

    text = (ROOT / "docs" / "detection.md").read_text()
    assert [kind for kind in FINDING_KINDS if f"\n## {kind}\n" not in text] == []


def block(language: str) -> str:
    """Return the README's code block of one language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no block of {language}"
    return found[1]


def without_addresses(text: str) -> list[str]:
    """Return the lines with what differs from run to run made equal."""
    same = re.sub(r"0x[0-9a-f]+", "0x0", text)
    return [line.rstrip() for line in same.strip().splitlines()]
