"""Repetition tells what grows with every run from what is allocated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Suite


def test_what_grows_is_told_per_run_and_a_cache_is_not(suite: Suite) -> None:
    suite.write(
        """
        import heapledger
        from memory import forget

        cache = []

        def test_grows(): forget(10, times=2)
        def test_caches():
            if not cache: cache.append(heapledger.allocate(100))
        def test_both():
            forget(7)
            if len(cache) < 2: cache.append(heapledger.allocate(100))
        def test_clean(): heapledger.allocate(5).free()
        """
    )
    result = suite.run("--heapledger-repeat", "4")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "leak of 2 blocks, 20 bytes in every run, allocated *",
            "not failing: 2 findings (2 blocks, 200 bytes) allocated by the first run only, *",
            "FAILED *::test_grows - heapledger: 2 blocks, 20 bytes left behind per run",
            "FAILED *::test_both - heapledger: 1 block, 7 bytes left behind per run",
        ]
    )


def test_what_some_runs_leave_is_no_growth(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget
        runs = []

        def test_sometimes():
            runs.append(1)
            if len(runs) in (2, 4): forget(10)
        """
    )
    result = suite.run("--heapledger-repeat", "5")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["not failing: 1 finding (2 blocks, 20 bytes) left behind by some*"]
    )


def test_different_amounts_per_run_are_both_told(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget
        runs = []

        def test_more_each_time():
            runs.append(1)
            forget(10, times=len(runs))
        """
    )
    report = suite.run_json("--heapledger-repeat", "3")
    [judgement] = report["pytest"]["judgements"]
    [entry] = judgement["entries"]
    assert (entry["verdict"], entry["by_run"], entry["blocks"]) == ("fails", [1, 2, 3], 3)
    assert "2 to 3 blocks, 20 to 30 bytes in every run" in report["findings"][0]["message"]


def test_fixtures_are_set_up_once_and_shared_by_the_runs(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        import heapledger

        made = []

        @pytest.fixture
        def block():
            made.append(1)
            with heapledger.allocate(10) as block:
                yield block
                assert runs == 3

        runs = 0

        @pytest.mark.heapledger(repeat=3)
        def test_it(block):
            global runs
            runs += 1
            assert len(made) == 1
        """
    )
    suite.run().assert_outcomes(passed=1)


def test_what_a_fixture_leaves_is_no_cache_of_the_body(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture
        def forgets(): forget(33)

        def test_it(forgets): pass
        """
    )
    result = suite.run("--heapledger-repeat", "3")
    result.stdout.fnmatch_lines(["FAILED *::test_it - heapledger: 1 block, 33 bytes left behind*"])


def test_a_body_that_fails_the_second_time_is_judged_by_the_runs_it_had(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget
        runs = []

        def test_only_once():
            forget(10)
            runs.append(1)
            assert len(runs) < 3, "not again"

        def test_skips_the_second_time():
            runs.append(1)
            if len(runs) % 2: pytest.skip("odd")
        """
    )
    result = suite.run("--heapledger-repeat", "5")
    result.stdout.fnmatch_lines(
        [
            "note: the body could not be run 5 times (*: not again*): judged by 2 runs",
            "FAILED *::test_only_once - heapledger: 1 block, 10 bytes left behind per run",
        ]
    )


def test_a_test_that_fails_is_not_repeated(suite: Suite) -> None:
    suite.write(
        """
        runs = []

        def test_fails():
            runs.append(1)
            assert not runs, f"{len(runs)} run"
        """
    )
    result = suite.run("--heapledger-repeat", "5")
    result.stdout.fnmatch_lines(["FAILED *::test_fails - AssertionError: 1 run*"])


def test_limits_are_per_run(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget
        def test_it(): forget(10, times=2)
        """
    )
    arguments = ("--heapledger-repeat", "4", "--heapledger-max-blocks")
    suite.run(*arguments, "2").assert_outcomes(passed=1)
    suite.run(*arguments, "1").assert_outcomes(failed=1)


KINDS_OF_TESTS = '''
    import unittest
    import pytest
    import heapledger
    from memory import forget

    class TestPlain:
        def test_grows(self): forget(1)

    class TestCase(unittest.TestCase):
        def setUp(self): self.block = heapledger.allocate(5)
        def tearDown(self): self.block.free()
        def test_grows(self): forget(2)
        def test_clean(self): heapledger.allocate(4).free()

    @pytest.mark.parametrize("size", [3])
    def test_grows(size): forget(size)

    def documented():
        """
        >>> size = 4
        >>> forget(size)
        """
'''


def test_every_kind_of_test_can_be_repeated(suite: Suite) -> None:
    suite.write(KINDS_OF_TESTS)
    result = suite.run("--doctest-modules", "--heapledger-repeat", "3")
    result.assert_outcomes(passed=1, failed=4)
    for size in ("1 byte", "2 bytes", "3 bytes", "4 bytes"):
        result.stdout.fnmatch_lines([f"FAILED * heapledger: 1 block, {size} left behind per run"])


def test_what_a_library_caches_passes_with_and_without_repetition(foreign: Suite) -> None:
    foreign.write(
        """
        import pytest
        from binding import lib

        def test_caches(): lib.look_up(1)

        @pytest.mark.heapledger(repeat=3)
        def test_grows_inside(): lib.log_line()

        @pytest.mark.heapledger(repeat=3)
        def test_grows_and_returns(): lib.make_line()

        @pytest.mark.heapledger(repeat=3)
        def test_returns_a_cache(): lib.the_context()

        @pytest.mark.heapledger(repeat=3)
        def test_leaks(): lib.make_block(6)

        @pytest.mark.heapledger(repeat=3)
        def test_clean(): lib.drop_block(lib.make_block(6))
        """
    )
    result = foreign.run_apart("-rA")
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_grows_and_returns - heapledger: 1 block, 48 bytes left behind per run",
            "FAILED *::test_grows_inside - heapledger: 1 block, 48 bytes left behind per run",
            "FAILED *::test_leaks - heapledger: 1 block, 6 bytes left behind per run",
        ]
    )
