"""Marker, ini file and command line: what each setting does, which of them counts, what is wrong.

In the order of weight: the nearest marker, the command line, the ini file, the defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compiling import ROOT

if TYPE_CHECKING:
    from conftest import Suite

TWO_BLOCKS = "from memory import forget\ndef test_it(): forget(10, times=2)\n"


def test_limits_of_the_marker(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        limits = pytest.mark.heapledger

        @limits(max_blocks=2)
        def test_two_of_two(): forget(10, times=2)
        @limits(max_blocks=2)
        def test_three_of_two(): forget(10, times=3)
        @limits(max_bytes=100)
        def test_hundred_bytes(): forget(50, times=2)
        @limits(max_bytes=99)
        def test_too_many_bytes(): forget(50, times=2)
        @limits(max_blocks=5, max_bytes=99)
        def test_both_limits(): forget(50, times=2)
        @limits(max_blocks=0)
        def test_nothing(): pass
        @limits()
        def test_no_limits_given(): forget()
        """
    )
    result = suite.run("-rA")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_two_of_two",
            "FAILED *::test_three_of_two - *",
            "PASSED *::test_hundred_bytes",
            "FAILED *::test_too_many_bytes - *",
            "FAILED *::test_both_limits - *",
            "PASSED *::test_nothing",
            "FAILED *::test_no_limits_given - *",
            "not failing: 2 findings (4 blocks, 120 bytes) within the limits",
        ]
    )


def test_enabled_and_kinds_of_the_marker(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget, free_twice

        def both():
            forget(5)
            free_twice()

        mark = pytest.mark.heapledger

        @mark(enabled=False)
        def test_off(): both()
        @mark(kinds=["leak"])
        def test_leaks_only(): free_twice()
        @mark(kinds="double-free,invalid-free")
        def test_errors_only(): forget()
        @mark(kinds={"double-free"})
        def test_this_error(): both()
        @mark(kinds=())
        def test_no_kind(): both()

        @mark(enabled=False)
        class TestOff:
            def test_off_too(self): both()
            @mark(enabled=True)
            def test_on_again(self): both()
        """
    )
    result = suite.run("-rA")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_off",
            "PASSED *::test_leaks_only",
            "PASSED *::test_errors_only",
            "FAILED *::test_this_error - heapledger: double-free",
            "PASSED *::test_no_kind",
            "PASSED *::test_off_too",
            "FAILED *::test_on_again - heapledger: double-free, 1 block, 5 bytes left behind",
        ]
    )


def test_a_module_has_markers_and_the_nearest_counts(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        pytestmark = pytest.mark.heapledger(max_blocks=2)

        def test_of_the_module(): forget(10, times=2)

        @pytest.mark.heapledger(max_blocks=1)
        def test_its_own(): forget(10, times=2)

        @pytest.mark.heapledger(max_bytes=20)
        def test_another_unit_replaces_the_limit(): forget(1, times=3)
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_its_own - *"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("3", "its arguments have names: enabled, repeat, max_blocks, *"),
        ("max_block=3", "unknown argument 'max_block': known are enabled, repeat, *"),
        ("max_blocks=-1", "max_blocks: -1 is out of range: 0 to any"),
        ("max_blocks=1.5", "max_blocks: a whole number is needed, got 1.5"),
        ("max_bytes='many'", "max_bytes: a whole number is needed, got 'many'"),
        ("repeat=0", "repeat: 0 is out of range: 1 to 1000000"),
        ("repeat=True", "repeat: a whole number is needed, got True"),
        ("kinds=['leek']", "kinds: unknown kind 'leek': known are leak, double-free, *"),
        ("kinds=3", "kinds: a list of kinds is needed, got 3"),
        ("kept='no'", "kept: kept is one of report, fail, not 'no'"),
        ("enabled='no'", "enabled: True or False is needed, got 'no'"),
    ],
)
def test_a_wrong_marker_fails_its_test_and_says_why(
    suite: Suite, arguments: str, complaint: str
) -> None:
    suite.write(
        f"""
        import pytest

        @pytest.mark.heapledger({arguments})
        def test_marked(): pass

        def test_other(): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*::test_marked: @pytest.mark.heapledger: {complaint}"])


def test_the_ini_file_has_an_equivalent_for_every_option(suite: Suite) -> None:
    from heapledger_pytest import SETTINGS

    result = suite.run("--help", "--no-heapledger")
    for setting in SETTINGS:
        result.stdout.fnmatch_lines([f"*--heapledger-{setting.name}*{setting.metavar}*"])
        result.stdout.fnmatch_lines([f"  {setting.key} (*"])


def test_the_documentation_has_every_setting_in_its_table() -> None:
    from heapledger.pytest_plugin.rules import READERS
    from heapledger_pytest import SETTINGS

    text = (ROOT / "docs" / "pytest.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `--heapledger-")]
    for setting in SETTINGS:
        [row] = [row for row in rows if f"`--heapledger-{setting.name} {setting.metavar}`" in row]
        assert f"`{setting.key}`" in row
        argument = setting.name.replace("-", "_")
        assert (f"| `{argument}` |" in row) == (argument in READERS)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ("heapledger_max_blocks = 2", True),
        ("heapledger_max_blocks = 1", False),
        ("heapledger_max_bytes = 20", True),
        ("heapledger_max_bytes = 19", False),
        ("heapledger_kinds = double-free", True),
        ("heapledger_suppressions = known.supp", True),
        ("heapledger_repeat = 2\nheapledger_max_blocks = 2", True),
        ("heapledger_repeat = 2\nheapledger_max_blocks = 1", False),
    ],
)
def test_settings_of_the_ini_file_are_those_of_all_tests(
    suite: Suite, settings: str, passes: bool
) -> None:
    suite.write(f"[pytest]\nheapledger = true\n{settings}\n", "pytest.ini")
    suite.write("leak:test_it\n", "known.supp")
    suite.write(TWO_BLOCKS)
    suite.run().assert_outcomes(passed=int(passes), failed=int(not passes))


