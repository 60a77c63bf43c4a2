"""Beside other plugins: the same verdicts, and their own work as without us."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

LEAKS_AND_CLEAN = """
    from binding import lib

    def test_leaks(): lib.make_block(10)
    def test_clean(): lib.drop_block(lib.make_block(10))
    def test_frees_twice():
        block = lib.make_block(48)
        lib.drop_block(block)
        lib.drop_block(block)
"""


def judged_rightly(result: pytest.RunResult) -> None:
    """Assert the verdicts on `LEAKS_AND_CLEAN`."""
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_leaks - heapledger: 1 block, 10 bytes left behind",
            "FAILED *::test_frees_twice - heapledger: double-free",
        ]
    )


TRACERS = ["ctrace", *(["sysmon"] if sys.version_info >= (3, 12) else ["pytrace"])]


@pytest.mark.parametrize("tracer", TRACERS)
def test_coverage(
    foreign: Suite, needs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tracer: str
) -> None:
    monkeypatch.setenv("COVERAGE_CORE", tracer)
    foreign.write(LEAKS_AND_CLEAN)
    arguments = ("--cov=.", "--cov-report=term-missing", "--cov-branch")
    plugin = needs("pytest_cov.plugin")
    result = foreign.run_apart(*arguments, plugins=(plugin,))
    judged_rightly(result)
    result.stdout.fnmatch_lines(["test_suite.py *100%*"])


ASYNCHRONOUS = """
    import asyncio
    import pytest
    from binding import lib

    {mark}

    @{fixture}
    async def block():
        block = lib.make_block(30)
        await asyncio.sleep(0)
        yield block
        await asyncio.sleep(0)
        lib.drop_block(block)

    @{fixture}
    async def forgets():
        yield
        lib.make_block(31)

    async def test_clean(block):
        await asyncio.sleep(0)
        assert block

    async def test_leaks(block):
        await asyncio.gather(*[leak() for _ in range(3)])

    async def leak():
        await asyncio.sleep(0)
        lib.make_block(7)

    async def test_with_a_fixture_that_leaks(forgets): pass

    @pytest.mark.heapledger(repeat=3)
    async def test_leaks_each_time():
        await leak()

    @pytest.mark.heapledger(repeat=3)
    async def test_clean_each_time():
        lib.drop_block(lib.make_block(7))
"""


def judged_asynchronously(result: pytest.RunResult) -> None:
    """Assert the verdicts on `ASYNCHRONOUS`."""
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_leaks* - heapledger: 3 blocks, 21 bytes left behind",
            "FAILED *::test_with_a_fixture_that_leaks* - heapledger: 1 block, 31 bytes left behind",
            "FAILED *::test_leaks_each_time* - heapledger: 1 block, 7 bytes left behind per run",
            "    test_suite.py:29 in leak",
            "  > test_suite.py:35 in test_leaks_each_time",
        ]
    )


def test_asyncio(foreign: Suite, needs: Callable[[str], str]) -> None:
    fixture, mark = "__import__('pytest_asyncio').fixture", "pytestmark = pytest.mark.asyncio"
    foreign.write(ASYNCHRONOUS.format(mark=mark, fixture=fixture))
    plugin = needs("pytest_asyncio.plugin")
    result = foreign.run_apart(
        "-o", "asyncio_default_fixture_loop_scope=function", plugins=(plugin,)
    )
    judged_asynchronously(result)


def test_anyio(foreign: Suite, needs: Callable[[str], str]) -> None:
    foreign.write(
        ASYNCHRONOUS.format(mark="pytestmark = pytest.mark.anyio", fixture="pytest.fixture")
        + """
    @pytest.fixture
    def anyio_backend(): return "asyncio"
"""
    )
    judged_asynchronously(foreign.run_apart(plugins=(needs("anyio.pytest_plugin"),)))


def test_hypothesis_has_one_verdict_and_shows_the_example(
    foreign: Suite, needs: Callable[[str], str]
) -> None:
    foreign.write(
        """
        from hypothesis import given, settings, strategies
        from binding import lib

        @given(strategies.integers(min_value=0, max_value=1000))
        @settings(deadline=None, max_examples=50, database=None, derandomize=True)
        def test_leaks_for_large(size):
            block = lib.make_block(size)
            if size < 300: lib.drop_block(block)

        @given(strategies.text())
        @settings(deadline=None, max_examples=50, database=None, derandomize=True)
        def test_clean(text):
            lib.drop_block(lib.make_block(len(text)))

        class TestMethod:
            @given(number=strategies.integers(0, 9))
            @settings(deadline=None, max_examples=20, database=None, derandomize=True)
            def test_frees_twice(self, number):
                block = lib.make_block(8)
                lib.drop_block(block)
                if number > 4: lib.drop_block(block)

        @given(strategies.integers())
        @settings(deadline=None, max_examples=20, database=None, derandomize=True)
        def test_fails_by_itself(number):
            assert number < 10
        """
    )
    result = foreign.run_apart(plugins=(needs("_hypothesis_pytestplugin"),))
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "  example: test_leaks_for_large(*)",
            "  example: test_frees_twice(number=[5-9])",
            "FAILED *::test_leaks_for_large - heapledger: * blocks, * bytes left behind",
            "FAILED *::test_frees_twice - heapledger: double-free (* times)",
            "FAILED *::test_fails_by_itself - assert 10 < 10*",
        ]
    )
    [example] = [line for line in result.outlines if "example: test_leaks_for_large(" in line]
    assert int(example.partition("size=")[2].rstrip(")")) >= 300


FLAKY = """
    import pytest
    from memory import forget

    runs = {{}}

    def nth(name):
        runs[name] = runs.get(name, 0) + 1
        return runs[name]

    @{mark}
    def test_leaks_the_first_time():
        if nth("first") == 1: forget(10)

    @{mark}
    def test_leaks_each_time():
        nth("each")
        forget(10)

    @{mark}
    def test_fails_the_first_time_and_leaks_the_second():
        if nth("second") == 1: raise KeyError
        forget(20)

    def test_is_not_run_again(): forget(30)

    def test_counts(): assert runs == {{"first": 2, "each": 2, "second": 2}}
