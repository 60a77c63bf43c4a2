"""What a failure says: the test's own line, Python before C++, short unless asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from conftest import Suite


def failure_of(result: pytest.RunResult, test: str) -> list[str]:
    """Return the lines under the headline of a failed test."""
    lines = result.outlines
    begin = next(n for n, line in enumerate(lines) if line.strip("_ ") == test) + 1
    end = next(n for n, line in enumerate(lines[begin:], begin) if line[:3] in ("___", "==="))
    return lines[begin:end]


def test_python_frames_come_first_and_the_tests_own_line_is_marked(foreign: Suite) -> None:
    foreign.write(
        """
        from binding import lib

        def helper(size):
            return lib.make_block(size)

        def test_leaks():
            helper(48)
        """
    )
    lines = failure_of(foreign.run_apart(), "test_leaks")
    assert lines[:7] == [
        "heapledger: 1 block, 48 bytes left behind",
        "leak of 1 block, 48 bytes, allocated by misuse.so make_block at test_suite.py:4 in helper",
        "  allocated:",
        "    test_suite.py:4 in helper",
        "  > test_suite.py:7 in test_leaks",
        "        helper(48)",
        lines[6],
    ]
    assert lines[6].startswith("    native make_block (misuse.so) ")
    assert lines[6].split(":")[-1].isdigit()


DEEP = """
    from memory import forget, free_twice

    def down(levels, act):
        act() if levels == 0 else down(levels - 1, act)

    def test_deep():
        down(30, forget)

    def test_many():
        for size in range(1, 30): exec(f"def f{size}(): forget({size})\\nf{size}()", globals())

    def test_deep_error():
        down(30, free_twice)
"""


def test_at_most_twenty_lines_and_the_marked_one_is_among_them(suite: Suite) -> None:
    suite.write(DEEP)
    result = suite.run()
    for test in ("test_deep", "test_many", "test_deep_error"):
        lines = failure_of(result, test)
        assert len(lines) <= 21, test  # the headline and twenty
        assert any(line.startswith("  > ") for line in lines), test
    assert any("more lines: -v shows them" in line for line in failure_of(result, "test_many"))


def test_verbose_shows_all(suite: Suite) -> None:
    suite.write(DEEP)
    result = suite.run("-v")
    assert len([line for line in failure_of(result, "test_deep") if " in down" in line]) > 25
    many = failure_of(result, "test_many")
    assert len([line for line in many if line.startswith("leak of ")]) == 29


def test_hints_are_in_the_failure(suite: Suite) -> None:
    suite.write(
        """
        import heapledger

        def test_frees_twice():
            block = heapledger.allocate(8)
            for _ in range(2): block.free()
        """
    )
    result = suite.run()
    result.stdout.fnmatch_lines(["  hint: both releases come from the same line, *test_suite.py:5"])


def test_a_decorated_method_and_a_doctest_have_their_line_marked(suite: Suite) -> None:
    suite.write(
        '''
        import functools
        from memory import forget

        def decorate(function):
            @functools.wraps(function)
            def inner(*arguments): return function(*arguments)
            return inner

        class TestIt:
            @decorate
            def test_decorated(self):
                forget(3)

        def documented():
            """
            >>> forget(4)
            """
        '''
    )
    result = suite.run("--doctest-modules")
    assert "  > test_suite.py:12 in TestIt.test_decorated" in failure_of(
        result, "TestIt.test_decorated"
    )
    lines = failure_of(result, "[doctest] test_suite.documented")
    assert any(line.startswith("  > <doctest test_suite.documented") for line in lines)


def test_findings_that_fail_nothing_are_mentioned(suite: Suite) -> None:
    suite.write(
        """
        import heapledger
        from memory import forget
        cache = []

        def test_it():
            forget(1)
            if not cache: cache.append(heapledger.allocate(2))
        """
    )
    result = suite.run("--heapledger-repeat=2")
    result.stdout.fnmatch_lines(
        ["also 1 finding allocated by the first run only, as a cache is, not failing"]
    )


def test_traceback_styles_do_not_hide_it(suite: Suite) -> None:
    suite.write("from memory import forget\ndef test_it(): forget(10)\n")
    for style in ("auto", "long", "short", "line", "native"):
        result = suite.run(f"--tb={style}")
        result.stdout.fnmatch_lines(["*heapledger: 1 block, 10 bytes left behind*"])
    result = suite.run("--tb=no")
    result.stdout.fnmatch_lines(["FAILED *::test_it - heapledger: 1 block, 10 bytes left behind"])


def test_one_headline_for_errors_and_leaks(suite: Suite) -> None:
    suite.write(
        """
        from memory import forget, free_twice

        def test_both():
            forget(10)
            for _ in range(3): free_twice()
        """
    )
    result = suite.run()
    result.stdout.fnmatch_lines(
        [
            "heapledger: double-free (3 times), 1 block, 10 bytes left behind",
            "double free of a 48-byte block*",
            "  3 times; the first is shown",
            "leak of 1 block, 10 bytes*",
        ]
    )
