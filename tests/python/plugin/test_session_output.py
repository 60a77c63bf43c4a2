"""What is told of the whole session: summary, JUnit's XML, annotations, the JSON file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from heapledger.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

LEAKS = """
    import pytest
    from memory import forget, free_twice

    @pytest.mark.parametrize("size", range(1, 8))
    def test_leaks(size): forget(size * 100)

    def test_frees_twice(): free_twice()

    def test_clean(): pass
"""


def test_the_summary_has_totals_and_the_five_largest_leaks(suite: Suite) -> None:
    suite.write(LEAKS)
    result = suite.run()
    result.stdout.fnmatch_lines(
        [
            "*= heapledger =*",
            "9 tests watched in scope explicit: 7 blocks, 2,800 bytes left behind, 1 double-free; "
            "8 tests failed for it",
            "largest leaks:",
            "  1 block, 700 bytes  test_suite.py:5  test_suite.py::test_leaks[[]7[]]",
            "  1 block, 600 bytes  *",
            "  1 block, 500 bytes  *",
            "  1 block, 400 bytes  *",
            "  1 block, 300 bytes  *",
            "  ... and 2 more",
        ],
        consecutive=True,
    )


def test_quiet_says_nothing_of_a_clean_suite(suite: Suite) -> None:
    suite.write("def test_it(): pass\n")
    suite.run("-q").stdout.no_fnmatch_line("*tests watched*")
    suite.run().stdout.fnmatch_lines(["1 test watched*: nothing failing"])


def test_the_same_summary_under_xdist(suite: Suite, needs: Callable[[str], str]) -> None:
    suite.write(LEAKS)
    result = suite.run_apart("-n", "2", "--dist", "loadscope", plugins=(needs("xdist.plugin"),))
    result.stdout.fnmatch_lines(
        [
            "9 tests watched in scope explicit: 7 blocks, 2,800 bytes left behind, 1 double-free; "
            "8 tests failed for it",
            "  ... and 2 more",
        ]
    )


def properties_in(suite: Suite) -> dict[str, dict[str, str]]:
    """Return the properties of each test in JUnit's XML."""
    root = ElementTree.parse(suite.path / "junit.xml").getroot()
    return {
        case.attrib["name"]: {
            one.attrib["name"]: one.attrib["value"] for one in case.iter("property")
        }
        for case in root.iter("testcase")
    }


@pytest.mark.parametrize("processes", [0, 2])
def test_junit_has_the_failure_and_its_properties(
    suite: Suite, needs: Callable[[str], str], processes: int
) -> None:
    suite.write(LEAKS)
    if processes:
        xdist = (needs("xdist.plugin"),)
        suite.run_apart("--junitxml=junit.xml", f"-n{processes}", plugins=xdist)
    else:
        suite.run("--junitxml=junit.xml")
    properties = properties_in(suite)
    assert properties["test_clean"] == {}
    assert properties["test_leaks[2]"] == {
        "heapledger_test": "test_leaks[2]",
        "heapledger_leaked_blocks": "1",
        "heapledger_leaked_bytes": "200",
        "heapledger_verdict": "fails",
    }
    assert properties["test_frees_twice"]["heapledger_errors"] == "double-free"
    text = (suite.path / "junit.xml").read_text()
    assert text.count("<failure ") == 8
    assert 'tests="9"' in text
    assert "heapledger: 1 block, 200 bytes left behind" in text
    assert "test_suite.py:5 in test_leaks" in text


def test_annotations_where_github_reads_them(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.write(
        """
        from memory import forget

        def helper(): forget(100)

        def test_leaks():
            helper()
        """
    )
    suite.run().stdout.no_fnmatch_line("::error*")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    suite.run().stdout.fnmatch_lines(
        [
            "::error file=test_suite.py,line=6,title=heapledger%3A test_suite.py%3A%3Atest_leaks::"
            "1 block, 100 bytes left behind%0Aleak of 1 block, 100 bytes, allocated at "
            "memory.py:7 in forget"
        ]
    )


def test_the_json_file_is_a_report_about_the_session(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.write(LEAKS)
    report = suite.run_json()
    assert (report["schema"], report["version"]) == ("heapledger.report", 1)
    assert {finding["kind"] for finding in report["findings"]} == {"leak", "double-free"}
    assert sum(finding["bytes"] for finding in report["findings"][:7]) == 2800
    assert report["pytest"]["tests_watched"] == 9
    judgements = report["pytest"]["judgements"]
    assert len(judgements) == 8
    for judgement in judgements:
        [entry] = judgement["entries"]
        assert entry["verdict"] == "fails"
        assert report["findings"][entry["finding"]]["stacks"]["allocated"]
    assert main(["report", str(suite.path / "session.json")]) == 0
    assert "leak of 1 block, 700 bytes" in capsys.readouterr().out


@pytest.mark.parametrize("dist", ["load", "loadscope"])
def test_the_json_file_merges_the_processes_of_xdist(
    suite: Suite, needs: Callable[[str], str], dist: str
) -> None:
    suite.write(LEAKS)
    suite.write(LEAKS, "test_second.py")
    alone = suite.run_json()
    merged = suite.run_json("-n", "2", "--dist", dist, plugins=(needs("xdist.plugin"),), apart=True)
    assert merged["pytest"]["tests_watched"] == alone["pytest"]["tests_watched"] == 18

    def told(report: dict[str, Any]) -> list[str]:
        return sorted(judgement["nodeid"] for judgement in report["pytest"]["judgements"])

    def found(report: dict[str, Any]) -> list[tuple[str, int]]:
        return sorted((finding["kind"], finding["bytes"]) for finding in report["findings"])

    assert told(merged) == told(alone)
    assert found(merged) == found(alone)


def test_a_file_that_cannot_be_written_in_the_end_is_said(suite: Suite) -> None:
    suite.write(
        """
        import pathlib, shutil
        def test_it(): shutil.rmtree(pathlib.Path(__file__).parent / "out")
        """
    )
    (suite.path / "out").mkdir()
    result = suite.run("--heapledger-json", "out/session.json")
    result.stdout.fnmatch_lines(["heapledger: a file could not be written: *out/session.json*"])
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    # Warnings aside: garbage of another test in this process may go now, with an exception.
    result.assert_outcomes(passed=1)
