"""Fixtures: those of a test are inside its window, those of wider scope are judged at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite


def test_what_a_fixture_allocates_and_releases_is_clean(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        import heapledger

        made = []

        @pytest.fixture
        def block():
            block = heapledger.allocate(10)
            yield block
            block.free()

        @pytest.fixture(autouse=True)
        def always(request):
            made.append(heapledger.allocate(20))
            request.addfinalizer(lambda: made.pop().free())

        def test_uses_it(block): pass
        def test_keeps_it(block, monkeypatch): monkeypatch.setattr(pytest, "kept", block, False)
        """
    )
    suite.run().assert_outcomes(passed=2)


def test_what_a_fixture_of_a_test_leaves_behind_is_the_tests(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture
        def sets_up(): forget(1)

        @pytest.fixture
        def tears_down():
            yield
            forget(2)

        @pytest.fixture(params=["good", "bad"])
        def chosen(request):
            if request.param == "bad": forget(3)

        def setup_function(function):
            if function.__name__ == "test_with_setup_function": forget(4)

        def teardown_function(function):
            if function.__name__ == "test_with_teardown_function": forget(5)

        class TestMethods:
            def setup_method(self): forget(6)
            def test_with_setup_method(self): pass

        def test_sets_up(sets_up): pass
        def test_tears_down(tears_down): pass
        def test_chosen(chosen): pass
        def test_with_setup_function(): pass
        def test_with_teardown_function(): pass
        """
    )
    result = suite.run("-rA")
    result.assert_outcomes(passed=1, failed=6)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_sets_up - heapledger: 1 block, 1 byte left behind",
            "FAILED *::test_tears_down - heapledger: 1 block, 2 bytes left behind",
            "PASSED *::test_chosen[[]good[]]",
            "FAILED *::test_chosen[[]bad[]] - heapledger: 1 block, 3 bytes left behind",
            "FAILED *::test_with_setup_function - heapledger: 1 block, 4 bytes left behind",
            "FAILED *::test_with_teardown_function - heapledger: 1 block, 5 bytes left behind",
            "FAILED *::test_with_setup_method - heapledger: 1 block, 6 bytes left behind",
        ]
    )


SCOPES = ["class", "module", "package", "session"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_fixture_of_wider_scope_is_judged_when_it_ends(suite: Suite, scope: str) -> None:
    suite.write(
        f"""
        import pytest
        import heapledger
        from memory import forget

        @pytest.fixture(scope="{scope}")
        def releases():
            with heapledger.allocate(10) as block:
                yield block

        @pytest.fixture(scope="{scope}")
        def forgets():
            forget(100)
            yield
            forget(11)

        class TestThem:
            def test_first(self, releases, forgets): pass
            def test_leaks(self, releases, forgets): forget(7)
            def test_last(self, releases, forgets): pass
        """
    )
    result = suite.run("-rA")
    result.assert_outcomes(passed=3 - 1, failed=1, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_first",
            "FAILED *::test_leaks - heapledger: 1 block, 7 bytes left behind",
            "ERROR *::test_last - heapledger: 2 blocks, 111 bytes left behind",
            f"heapledger: 2 blocks, 111 bytes left behind by {scope}-scoped fixture forgets",
        ]
    )


def test_what_tests_put_into_a_wider_fixture_is_the_tests(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        import heapledger

        @pytest.fixture(scope="module")
        def pool():
            blocks = []
            yield blocks
            for block in blocks: block.free()

        def test_takes_and_gives_back(pool):
            pool.append(heapledger.allocate(10))
            pool.pop().free()

        def test_leaves_one_in_the_pool(pool):
            pool.append(heapledger.allocate(20))

        def test_nothing(pool): pass
        """
    )
    result = suite.run()
    result.stdout.fnmatch_lines(["FAILED *::test_leaves_one_in_the_pool - *1 block, 20 bytes*"])
    result.assert_outcomes(passed=2, failed=1)


