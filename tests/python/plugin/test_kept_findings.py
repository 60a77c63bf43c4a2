"""What fails nothing is added up by the library, and in full only where somebody asks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite

TELLING = """
    import json

    def pytest_runtest_logreport(report):
        for judgement in getattr(report, "heapledger", ()):
            told = [entry["finding"]["message"] for entry in judgement["entries"]]
            print("TOLD", json.dumps([told, judgement["left_out"]]))
    """

KEEPING = """
    from binding import lib

    def test_keeps():
        lib.log_line()
        for _ in range(2):
            lib.log_line()
        lib.look_up(3)
    """

AMOUNTS = "4 blocks, 1,168 bytes"


@pytest.fixture
def keeping(foreign: Suite) -> Suite:
    """Return a suite whose test leaves what the library keeps, with stacks of three places."""
    foreign.write(TELLING, "conftest.py")
    foreign.write(KEEPING)
    return foreign


def told_in(output: str) -> list[tuple[list[str], dict[str, dict[str, int]]]]:
    """Return what each judgement of a run has in full, and what it adds up."""
    return [json.loads(line) for line in re.findall(r"TOLD (.*)$", output, re.MULTILINE)]


@pytest.mark.parametrize(
    "arguments", [["-s"], ["-s", "-vv"], ["-s", "--heapledger-native-stacks", "full"]]
)
def test_what_is_kept_is_only_added_up(keeping: Suite, arguments: list[str]) -> None:
    result = keeping.run_apart(*arguments, "--junitxml", "junit.xml")
    assert result.ret == 0
    assert told_in(result.stdout.str()) == [
        [[], {"kept": {"findings": 3, "blocks": 4, "bytes": 1168}}]
    ]
    result.stdout.fnmatch_lines([f"not failing: 3 findings ({AMOUNTS}) kept by a library,*"])
    xml = (keeping.path / "junit.xml").read_text()
    assert 'name="heapledger_leaked_blocks" value="4"' in xml
    assert 'name="heapledger_leaked_bytes" value="1168"' in xml
    assert 'name="heapledger_verdict" value="reported"' in xml


@pytest.mark.parametrize("arguments", [["--heapledger-json", "all.json"], ["rules"]])
def test_who_asks_for_it_has_it_in_full(keeping: Suite, arguments: list[str]) -> None:
    if arguments == ["rules"]:
        (keeping.path / "rules").write_text("leak:look_up\n")
        arguments = ["--heapledger-suppressions", "rules"]
    result = keeping.run_apart("-s", *arguments)
    assert result.ret == 0
    ((told, left_out),) = told_in(result.stdout.str())
    assert (len(told), left_out) == (3, {})
    assert "unused suppression" not in result.stdout.str()


def test_a_session_file_holds_what_the_summary_counts(keeping: Suite) -> None:
    findings = keeping.run_json(apart=True)["findings"]
    assert sorted(finding["blocks"] for finding in findings) == [1, 1, 2]
    assert all(finding["kept_by"] and finding["stacks"]["allocated"] for finding in findings)


def test_in_several_processes_the_sums_are_those_of_all(keeping: Suite) -> None:
    keeping.write(KEEPING, "test_other.py")
    result = keeping.run_apart("-n", "2", "--dist", "loadfile", plugins=("xdist.plugin",))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["not failing: 6 findings (8 blocks, 2,336 bytes) kept by*"])


def test_a_failure_says_what_else_was_kept_and_with_v_where(keeping: Suite) -> None:
    keeping.write(KEEPING + "    lib.make_block(5)\n")
    lines = keeping.run_apart().stdout
    lines.fnmatch_lines(
        ["also 3 findings kept by a library, which still refers to it, not failing"]
    )
    assert "kept: kept by" not in lines.str()
    lines = keeping.run_apart("-v").stdout
    assert len(re.findall("^  kept: kept by misuse.so: ", lines.str(), re.MULTILINE)) == 3


def test_what_the_first_run_alone_left_is_only_added_up(keeping: Suite) -> None:
    keeping.write(
        """
        from binding import lib

        def test_caches():
            lib.look_up(3)
        """
    )
    result = keeping.run_apart("-s", "--heapledger-repeat", "3")
    assert result.ret == 0
    left_out = {"cache": {"findings": 1, "blocks": 1, "bytes": 1024}}
    assert told_in(result.stdout.str()) == [[[], left_out]]
    result.stdout.fnmatch_lines(["not failing: 1 finding (1 block, 1,024 bytes) allocated by the*"])
