"""A suite of a ctypes package: every verdict, in one process, in several, in any order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite

EVERY_VERDICT = """
    import ctypes
    import os

    import pytest

    from binding import Callback, lib, libc

    cache = {}

    def test_leaks():
        for _ in range(3):
            lib.make_block(100)

    def test_leaks_an_array():
        lib.make_array(10)

    def test_leaks_through_an_out_parameter():
        block = ctypes.c_void_p()
        lib.open_block(ctypes.byref(block), 56)

    def test_leaks_what_a_libc_handle_allocates():
        libc.malloc(64)

    def test_leaks_what_a_string_result_drops():
        lib.greeting.restype = ctypes.c_char_p
        try:
            assert lib.greeting() == b"good morning"
        finally:
            lib.greeting.restype = ctypes.c_void_p

    @pytest.mark.heapledger(repeat=3)
    def test_leaks_in_every_run():
        lib.make_block(7)

    def test_clean():
        lib.drop_block(lib.make_block(100))
        lib.drop_array(lib.make_array(10))

    def test_clean_through_libc_free():
        libc.free(lib.greeting())
        libc.free(lib.make_block(10))

    def test_clean_caches_in_the_library():
        lib.look_up(3)
        lib.log_line()

    @pytest.mark.heapledger(repeat=3)
    def test_clean_caches_in_python():
        if "block" not in cache:
            cache["block"] = lib.make_block(99)

    @pytest.mark.heapledger(repeat=3)
    def test_clean_returns_a_cache():
        assert lib.the_context() == lib.the_context()

    def test_clean_imports():
        import decimal, email.message, hashlib, json, logging, socket, sqlite3, ssl, xml.sax
        logging.getLogger("somebody").warning("for the first time")
        sqlite3.connect(":memory:").close()
        ssl.create_default_context()
        socket.getaddrinfo("127.0.0.1", 80)
        libc.printf(b"printed by C\\n")
        ctypes.CDLL("libm.so.6").cos

    def test_clean_numpy():
        numpy = pytest.importorskip("numpy")
        numpy.linalg.inv(numpy.random.default_rng(1).random((64, 64)))

    def test_clean_in_a_callback():
        made = []
        lib.call_back(Callback(lambda: made.append(lib.make_block(5))))
        lib.drop_block(made[0])

    def test_clean_and_collected():
        class Owner:
            def __init__(self):
                self.itself, self.block = self, lib.make_block(40)
            def __del__(self):
                lib.drop_block(self.block)
        Owner()

    def test_clean_with_a_crashing_child():
        child = os.fork()
        if child == 0:
            lib.crash()
        assert os.waitpid(child, 0)[1] & 0x7f == 6

    def test_errs_double_free():
        block = lib.make_block(48)
        lib.drop_block(block)
        lib.drop_block(block)

    def test_errs_double_free_through_libc():
        block = lib.greeting()
        libc.free(block)
        libc.free(block)

    def test_errs_mismatched_free():
        lib.drop_block(lib.make_array(4))

    def test_errs_invalid_free():
        block = lib.make_block(64)
        lib.drop_block(block + 16)
        lib.drop_block(block)

    def test_errs_heap_overflow():
        block = lib.make_block(16)
        lib.write_past(block, 16)
        lib.drop_block(block)

    def test_raises():
        lib.make_block(30)
        raise KeyError("for its own reason")

    def test_skips():
        pytest.skip("no reason")