def test_pyproject_is_read_too(suite: Suite) -> None:
    suite.write(
        """
        [tool.pytest.ini_options]
        heapledger = true
        heapledger_scope = "explicit"
        heapledger_max_blocks = 2
        heapledger_check = "none"
        heapledger_kinds = ["leak", "double-free"]
        """,
        "pyproject.toml",
    )
    suite.write(TWO_BLOCKS)
    suite.scope = ""
    result = suite.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["heapledger: scope explicit, checks none"])


def test_the_ini_file_alone_switches_it_on_and_the_command_line_off(suite: Suite) -> None:
    suite.write("[pytest]\nheapledger = true\nheapledger_scope = explicit\n", "pytest.ini")
    suite.write(TWO_BLOCKS)
    suite.pytester.runpytest_inprocess("-p", "heapledger.pytest_plugin").assert_outcomes(failed=1)
    suite.run("--no-heapledger").assert_outcomes(passed=1)


def test_the_command_line_overrides_the_ini_file_and_markers_override_both(suite: Suite) -> None:
    suite.write("[pytest]\nheapledger_max_blocks = 5\nheapledger_repeat = 3\n", "pytest.ini")
    suite.write(
        """
        import pytest
        from memory import forget

        runs = []

        def test_suite_wide():
            runs.append(1)
            forget(10, times=2)

        @pytest.mark.heapledger(max_blocks=2)
        def test_marked(): forget(10, times=2)

        def test_runs(): assert len(runs) == 2
        """
    )
    result = suite.run("--heapledger-max-blocks=1", "--heapledger-repeat=2")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_suite_wide - *"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--heapledger-scope", "all"), "*unknown scope 'all': known are explicit, *"),
        (("--heapledger-check", "redzones"), "*unknown check 'redzones': known are *"),
        (("--heapledger-native-stacks", "some"), "*unknown native_stacks 'some': known are *"),
        (("--heapledger-repeat", "often"), "*--heapledger-repeat: *'often'*"),
        (("--heapledger-repeat", "0"), "*--heapledger-repeat: 0 is out of range: 1 to *"),
        (("--heapledger-max-blocks", "-1"), "*--heapledger-max-blocks: -1 is out of range*"),
        (("--heapledger-kinds", "leek"), "*--heapledger-kinds: unknown kind 'leek'*"),
        (("--heapledger-kept", "maybe"), "*--heapledger-kept: kept is one of report, fail*"),
        (("--heapledger-suppressions", "none.txt"), "*--heapledger-suppressions: *none.txt*"),
        (
            ("--heapledger-suppressions", "wrong.txt"),
            "*--heapledger-suppressions: the suppressions file *wrong.txt:1: no colon in *",
        ),
        (("--heapledger-json", "nowhere/a.json"), "*--heapledger-json: *nowhere*"),
        (("--heapledger-update-baseline",), "*needs --heapledger-baseline FILE"),
    ],
)
def test_a_wrong_option_stops_the_run_and_says_why(
    suite: Suite, arguments: tuple[str, ...], complaint: str
) -> None:
    suite.write("this is no suppression\n", "wrong.txt")
    suite.write(TWO_BLOCKS)
    result = suite.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])


def test_a_wrong_value_of_the_ini_file_stops_the_run_and_says_where(suite: Suite) -> None:
    suite.write("[pytest]\nheapledger_repeat = often\n", "pytest.ini")
    suite.write(TWO_BLOCKS)
    result = suite.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *heapledger_repeat in */pytest.ini: a whole number is needed, *'often'*"]
    )


def test_suppressions_hide_and_the_unused_are_named(suite: Suite) -> None:
    suite.write(
        """
        # known of old
        leak:first_known
        double-free:*suite.py:test_frees
        *:second_known
        leak:never_met
        """,
        "known.supp",
    )
    suite.write(
        """
        from memory import forget, free_twice

        def first_known(): forget(1)
        def second_known(): forget(2)

        def test_one(): first_known()
        def test_two(): second_known()
        def test_frees(): free_twice()
        def test_new(): forget(3)
        """
    )
    result = suite.run("--heapledger-suppressions", "known.supp")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "not failing: 3 findings (2 blocks, 3 bytes) suppressed",
            "unused suppression: leak:never_met (*known.supp:5)",
            "FAILED *::test_new - *1 block, 3 bytes left behind",
        ]
    )
    result.stdout.no_fnmatch_line("unused suppression: *_known (*")


def test_kept_says_whether_what_a_library_keeps_fails(foreign: Suite) -> None:
    foreign.write(
        """
        import pytest
        from binding import lib

        @pytest.mark.heapledger(kept="fail")
        def test_fails(): lib.log_line()

        def test_is_reported(): lib.log_line()
        """
    )
    result = foreign.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "not failing: 1 finding (1 block, 48 bytes) kept by a library, *",
            "FAILED *::test_fails - heapledger: 1 block, 48 bytes left behind",
        ]
    )
    result = foreign.run_apart("--heapledger-kept", "fail")
    result.assert_outcomes(failed=2)
