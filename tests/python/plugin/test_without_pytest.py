"""Without pytest: `unittest`'s test case, `growth`, `no_leaks` and `watch` over foreign calls."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite


def run(foreign: Suite, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the suite's directory."""
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=foreign.path, capture_output=True, text=True, timeout=60, check=False
    )


def run_script(foreign: Suite, source: str) -> str:
    """Run source text, which must succeed in silence on stderr, and return what it prints."""
    foreign.write(source, "script.py")
    finished = run(foreign, "script.py")
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


TEST_CASE = """
    import unittest
    from binding import lib
    from heapledger.unittest import LeakTestCase

    class Tests(LeakTestCase):
        def setUp(self): self.block = lib.make_block(5)
        def tearDown(self): lib.drop_block(self.block)

        def test_clean(self): lib.drop_block(lib.make_block(10))
        def test_cleans_up(self): self.addCleanup(lib.drop_block, lib.make_block(10))
        def test_caches_in_the_library(self): lib.look_up(3)
        def test_leaks(self): lib.make_block(10)
        def test_leaks_in_a_cleanup(self): self.addCleanup(lib.make_block, 11)
        def test_leaks_in_a_subtest(self):
            for size in (12, 13):
                with self.subTest(size=size): lib.make_block(size)
        def test_frees_twice(self):
            block = lib.make_block(48)
            lib.drop_block(block)
            lib.drop_block(block)
        def test_fails_by_itself(self):
            lib.make_block(14)
            self.fail("for its own reason")
        @unittest.expectedFailure
        def test_expected(self): lib.make_block(15)
        @unittest.skip("no reason")
        def test_skipped(self): lib.make_block(16)
        def test_garbage(self):
            class Owner:
                def __init__(self): self.itself, self.block = self, lib.make_block(17)
                def __del__(self): lib.drop_block(self.block)
            Owner()

    class Limits(LeakTestCase):
        heapledger_max_blocks = 2
        def test_two(self): [lib.make_block(1) for _ in range(2)]
        def test_three(self): [lib.make_block(2) for _ in range(3)]

    class Kinds(LeakTestCase):
        heapledger_kinds = {"double-free"}
        def test_leaks(self): lib.make_block(3)

    class Kept(LeakTestCase):
        heapledger_kept = "fail"
        def test_keeps(self): lib.log_line()

    class Setup(LeakTestCase):
        def setUp(self):
            lib.make_block(20)
            self.skipTest("after all")
        def test_it(self): pass

    if __name__ == "__main__":
        unittest.main()
"""

FAILING = {
    "Tests.test_leaks": "LeakError: 1 block of native memory left behind",
    "Tests.test_leaks_in_a_cleanup": "LeakError: 1 block of native memory left behind",
    "Tests.test_leaks_in_a_subtest": "LeakError: 2 blocks of native memory left behind",
    "Tests.test_frees_twice": "FindingError: native memory was misused: double-free",
    "Tests.test_fails_by_itself": "AssertionError: for its own reason",
    "Limits.test_three": "LeakError: 3 blocks of native memory left behind",
    "Kept.test_keeps": "LeakError: 1 block of native memory left behind",
}


def test_unittest_runs_every_verdict(foreign: Suite) -> None:
    foreign.write(TEST_CASE, "test_them.py")
    for words in (("-m", "unittest", "test_them"), ("test_them.py",)):
        finished = run(foreign, *words)
        sections = finished.stderr.split("=" * 70)[1:]
        failed = {section.split("(")[1].split(")")[0]: section for section in sections}
        failed = {name.split(".", 1)[1]: section for name, section in failed.items()}
        assert set(failed) == set(FAILING)
        for name, sentence in FAILING.items():
            assert sentence in failed[name], name
        assert "FAILED (failures=7, skipped=2, expected failures=1)" in finished.stderr
        assert "  > test_them.py:12 in Tests.test_leaks" in failed["Tests.test_leaks"]
        assert "native make_block (misuse.so)" in failed["Tests.test_leaks"]


@pytest.mark.parametrize("with_plugin", [False, True])
def test_the_test_case_works_under_pytest_too(foreign: Suite, with_plugin: bool) -> None:
    foreign.write(TEST_CASE, "test_them.py")
    result = foreign.run_apart(*([] if with_plugin else ["--no-heapledger"]), "-rf")
    failed = {
        line.split(" ")[1].split("::", 1)[1].replace("::", ".")
        for line in result.outlines
        if line.startswith("FAILED ")
    }
    assert failed - {"Kinds.test_leaks", "Limits.test_two"} >= set(FAILING)