"""


def _verdicts(outcome: dict[str, str]) -> None:
    """Assert that each test ended as its name says."""
    assert len(outcome) == 23
    for name, ended in outcome.items():
        word = name.split("_")[1]
        expected = {"clean": "PASSED", "skips": "SKIPPED"}.get(word, "FAILED")
        is_without_numpy = (name, ended) == ("test_clean_numpy", "SKIPPED")
        assert ended == expected or is_without_numpy, f"{name} {ended}"


def _outcomes(result: pytest.RunResult) -> dict[str, str]:
    """Read the outcomes from the output of `-v`, with xdist or without."""
    lines = [re.sub(r"^\[gw\d\] \[ *\d+%\] ", "", line) for line in result.outlines]
    forms = [
        re.compile(r"^\S+::(?P<name>test_\w+) (?P<ended>[A-Z]+)"),
        re.compile(r"^(?P<ended>[A-Z]+) \S+::(?P<name>test_\w+) *$"),
    ]
    found = (form.match(line) for line in lines for form in forms)
    return {match["name"]: match["ended"] for match in found if match}


KINDS = ["double-free", "heap-overflow", "invalid-free", "mismatched-free"]


def _failures(result: pytest.RunResult) -> None:
    """Assert that each failing test says what it did."""
    text = result.stdout.str()
    for kind in KINDS:
        name = f"test_errs_{kind.replace('-', '_')}"
        assert re.search(rf"FAILED \S+::{name} - heapledger: {kind}\n", text), name
    for name, what in {
        "test_leaks": "3 blocks, 300 bytes left behind",
        "test_leaks_an_array": "1 block, 80 bytes left behind",
        "test_leaks_through_an_out_parameter": "1 block, 56 bytes left behind",
        "test_leaks_what_a_libc_handle_allocates": "1 block, 64 bytes left behind",
        "test_leaks_what_a_string_result_drops": "1 block, 13 bytes left behind",
        "test_leaks_in_every_run": "1 block, 7 bytes left behind per run",
        "test_raises": "KeyError: 'for its own reason'",
    }.items():
        assert re.search(rf"FAILED \S+::{name} - (heapledger: )?{what}\n", text), name


def test_every_verdict_in_one_process(foreign: Suite) -> None:
    foreign.write(EVERY_VERDICT)
    result = foreign.run_apart("-v")
    _verdicts(_outcomes(result))
    _failures(result)
    result.stdout.fnmatch_lines(
        [
            "23 tests watched in scope foreign: *2 double-free, 1 heap-overflow, 1 invalid-free, "
            "1 mismatched-free; 11 tests failed for it",
        ]
    )


def test_every_verdict_in_two_processes(foreign: Suite, needs: Callable[[str], str]) -> None:
    foreign.write(EVERY_VERDICT)
    result = foreign.run_apart("-v", "-n", "2", plugins=(needs("xdist.plugin"),))
    _verdicts(_outcomes(result))
    _failures(result)
    result.stdout.fnmatch_lines(["23 tests watched in scope foreign: *; 11 tests failed for it"])


@pytest.mark.parametrize("seed", [1, 2])
def test_every_verdict_in_random_order(
    foreign: Suite, needs: Callable[[str], str], seed: int
) -> None:
    foreign.write(EVERY_VERDICT)
    plugin = needs("pytest_randomly")
    result = foreign.run_apart("-v", f"--randomly-seed={seed}", plugins=(plugin,))
    _verdicts(_outcomes(result))
    _failures(result)


def test_functions_that_were_looked_up_before_the_session_are_seen(foreign: Suite) -> None:
    foreign.write("import binding\n", "early.py")
    foreign.write(
        """
        from binding import lib, libc

        def test_clean():
            for _ in range(20): libc.free(lib.make_block(1000))
        def test_leaks(): libc.malloc(50)
        def test_frees_twice():
            block = libc.malloc(60)
            for _ in range(2): libc.free(block)
        """
    )
    # Plugins of the command line are imported before ours is asked for anything.
    result = foreign.run_apart(plugins=("early",))
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED *::test_leaks - heapledger: 1 block, 50 bytes left behind",
            "FAILED *::test_frees_twice - heapledger: double-free",
        ]
    )


def test_a_test_that_crashes_fails_alone_under_xdist(
    foreign: Suite, needs: Callable[[str], str]
) -> None:
    foreign.write(
        """
        from binding import lib

        def test_leaks_before(): lib.make_block(10)
        def test_crashes(): lib.crash()
        def test_leaks_after(): lib.make_block(20)
        def test_clean(): lib.drop_block(lib.make_block(30))
        """
    )
    result = foreign.run_apart("-n", "1", plugins=(needs("xdist.plugin"),))
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "3 tests watched*: 2 blocks, 30 bytes left behind; 2 tests failed for it",
            "FAILED *::test_leaks_before - heapledger: 1 block, 10 bytes left behind",
            "FAILED *::test_crashes*",
            "FAILED *::test_leaks_after - heapledger: 1 block, 20 bytes left behind",
        ]
    )
    result.stderr.fnmatch_lines(["Fatal Python error: Aborted*"])


def test_a_text_of_an_object_that_outlives_the_test_is_the_objects(foreign: Suite) -> None:
    # As a package does that opens its library's object once, and asks it in each test.
    foreign.write(
        """
        import ctypes

        import pytest

        from binding import lib

        @pytest.fixture(scope="module")
        def parser():
            parser = lib.open_parser()
            yield parser
            lib.close_parser(parser)

        def test_asks(parser):
            for _ in range(2):
                assert lib.describe_parser(parser).startswith(b"a parser")

        def test_asks_again(parser):
            lib.describe_parser(parser)

        def test_loses_a_text(parser):
            lib.greeting.restype = ctypes.c_char_p
            lib.greeting()
        """
    )
    result = foreign.run_apart("-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_loses_a_text FAILED*",
            "leak of 1 block, 13 bytes, allocated by misuse.so greeting *",
            "not failing: 2 findings (2 blocks, 58 bytes) kept by a library,*",
        ]
    )
