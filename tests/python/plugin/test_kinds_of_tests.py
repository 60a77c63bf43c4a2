"""Kinds of tests other than functions: `unittest.TestCase`, subtests, doctests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Suite


def test_setup_teardown_and_cleanups_of_unittest_are_inside_the_window(suite: Suite) -> None:
    suite.write(
        """
        import unittest
        import heapledger
        from memory import forget, free_twice

        class TestClean(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.shared = heapledger.allocate(100)
            @classmethod
            def tearDownClass(cls): cls.shared.free()
            def setUp(self): self.block = heapledger.allocate(10)
            def tearDown(self): self.block.free()
            def test_uses_the_block(self): pass
            def test_cleans_up(self): self.addCleanup(heapledger.allocate(20).free)
            def test_with_subtests(self):
                for size in (1, 2):
                    with self.subTest(size=size): heapledger.allocate(size).free()

        class TestLeaks(unittest.TestCase):
            def setUp(self): self.size = 30
            def tearDown(self):
                if "tear" in self._testMethodName: forget(31)
            def test_in_the_body(self): forget(self.size)
            def test_in_tear_down(self): pass
            def test_in_a_cleanup(self): self.addCleanup(forget, 32)
            def test_in_a_subtest(self):
                with self.subTest(size=1): forget(33)
                with self.subTest(size=2): pass
            def test_frees_twice(self): free_twice()
            @unittest.expectedFailure
            def test_expected(self): forget(34)
            @unittest.skip("no reason")
            def test_skipped(self): forget(35)
            def test_keeps_it_on_itself(self): self.block = heapledger.allocate(36)

        class TestClassLeaks(unittest.TestCase):
            @classmethod
            def setUpClass(cls): forget(40)
            def test_it(self): pass
        """
    )
    result = suite.run("-rA")
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_in_the_body - heapledger: 1 block, 30 bytes left behind",
            "FAILED *::test_in_tear_down - heapledger: 1 block, 31 bytes left behind",
            "FAILED *::test_in_a_cleanup - heapledger: 1 block, 32 bytes left behind",
            "FAILED *::test_in_a_subtest - heapledger: 1 block, 33 bytes left behind",
            "FAILED *::test_frees_twice - heapledger: double-free",
            "FAILED *::test_expected - Failed: Unexpected success",
            "PASSED *::test_keeps_it_on_itself",
            "heapledger: 1 block, 40 bytes left behind by class-scoped fixture setUpClass",
        ]
    )
    counts = result.parseoutcomes()
    # Garbage of another test in this process may go now, with a warning.
    for uncounted in ("subtests passed", "warnings", "warning"):
        counts.pop(uncounted, None)
    assert counts == {"failed": 6, "skipped": 1, "passed": 5, "errors": 1}


def test_subtests_of_pytest(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        subtests = pytest.importorskip("pytest", minversion="9").fixture

        def test_it(subtests):
            with subtests.test("clean"): pass
            with subtests.test("leaks"): forget(10)
        """
    )
    result = suite.run()
    if "skipped" in result.parseoutcomes():
        return
    result.stdout.fnmatch_lines(["FAILED *::test_it - heapledger: 1 block, 10 bytes left behind"])


def test_an_asynchronous_test_case(foreign: Suite) -> None:
    foreign.write(
        """
        import asyncio, unittest
        from binding import lib

        class TestIt(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self): self.block = lib.make_block(10)
            async def asyncTearDown(self): lib.drop_block(self.block)
            async def test_clean(self): await asyncio.sleep(0)
            async def test_leaks(self):
                await asyncio.sleep(0)
                lib.make_block(11)
        """
    )
    result = foreign.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_leaks - heapledger: 1 block, 11 bytes left*"])


def test_doctests_of_modules_and_files(suite: Suite) -> None:
    suite.write(
        '''
        def clean():
            """
            >>> import heapledger
            >>> block = heapledger.allocate(10)
            >>> block.free()
            """

        def leaks():
            """
            >>> from memory import forget
            >>> forget(20)
            """

        def ends_with_its_names():
            """
            >>> import heapledger
            >>> block = heapledger.allocate(30)
            """
        ''',
        "documented.py",
    )
    suite.write(
        """
        A file of text:

            >>> from memory import forget
            >>> forget(40)
        """,
        "test_text.txt",
    )
    result = suite.run("--doctest-modules", "documented.py", "test_text.txt")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED documented.py::documented.leaks - heapledger: 1 block, 20 bytes left behind",
            "FAILED test_text.txt::test_text.txt - heapledger: 1 block, 40 bytes left behind",
        ]
    )


def test_what_a_doctest_displays_last_is_clean(suite: Suite) -> None:
    suite.write(
        """
        >>> import heapledger
        >>> heapledger.allocate(10) # doctest: +ELLIPSIS
        <heapledger...>
        """,
        "test_display.txt",
    )
    suite.run("test_display.txt").assert_outcomes(passed=1)
