"""The baseline: a suite with known leaks can start today, and only new ones fail it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

FILE = "known.json"
USE = ("--heapledger-baseline", FILE)
UPDATE = (*USE, "--heapledger-update-baseline")

KNOWN = """
    import pytest
    from memory import forget, free_twice

    @pytest.fixture(scope="module")
    def pool():
        forget(500)
        yield

    def test_leaks(pool): forget(10, times=2)
    def test_frees_twice(): free_twice()
    def test_clean(): pass
"""


def known_in(suite: Suite) -> list[dict[str, Any]]:
    """Return the lines of the baseline."""
    content = json.loads((suite.path / FILE).read_text())
    assert (content["schema"], content["version"]) == ("heapledger.baseline", 1)
    findings: list[dict[str, Any]] = content["findings"]
    return findings


def test_round_trip(suite: Suite) -> None:
    suite.write(KNOWN)
    suite.run(*USE).assert_outcomes(passed=1, failed=2, errors=1)
    assert not (suite.path / FILE).exists()

    result = suite.run(*UPDATE)
    result.stdout.fnmatch_lines(["baseline written: 3 findings of these tests"])
    assert [(one["test"], one["kind"], one["blocks"]) for one in known_in(suite)] == [
        ("test_suite.py (module-scoped fixture pool)", "leak", 1),
        ("test_suite.py::test_frees_twice", "double-free", 1),
        ("test_suite.py::test_leaks", "leak", 2),
    ]

    result = suite.run(*USE)
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["not failing: 3 findings (3 blocks, 520 bytes) known from the baseline"]
    )


def test_an_update_lets_what_it_writes_pass(suite: Suite) -> None:
    suite.write(KNOWN)
    result = suite.run(*UPDATE)
    result.assert_outcomes(passed=3)
    assert result.ret == 0


def test_the_file_is_the_same_each_time(suite: Suite) -> None:
    suite.write(KNOWN)
    suite.run(*UPDATE)
    before = (suite.path / FILE).read_text()
    suite.run(*UPDATE)
    assert (suite.path / FILE).read_text() == before
    assert before.count("\n") == len(known_in(suite)) + 7 - 1


def test_moved_lines_stay_known_and_more_blocks_do_not(suite: Suite) -> None:
    suite.write("from memory import forget\ndef test_it(): forget(10, times=2)\n")
    suite.run(*UPDATE)
    suite.write("# a\n\n# comment\nfrom memory import forget\ndef test_it(): forget(99, times=2)\n")
    suite.run(*USE).assert_outcomes(passed=1)
    suite.write("from memory import forget\ndef test_it(): forget(10, times=3)\n")
    suite.run(*USE).assert_outcomes(failed=1)
    suite.write("from memory import forget\ndef test_it(): forget(10)\n")
    suite.run(*USE).assert_outcomes(passed=1)


def test_another_leak_of_the_same_test_fails(suite: Suite) -> None:
    suite.write("from memory import forget\ndef test_it(): forget(10)\n")
    suite.run(*UPDATE)
    suite.write(
        "from memory import forget\n"
        "def anew(): forget(7)\n"
        "def test_it():\n    forget(10)\n    anew()\n"
    )
    result = suite.run(*USE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_it - heapledger: 1 block, 7 bytes left behind"])


def test_what_is_known_and_gone_is_named_and_an_update_drops_it(suite: Suite) -> None:
    suite.write(KNOWN)
    suite.run(*UPDATE)
    suite.write(KNOWN.replace("forget(10, times=2)", "pass"))
    result = suite.run(*USE)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["in the baseline and not found any more: *::test_leaks leak *"])
    suite.run(*UPDATE)
    assert [one["test"].split("::")[-1] for one in known_in(suite)] == [
        "test_suite.py (module-scoped fixture pool)",
        "test_frees_twice",
    ]


def test_an_update_by_some_tests_keeps_what_is_known_of_the_others(suite: Suite) -> None:
    suite.write(KNOWN)
    suite.run(*UPDATE)
    before = known_in(suite)
    suite.run(*UPDATE, "-k", "frees_twice")
    assert known_in(suite) == before
    result = suite.run(*USE, "-k", "frees_twice")
    result.stdout.no_fnmatch_line("in the baseline and not found*test_leaks*")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("no json", "*known.json is no baseline of heapledger: *"),
        ("[]", "*known.json is no baseline of heapledger: *"),
        ('{"findings": []}', "*known.json is no baseline of heapledger: *schema*"),
        (
            '{"schema": "heapledger.baseline", "version": 99, "findings": []}',
            "*known.json is no baseline of heapledger: it has version 99, and * knows 1",
        ),
        (
            '{"schema": "heapledger.report", "version": 1, "findings": []}',
            "*known.json is no baseline of heapledger: its schema is 'heapledger.report'*",
        ),
        (
            '{"schema": "heapledger.baseline", "version": 1, "findings": [{"test": "a"}]}',
            "*known.json is no baseline of heapledger: *kind*",
        ),
    ],
)
def test_what_is_no_baseline_stops_the_run(suite: Suite, content: str, complaint: str) -> None:
    suite.write(KNOWN)
    suite.write(content, FILE)
    for arguments in (USE, UPDATE):
        result = suite.run(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: --heapledger-baseline: {complaint}"])
        assert (suite.path / FILE).read_text() == content


def test_a_file_that_cannot_be_read_stops_the_run(suite: Suite) -> None:
    suite.write(KNOWN)
    (suite.path / FILE).mkdir()
    result = suite.run(*USE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --heapledger-baseline: *directory*known.json*"])
    (suite.path / "other.json").write_bytes(b"\xff\xfe\x00")
    result = suite.run("--heapledger-baseline", "other.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --heapledger-baseline: *other.json is no baseline*"])


def test_a_place_that_cannot_be_written_stops_the_run_before_the_tests(suite: Suite) -> None:
    suite.write(KNOWN)
    result = suite.run("--heapledger-baseline=nowhere/a.json", "--heapledger-update-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --heapledger-baseline: *nowhere/a.json cannot be written*"]
    )


def test_a_missing_file_is_said_and_knows_nothing(suite: Suite) -> None:
    suite.write(KNOWN)
    result = suite.run(*USE)
    result.stdout.fnmatch_lines(
        ["the baseline *known.json does not exist: --heapledger-update-baseline writes it"]
    )


def test_the_ini_file_may_name_it(suite: Suite) -> None:
    suite.write(f"[pytest]\nheapledger_baseline = {FILE}\n", "pytest.ini")
    suite.write(KNOWN)
    suite.run("--heapledger-update-baseline")
    suite.run().assert_outcomes(passed=3)


def test_blocks_per_run_are_compared_when_the_body_is_repeated(suite: Suite) -> None:
    suite.write("from memory import forget\ndef test_it(): forget(10, times=2)\n")
    suite.run(*UPDATE, "--heapledger-repeat=3")
    assert [one["blocks"] for one in known_in(suite)] == [2]
    suite.run(*USE, "--heapledger-repeat=5").assert_outcomes(passed=1)
    suite.run(*USE).assert_outcomes(passed=1)


def test_processes_of_xdist_write_one_baseline(suite: Suite, needs: Callable[[str], str]) -> None:
    suite.write(KNOWN)
    suite.run(*UPDATE)
    alone = known_in(suite)
    (suite.path / FILE).unlink()
    xdist = (needs("xdist.plugin"),)
    suite.run_apart(*UPDATE, "-n", "2", plugins=xdist).assert_outcomes(passed=3)
    assert known_in(suite) == alone
    suite.run_apart(*USE, "-n", "2", plugins=xdist).assert_outcomes(passed=3)


def test_what_is_expected_to_fail_is_expected_with_a_baseline_too(suite: Suite) -> None:
    suite.write(
        """
        import heapledger
        import pytest
        from memory import forget

        @pytest.mark.xfail(raises=heapledger.LeakError, strict=True)
        def test_leaks_as_expected(): forget()

        def test_leaks(): forget()
        """
    )
    suite.run(*UPDATE).assert_outcomes(xfailed=1, passed=1)
    assert [line["test"] for line in known_in(suite)] == ["test_suite.py::test_leaks"]
    suite.run(*USE).assert_outcomes(xfailed=1, passed=1)


def test_examples_may_leave_more_than_is_known(
    suite: Suite, needs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = needs("_hypothesis_pytestplugin")
    suite.write(
        """
        import os
        from hypothesis import given, settings, strategies
        from memory import forget

        @settings(max_examples=int(os.environ.get("EXAMPLES", "5")), database=None)
        @given(strategies.integers())
        def test_leaks(number): forget()
        """
    )
    suite.run_apart(*UPDATE, plugins=(plugin,)).assert_outcomes(passed=1)
    monkeypatch.setenv("EXAMPLES", "20")
    suite.run_apart(*USE, plugins=(plugin,)).assert_outcomes(passed=1)