def test_the_leaks_of_a_script_that_starts_in_its_middle(foreign: Suite) -> None:
    out = run_script(
        foreign,
        """
        from binding import lib, libc
        lib.make_block(1000)
        import heapledger

        heapledger.start()
        mark = heapledger.mark()
        kept = [lib.make_block(10) for _ in range(12)]
        for _ in range(10): libc.free(kept.pop())
        lib.drop_block(lib.make_block(7))
        [leak] = heapledger.leaks()
        assert (leak.blocks, leak.bytes) == (2, 20), leak
        assert leak.handed_to_python and leak.foreign_function.name == "make_block"
        assert [f.line for f in leak.stacks["allocated"] if f.language == "python"][-1] == 7
        assert heapledger.leaks(since=mark) == [leak]
        assert heapledger.leaks(since=heapledger.mark()) == []
        block = lib.make_block(48)
        lib.drop_block(block)
        lib.drop_block(block)
        [error] = heapledger.findings()
        assert error.kind == "double-free"
        heapledger.stop()
        lib.make_block(5)
        assert sum(leak.blocks for leak in heapledger.leaks()) == 2
        heapledger.start(checks=())
        lib.make_block(6)
        # What was live between two sessions may have been released unseen.
        assert sum(leak.blocks for leak in heapledger.leaks()) == 1
        print("done")
        """,
    )
    assert out == "done\n"


def test_no_leaks_over_foreign_calls(foreign: Suite) -> None:
    run_script(
        foreign,
        """
        import threading
        import heapledger
        from binding import lib

        heapledger.start()
        with heapledger.no_leaks():
            lib.drop_block(lib.make_block(10))
        try:
            with heapledger.no_leaks():
                lib.make_block(77)
        except heapledger.LeakError as error:
            assert isinstance(error, AssertionError)
            text = str(error)
        assert "77 bytes" in text and "make_block" in text and "script.py:10" in text, text

        def work(count):
            with heapledger.watch() as inner:
                blocks = [lib.make_block(8) for _ in range(count)]
            assert sum(leak.blocks for leak in inner.leaks) >= count
            for block in blocks: lib.drop_block(block)

        with heapledger.no_leaks(), heapledger.watch() as outer:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 6)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        assert outer.leaks == [] and outer.stats.total_blocks == 15
        """,
    )


def test_growth_over_foreign_calls(foreign: Suite) -> None:
    run_script(
        foreign,
        """
        import heapledger
        from binding import lib

        heapledger.start()
        kept = {}

        def work():
            lib.look_up(1)
            lib.drop_block(lib.make_block(10))
            if "once" not in kept: kept["once"] = lib.make_block(11)
            lib.make_block(20)
            for _ in range(3): lib.make_array(2)

        grown = heapledger.growth(work)
        assert [(one.blocks_per_run, one.bytes_per_run) for one in grown] == [(3, 48), (1, 20)]
        assert all(len(one.blocks_by_run) == 5 for one in grown)
        assert [one.foreign_function.name for one in grown] == ["make_array", "make_block"]
        assert grown[1].stacks["allocated"][-1].function == "<module>"
        assert "1 block, 20 bytes in each of 5 runs" in grown[1].message
        assert heapledger.growth(lambda: lib.look_up(1)) == []
        assert [one.blocks for one in heapledger.growth(work, runs=2, warmup=0)] == [6, 2]
        """,
    )


def test_growth_of_what_goes_through_heapledger() -> None:
    import heapledger

    kept = []
    runs = []

    def work() -> None:
        runs.append(1)
        kept.append(heapledger.allocate(10))
        if len(runs) % 2:
            kept.append(heapledger.allocate(20))

    [grown] = heapledger.growth(work, runs=4, warmup=3)
    assert len(runs) == 7
    assert (grown.blocks, grown.bytes, grown.kind) == (4, 40, "leak")
    assert grown.to_dict()["blocks_by_run"] == [1, 1, 1, 1]
    assert heapledger.Growth.from_dict(grown.to_dict()) == grown
    for block in kept:
        block.free()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"runs": 0}, ValueError), ({"warmup": -1}, ValueError), ({"runs": 1, "warmup": 0}, None)],
)
def test_growth_refuses_what_makes_no_sense(
    arguments: dict[str, int], error: type[Exception] | None
) -> None:
    import heapledger

    if error is None:
        assert heapledger.growth(lambda: None, **arguments) == []
        return
    with pytest.raises(error, match="growth needs runs") as raised:
        heapledger.growth(lambda: None, **arguments)
    assert isinstance(raised.value, heapledger.HeapledgerError)
    with pytest.raises(TypeError, match="a function is needed, got int"):
        heapledger.growth(3)  # type: ignore[arg-type]


def test_what_a_measured_function_raises_goes_through() -> None:
    import heapledger

    def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        heapledger.growth(work)