"""


def test_rerunfailures(suite: Suite, needs: Callable[[str], str]) -> None:
    suite.write(FLAKY.format(mark="pytest.mark.flaky(reruns=1)"))
    result = suite.run(plugins=(needs("pytest_rerunfailures"),))
    result.stdout.fnmatch_lines(["*3 failed, 2 passed, 3 rerun*"])
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_leaks_each_time - heapledger: 1 block, 10 bytes left behind",
            "FAILED *::test_fails_the_first_* - heapledger: 1 block, 20 bytes left behind",
            "FAILED *::test_is_not_run_again - heapledger: 1 block, 30 bytes left behind",
            "5 tests watched*: 3 blocks, 60 bytes left behind; 3 tests failed for it",
        ]
    )
    # Older versions of that plugin do not report the end of an attempt.
    told = [line for line in result.outlines if "run again by another plugin" in line]
    assert told in ([], ["2 attempts run again by another plugin, not counted"])


def test_flaky(foreign: Suite, needs: Callable[[str], str]) -> None:
    needs("flaky")
    foreign.write(FLAKY.format(mark="pytest.mark.flaky(max_runs=2)"))
    foreign.write("from binding import lib\ndef forget(size): lib.make_block(size)\n", "memory.py")
    result = foreign.run_apart(plugins=("flaky.flaky_pytest_plugin",))
    result.stdout.fnmatch_lines_random(
        [
            "*::test_leaks_each_time - heapledger: 1 block, 10 bytes left behind",
            "*::test_is_not_run_again - heapledger: 1 block, 30 bytes left behind",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_randomly(foreign: Suite, needs: Callable[[str], str]) -> None:
    foreign.write(LEAKS_AND_CLEAN)
    plugin = needs("pytest_randomly")
    judged_rightly(foreign.run_apart("--randomly-seed=3", plugins=(plugin,)))


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout(foreign: Suite, needs: Callable[[str], str], method: str) -> None:
    foreign.write(LEAKS_AND_CLEAN)
    plugin = needs("pytest_timeout")
    judged_rightly(
        foreign.run_apart("--timeout=60", f"--timeout-method={method}", plugins=(plugin,))
    )


def test_a_test_that_is_timed_out_fails_for_that(suite: Suite, needs: Callable[[str], str]) -> None:
    suite.write(
        """
        import threading
        from memory import forget

        def test_hangs():
            forget(10)
            threading.Event().wait()

        def test_leaks(): forget(20)
        """
    )
    result = suite.run_apart("--timeout=0.5", plugins=(needs("pytest_timeout"),))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["FAILED *::test_hangs - Failed: Timeout*", "FAILED *::test_leaks - heapledger: *"]
    )


def test_a_time_limit_that_runs_out_during_the_verdict_ends_nothing(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture(scope="module", autouse=True)
        def fixture():
            yield
            forget(30)

        def test_leaks(): forget(20)
        def test_clean(): pass
        """
    )
    suite.write(
        """
        import signal
        import pytest

        # As pytest-timeout does it, in the first moment of each verdict.
        def pytest_runtest_teardown():
            from heapledger.pytest_plugin import bench
            plain = bench.judged
            def late(*arguments):
                bench.judged = plain
                signal.raise_signal(signal.SIGALRM)
                return plain(*arguments)
            bench.judged = late

        def timed_out(number, frame):
            pytest.fail("Timeout (>0.5s) from pytest-timeout.")

        signal.signal(signal.SIGALRM, timed_out)
        """,
        "conftest.py",
    )
    result = suite.run_apart()
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["FAILED *::test_leaks - heapledger: *", "ERROR *::test_clean - heapledger: *"]
    )


def test_forked(foreign: Suite, needs: Callable[[str], str]) -> None:
    plugins = (needs("pytest_forked"),)
    foreign.write("def test_it(): pass\n")
    if foreign.run_apart("--forked", "--no-heapledger", plugins=plugins).ret:
        pytest.skip("this pytest-forked does not work with this pytest")
    foreign.write(LEAKS_AND_CLEAN + "\n    def test_crashes(): lib.crash()\n")
    result = foreign.run_apart("--forked", plugins=plugins)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_leaks - heapledger: 1 block, 10 bytes left behind",
            "FAILED *::test_frees_twice - heapledger: double-free",
            "*CRASHED with signal 6*",
        ]
    )


def test_run_parallel(foreign: Suite, needs: Callable[[str], str]) -> None:
    foreign.write(LEAKS_AND_CLEAN)
    plugin = needs("pytest_run_parallel.plugin")
    result = foreign.run_apart("--parallel-threads=4", plugins=(plugin,))
    result.stdout.fnmatch_lines_random(
        [
            "*::test_leaks* - heapledger: 4 blocks, 40 bytes left behind",
            "*::test_frees_twice* - heapledger: double-free (4 times)",
        ]
    )
    result.stdout.no_fnmatch_line("*test_clean* - heapledger*")
