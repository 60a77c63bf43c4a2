"""pytest's own options and endings: they work as without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

THREE = """
    from memory import forget
    def test_first(): pass
    def test_leaks():
        print("told by the test")
        forget(10)
    def test_last(): pass
"""


@pytest.mark.parametrize("plugin", ["terminal", "cacheprovider", "junitxml", "logging", "capture"])
def test_without_a_plugin_of_pytests_own(suite: Suite, plugin: str) -> None:
    suite.write(THREE)
    report = suite.run_json("-p", f"no:{plugin}", apart=plugin == "capture")
    assert [one["nodeid"] for one in report["pytest"]["judgements"]] == [
        "test_suite.py::test_leaks"
    ]


def test_without_a_terminal_the_exit_status_tells(suite: Suite) -> None:
    suite.write(THREE)
    assert suite.run("-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED
    suite.write("def test_it(): pass\n")
    assert suite.run("-p", "no:terminal").ret == pytest.ExitCode.OK


def test_the_first_leak_ends_a_run_with_x(suite: Suite) -> None:
    suite.write(THREE)
    result = suite.run("-x")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    suite.run("--maxfail=2").assert_outcomes(passed=2, failed=1)


def test_last_failed_and_step_wise_know_the_leaking_test(suite: Suite) -> None:
    suite.write(THREE)
    suite.run().assert_outcomes(passed=2, failed=1)
    suite.run("--lf").assert_outcomes(failed=1)
    suite.run("--sw").assert_outcomes(passed=1, failed=1)


def test_output_is_shown_with_the_failure_and_passed_on_with_s(suite: Suite) -> None:
    suite.write(THREE)
    suite.run().stdout.fnmatch_lines(["*Captured stdout call*", "told by the test"])
    result = suite.run("-s")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*told by the test*"])
    result.stdout.no_fnmatch_line("*Captured stdout*")


def test_collecting_only_runs_nothing(suite: Suite) -> None:
    suite.write(THREE)
    result = suite.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["test_suite.py::test_leaks", "3 tests collected*"])
    assert result.ret == 0


def test_setup_options(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture
        def forgets(): forget(10)

        def test_it(forgets): forget(20)
        """
    )
    suite.run("--setup-plan").stdout.fnmatch_lines(["*SETUP*forgets*"])
    suite.run("--setup-show").assert_outcomes(failed=1)
    result = suite.run("--setup-only")
    result.stdout.fnmatch_lines(["*SETUP*forgets*"])


def test_the_debugger_is_entered_for_exceptions(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget
        def test_leaks(): forget(10)
        def test_raises(): raise KeyError("look at me")
        def test_clean(): pass
        """
    )
    child = suite.pytester.spawn_pytest(
        "-p heapledger.pytest_plugin --heapledger --heapledger-scope explicit --pdb"
    )
    child.expect("look at me")
    child.expect("[(]Pdb[)]")
    child.sendline("continue")
    child.expect("2 failed, 1 passed")
    child.wait()


def test_an_interrupt_ends_the_run_and_what_was_found_is_told(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget
        def test_leaks(): forget(10)
        def test_interrupts(): raise KeyboardInterrupt
        def test_never(): pass
        """
    )
    result = suite.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["FAILED *::test_leaks - heapledger: 1 block, 10 bytes left behind", "*KeyboardInterrupt*"]
    )


def test_an_exit_ends_the_run(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget
        def test_leaks(): forget(10)
        def test_exits(): pytest.exit("enough", returncode=7)
        """
    )
    result = suite.run_apart()
    assert result.ret == 7
    # pytest shows no failure after this.
    result.stdout.fnmatch_lines(["test_suite.py F*", "*1 failed in*", "*Exit: enough*"])


def test_faulthandler_stays_on(foreign: Suite) -> None:
    foreign.write(
        """
        import faulthandler
        from binding import lib

        def test_it_is_on(): assert faulthandler.is_enabled()
        def test_crashes(): lib.crash()
        """
    )
    result = foreign.run_apart()
    result.stderr.fnmatch_lines(["Fatal Python error: Aborted", "*test_suite.py*in test_crashes"])
    assert result.ret == -6


def test_a_segmentation_fault_is_told_by_faulthandler(foreign: Suite) -> None:
    foreign.write(
        """
        import ctypes
        def test_faults(): ctypes.string_at(16)
        """
    )
    for checks in ("quarantine,redzone", "quarantine,redzone,guard"):
        result = foreign.run_apart("--heapledger-check", checks)
        result.stderr.fnmatch_lines(
            ["Fatal Python error: Segmentation fault", "*test_suite.py*in test_faults"]
        )
        assert result.ret == -11


def test_tests_that_skip_or_are_expected_to_fail(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.mark.skip
        def test_skipped(): forget(1)

        @pytest.mark.xfail(reason="known", strict=True)
        def test_fails_as_expected_and_leaks():
            forget(2)
            assert False

        @pytest.mark.xfail(run=False)
        def test_not_run(): forget(3)

        @pytest.mark.xfail(strict=True)
        def test_passes_unexpectedly(): pass
        """
    )
    result = suite.run("-rA")
    result.assert_outcomes(skipped=1, xfailed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_passes_unexpectedly*XPASS(strict)*"])


def test_import_modes_and_ids(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.mark.parametrize("what", ["a::b", "x[y]", "\\u00e9"])
        def test_it(what): forget(5)
        """
    )
    for mode in ("prepend", "append", "importlib"):
        suite.run(f"--import-mode={mode}", "-p", "no:cacheprovider", "-o", "pythonpath=.")
    result = suite.run("-o", "pythonpath=.")
    result.assert_outcomes(failed=3)


def test_no_heapledger_loads_nothing(suite: Suite) -> None:
    suite.write(
        """
        import sys
        def test_it():
            assert "heapledger.session" not in sys.modules
            assert "heapledger" not in sys.modules
        """
    )
    suite.scope = ""
    suite.pytester.runpytest_subprocess("-p", "heapledger_pytest").assert_outcomes(passed=1)


def test_a_scope_that_is_not_supported_is_said(suite: Suite) -> None:
    suite.write("def test_it(): pass\n")
    result = suite.run()
    result.stdout.fnmatch_lines(["heapledger: scope explicit, checks quarantine, redzone"])


def test_a_session_that_the_program_began_is_used(
    suite: Suite, needs: Callable[[str], str]
) -> None:
    suite.write("import heapledger\nheapledger.start(scope='explicit')\n", "conftest.py")
    suite.write(THREE)
    result = suite.run_apart()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["heapledger: scope explicit (of a session that was begun before)*"]
    )


def test_what_a_conftest_file_imports_is_on_record(foreign: Suite) -> None:
    foreign.write("import binding\nmade = binding.lib.make_block(40)\n", "conftest.py")
    foreign.write(
        """
        import binding, conftest, heapledger

        def test_block():
            assert heapledger.describe(conftest.made).size == 40

        def test_drop():
            binding.lib.drop_block(conftest.made)
        """
    )
    result = foreign.run_apart()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["heapledger: scope foreign, checks quarantine, redzone"])


def test_an_error_in_a_conftest_file_fails_the_session(foreign: Suite) -> None:
    foreign.write(
        """
        import binding
        block = binding.lib.make_block(40)
        binding.lib.drop_block(block), binding.lib.drop_block(block)
        """,
        "conftest.py",
    )
    foreign.write("def test_nothing(): pass\n")
    result = foreign.run_apart()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["heapledger: double-free by the session, outside tests"])