def test_fixtures_within_fixtures_are_each_their_own(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture(scope="session")
        def inner():
            forget(1)
            yield
            forget(2)

        @pytest.fixture(scope="module")
        def outer(inner):
            forget(10)
            yield
            forget(20)

        def test_one(outer): pass
        """
    )
    result = suite.run()
    result.stdout.fnmatch_lines_random(
        [
            "heapledger: 2 blocks, 30 bytes left behind by module-scoped fixture outer",
            "heapledger: 2 blocks, 3 bytes left behind by session-scoped fixture inner",
        ]
    )
    result.assert_outcomes(passed=1, errors=1)


def test_a_parametrised_module_fixture_is_judged_for_each_value(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture(scope="module", params=[0, 5, 0, 6])
        def some(request):
            if request.param: forget(request.param)

        def test_one(some): pass
        """
    )
    result = suite.run()
    # pytest ends the fixture with one value when it sets it up with the next.
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        [
            "heapledger: 1 block, 5 bytes left behind by module-scoped fixture some[[]5[]]",
            "heapledger: 1 block, 6 bytes left behind by module-scoped fixture some[[]6[]]",
        ]
    )


def test_fixtures_and_finalisers_of_a_conftest(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        import heapledger

        @pytest.fixture(scope="session", autouse=True)
        def library():
            block = heapledger.allocate(1000)
            yield
            block.free()

        @pytest.fixture
        def handle(request):
            block = heapledger.allocate(10)
            request.addfinalizer(block.free)
            return block

        def pytest_sessionfinish(session):
            heapledger.allocate(3).free()
        """,
        "conftest.py",
    )
    suite.write("def test_one(handle): pass\ndef test_two(handle): pass\n")
    result = suite.run()
    result.assert_outcomes(passed=2)
    assert result.ret == 0


def test_xunit_setup_of_classes_and_modules(suite: Suite) -> None:
    suite.write(
        """
        import heapledger
        from memory import forget

        def setup_module(module): module.block = heapledger.allocate(9)
        def teardown_module(module): module.block.free()

        class TestGood:
            @classmethod
            def setup_class(cls): cls.block = heapledger.allocate(8)
            @classmethod
            def teardown_class(cls): cls.block.free()
            def test_one(self): pass

        class TestBad:
            @classmethod
            def setup_class(cls): forget(70)
            def test_two(self): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["heapledger: 1 block, 70 bytes left behind by class-scoped fixture setup_class"]
    )


def test_a_fixture_that_raises_is_not_judged_for_leaks(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import forget

        @pytest.fixture(scope="module")
        def broken():
            forget(100)
            raise KeyError("broken")

        def test_one(broken): pass
        def test_two(): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["ERROR *::test_one - KeyError: 'broken'"])


def test_errors_in_wider_fixtures_are_named_with_them(suite: Suite) -> None:
    suite.write(
        """
        import pytest
        from memory import free_twice

        @pytest.fixture(scope="module")
        def twice():
            yield
            free_twice()

        def test_one(twice): pass
        """
    )
    result = suite.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["heapledger: double-free by module-scoped fixture twice"])


def test_the_fixture_heapledger_watch(suite: Suite) -> None:
    suite.write(
        """
        import heapledger
        from memory import free_twice

        def test_it(heapledger_watch):
            block = heapledger.allocate(12)
            assert [leak.bytes for leak in heapledger_watch.leaks] == [12]
            block.free()
            assert not heapledger_watch.leaks
            assert heapledger_watch.stats.total_blocks == 1

        def test_findings(heapledger_watch):
            free_twice()
            assert [finding.kind for finding in heapledger_watch.findings] == ["double-free"]
        """
    )
    suite.run("--no-heapledger").assert_outcomes(passed=2)
    suite.run().assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_an_object_that_goes_with_its_fixture_is_clean(suite: Suite, scope: str) -> None:
    # The last test that had it as an argument ends together with the fixture.
    suite.write(
        f"""
        import pytest
        import heapledger

        @pytest.fixture(scope={scope!r})
        def block():
            return heapledger.allocate(30)

        class TestBlock:
            def test_first(self, block): pass
            def test_last(self, block): pass
        """
    )
    suite.run().assert_outcomes(passed=2)
