"""Which tests fail: the leaking and the misusing ones, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Suite

EVERY_VERDICT = """
    import gc
    import pytest
    import heapledger
    from memory import forget, free_twice

    cache = []

    def test_clean():
        heapledger.allocate(8).free()

    def test_leaks():
        forget(100, times=3)

    def test_frees_twice():
        free_twice()

    def test_frees_inside():
        with heapledger.allocate(64) as block:
            heapledger.free(block.address + 8)

    @pytest.mark.heapledger(repeat=2)
    def test_caches():
        if not cache:
            cache.append(heapledger.allocate(500))

    def test_imports():
        import decimal, json, logging, re, sqlite3
        logging.getLogger("somebody").warning("for the first time")

    def test_only_the_garbage_collector_can_release_it():
        class Owner:
            def __init__(self):
                self.myself = self
                self.block = heapledger.allocate(40)
        Owner()

    def test_collected_by_the_end():
        heapledger.allocate(7)

    class TestWithState:
        def test_keeps_a_block_on_its_instance(self):
            self.block = heapledger.allocate(9)
"""


def test_every_verdict_is_right(suite: Suite) -> None:
    suite.write(EVERY_VERDICT)
    result = suite.run()
    result.assert_outcomes(passed=6, failed=3)
    result.stdout.fnmatch_lines(
        [
            "FAILED test_suite.py::test_leaks - heapledger: 3 blocks, 300 bytes left behind",
            "FAILED test_suite.py::test_frees_twice - heapledger: double-free",
            "FAILED test_suite.py::test_frees_inside - heapledger: invalid-free",
        ]
    )
    assert result.ret == 1


def test_a_clean_suite_passes_with_one_line(suite: Suite) -> None:
    suite.write("def test_one(): pass\ndef test_two(): pass\n")
    result = suite.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 tests watched in scope explicit: nothing failing"])
    assert result.ret == 0


def test_a_finding_fails_the_test_that_caused_it_each_time(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import free_twice

        @pytest.mark.parametrize("times", [0, 1, 2, 0])
        def test_frees(times):
            for _ in range(times):
                free_twice()
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED *[[]1[]] - heapledger: double-free",
            "FAILED *[[]2[]] - heapledger: double-free (2 times)",
        ]
    )


def test_damage_is_found_in_the_test_that_did_it(suite: Suite) -> None:
    suite.write(
        """
        import ctypes
        import heapledger

        kept = heapledger.allocate(16)

        def test_before(): pass

        def test_writes_past_the_end():
            ctypes.memset(kept.address + 16, 1, 1)

        def test_after(): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_writes_past_the_end - heapledger: heap-overflow"])


def test_a_test_that_fails_anyway_is_not_judged_for_leaks(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget

        def test_fails():
            forget(100)
            assert False, "for its own reason"
        """
    )
    result = suite.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: for its own reason",
            "*- heapledger -*",
            "leak of 1 block, 100 bytes*",
            "*not judged.",
            "not failing: 1 finding (1 block, 100 bytes) left behind by tests that fail anyway",
            "FAILED * - AssertionError: for its own reason*",
        ]
    )


def test_an_error_stands_under_a_test_that_fails_anyway(suite: Suite) -> None:
    suite.write(
        """
        from memory import free_twice

        def test_fails():
            free_twice()
            assert False
        """
    )
    result = suite.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- heapledger -*", "double free of a 48-byte block*"])


def test_leaks_may_be_expected(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        import heapledger
        from memory import forget, free_twice

        @pytest.mark.xfail
        def test_expected(): forget()

        @pytest.mark.xfail(strict=True)
        def test_expected_strictly(): forget()

        @pytest.mark.xfail(raises=heapledger.LeakError)
        def test_this_is_expected(): forget()

        @pytest.mark.xfail(raises=KeyError)
        def test_something_else_is_expected(): forget()

        @pytest.mark.xfail(raises=heapledger.LeakError)
        def test_another_finding_is_no_leak(): free_twice()

        @pytest.mark.xfail
        def test_nothing_happens(): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(xfailed=3, failed=2, xpassed=1)
    result.stdout.fnmatch_lines(
        ["not failing: 3 findings (3 blocks, 30 bytes) of tests that are expected to fail"]
    )


def test_a_test_that_skips_itself_is_judged(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        def test_leaks_and_skips():
            forget()
            pytest.skip("no reason")

        def test_skips():
            pytest.skip("no reason")
        """
    )
    suite.run().assert_outcomes(failed=1, skipped=1)


def test_errors_outside_of_tests_fail_the_session(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget, free_twice

        forget(1000)
        free_twice()

        def test_clean(): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["the session, outside tests (.): double-free"])
    result.stdout.no_fnmatch_line("*1,000 bytes*")
    assert result.ret == 1


def test_what_other_threads_allocate_during_a_test_is_the_tests(suite: Suite) -> None:
    suite.write(
        """
        import threading
        from memory import forget

        def test_in_threads():
            threads = [threading.Thread(target=forget, args=(8,)) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """
    )
    result = suite.run()
    result.stdout.fnmatch_lines(["FAILED * - heapledger: 4 blocks, 32 bytes left behind"])
