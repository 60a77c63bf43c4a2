"""When the session begins: with the import that makes foreign calls possible, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import unindented

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

MODULES = """
    import sys

    def pytest_unconfigure(config):
        print("loaded:", "heapledger._native.library" in sys.modules)
        print("finders:", sum("heapledger" in repr(finder) for finder in sys.meta_path))
"""


@pytest.fixture
def waiting(foreign: Suite) -> Suite:
    """Return a suite whose plugin comes by the entry point, which imports no library."""
    foreign.door = "heapledger_pytest"
    foreign.write(MODULES, "conftest.py")
    return foreign


def test_a_suite_without_foreign_calls_never_loads_the_library(waiting: Suite) -> None:
    waiting.write(
        """
        import pytest

        @pytest.fixture(scope="module")
        def number():
            yield 1

        def test_a(number):
            assert number == 1

        def test_b():
            pytest.skip("for no reason")
        """
    )
    result = waiting.run_apart()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["heapledger: scope foreign, *", "2 tests watched in scope foreign: nothing failing"]
    )
    result.stdout.fnmatch_lines(["loaded: False", "finders: 0"])


def test_it_begins_with_the_module_that_imports_ctypes(waiting: Suite) -> None:
    waiting.write(
        """
        from binding import lib

        def test_leaks():
            lib.make_block(10)

        def test_clean():
            lib.drop_block(lib.make_block(10))
        """
    )
    result = waiting.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["loaded: True", "finders: 0"])


IMPORTS = {
    "setup": """
        @pytest.fixture
        def lib():
            from binding import lib
            return lib

        def test_leaks(lib):
            lib.make_block(10)
        """,
    "teardown": """
        @pytest.fixture
        def late():
            yield
            from binding import lib
            lib.make_block(10)

        def test_leaks(late):
            pass
        """,
    "body": """
        class TestLate(unittest.TestCase):
            def test_leaks(self):
                from binding import lib
                lib.make_block(10)
        """,
    "thread": """
        def test_leaks():
            def work():
                from binding import lib
                lib.make_block(10)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """,
}


@pytest.mark.parametrize("where", IMPORTS)
def test_the_test_that_imports_ctypes_first_is_judged_like_any_other(
    waiting: Suite, where: str
) -> None:
    beginning = "import threading, unittest\nimport pytest\ndef test_before():\n    pass\n"
    waiting.write(f"{beginning}{unindented(IMPORTS[where])}\ndef test_after():\n    pass\n")
    result = waiting.run_apart("-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*1 block, 10 bytes left behind*"])


def test_a_fixture_that_imports_ctypes_first_keeps_what_is_its_own(waiting: Suite) -> None:
    waiting.write(
        """
        import pytest

        @pytest.fixture(scope="module")
        def block():
            from binding import lib
            block = lib.make_block(10)
            yield block
            lib.drop_block(block)

        @pytest.fixture(scope="module")
        def lost(block):
            from binding import lib
            lib.make_block(20)

        def test_a(block):
            pass

        def test_b(lost):
            pass

        def test_c():
            pass
        """
    )
    result = waiting.run_apart()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*1 block, 20 bytes left behind by module-scoped fixture lost*"])


def test_a_marker_has_the_session_begin_before_its_test(waiting: Suite) -> None:
    waiting.write(
        """
        import pytest

        cache = []

        @pytest.mark.heapledger(repeat=3)
        def test_caches():
            from binding import lib
            if not cache:
                cache.append(lib.make_block(10))

        @pytest.mark.heapledger(repeat=3)
        def test_leaks():
            from binding import lib
            lib.make_block(10)
        """
    )
    result = waiting.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*1 block, 10 bytes left behind per run*"])


def test_a_program_that_imports_heapledger_itself_finds_all_of_it(waiting: Suite) -> None:
    waiting.write(
        """
        import pytest

        def test_leaks():
            import heapledger.session
            from heapledger.watching import Watch
            assert heapledger.session is __import__("sys").modules["heapledger.session"]
            assert heapledger.session.__spec__.loader.__class__.__name__ == "SourceFileLoader"
            with heapledger.watch() as watched:
                assert isinstance(watched, Watch)
                heapledger.session.interface.malloc(10)
            assert watched.stats.total_blocks == 1

        def test_watches(heapledger_watch):
            from binding import lib
            lib.drop_block(lib.make_block(10))
            assert heapledger_watch.stats.total_blocks == 1
        """
    )
    result = waiting.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*1 block, 10 bytes left behind*"])


def test_ctypes_is_imported_once_and_as_always(waiting: Suite) -> None:
    waiting.write(
        """
        import importlib.util
        import sys

        def test_clean():
            assert "_ctypes" not in sys.modules
            assert importlib.util.find_spec("ctypes").origin.endswith("__init__.py")
            import _ctypes
            import ctypes
            assert ctypes.Structure is _ctypes.Structure is sys.modules["_ctypes"].Structure
            assert ctypes.__spec__.loader is ctypes.__loader__
            assert "heapledger" not in repr(ctypes.__spec__) + repr(_ctypes.__spec__)
            assert importlib.reload(ctypes) is ctypes
        """
    )
    waiting.run_apart().assert_outcomes(passed=1)


def test_processes_of_xdist_wait_too(waiting: Suite, needs: Callable[[str], str]) -> None:
    xdist = needs("xdist")
    waiting.write("def test_a():\n    pass\n\ndef test_b():\n    pass\n", "test_plain.py")
    waiting.write(
        """
        def test_leaks():
            from binding import lib
            lib.make_block(10)
        """
    )
    result = waiting.run_apart("-n", "2", "--dist", "loadfile", plugins=(xdist,))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["3 tests watched in scope foreign: 1 block, 10 bytes left*"])


def test_a_library_that_cannot_be_used_ends_the_run_with_what_to_do(
    waiting: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = waiting.write("no library", "libheapledger.so")
    monkeypatch.setenv("HEAPLEDGER_LIBRARY", str(broken))
    waiting.write(
        """
        def test_a():
            import ctypes

        def test_b():
            raise AssertionError("not run")
        """
    )
    result = waiting.run_apart()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*heapledger: *libheapledger.so*cannot be loaded*"])
    monkeypatch.setenv("HEAPLEDGER_LIBRARY", str(broken) + ".not")
    result = waiting.run_apart()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*libheapledger.so.not does not exist*"])
