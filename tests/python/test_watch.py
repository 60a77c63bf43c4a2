"""`watch` and `no_leaks`."""

from __future__ import annotations

import gc
import threading

import pytest

import heapledger


def double_free() -> None:
    block = heapledger.allocate(48)
    block.free()
    block.free()


def test_a_watch_answers_during_and_after() -> None:
    with heapledger.watch() as w:
        assert w.leaks == []
        kept = heapledger.allocate(100)
        double_free()
        assert [leak.bytes for leak in w.leaks] == [100]
        assert [finding.kind for finding in w.findings] == ["double-free"]
        assert w.stats.live_bytes == 100
    kept.free()
    later = heapledger.allocate(7)
    heapledger.free(0x10)
    assert [leak.bytes for leak in w.leaks] == [100]
    assert [finding.kind for finding in w.findings] == ["double-free"]
    assert (w.stats.live_blocks, w.stats.total_blocks) == (1, 2)
    assert w.stats.findings == {"double-free": 1}
    later.free()


def test_what_was_there_before_does_not_count() -> None:
    before = heapledger.allocate(100)
    double_free()
    with heapledger.watch() as w:
        before.free()
    assert w.leaks == []
    assert w.findings == []
    assert w.stats.live_blocks == -1


def test_the_same_error_again_is_seen_again() -> None:
    for _ in range(3):
        with heapledger.watch() as w:
            for _ in range(2):
                double_free()
        [finding] = w.findings
        assert (finding.kind, finding.count) == ("double-free", 2)


def test_watches_nest() -> None:
    with heapledger.watch() as outer:
        first = heapledger.allocate(10)
        with heapledger.watch() as inner:
            second = heapledger.allocate(20)
        third = heapledger.allocate(30)
    assert sorted(leak.bytes for leak in inner.leaks) == [20]
    assert sorted(leak.bytes for leak in outer.leaks) == [10, 20, 30]
    for block in (first, second, third):
        block.free()


def test_watches_overlap_in_threads() -> None:
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            for _ in range(20):
                with heapledger.watch() as w:
                    barrier.wait(10)
                    block = heapledger.allocate(100 + index)
                    barrier.wait(10)
                    sizes = [leak.bytes for leak in w.leaks]
                    assert 400 < sum(sizes) < 420, sizes
                    barrier.wait(10)
                    block.free()
                barrier.wait(10)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_leaks_passes_what_is_clean() -> None:
    with heapledger.no_leaks() as w:
        heapledger.allocate(10).free()
        cycle: list[object] = [heapledger.allocate(10)]
        cycle.append(cycle)
        del cycle
    assert w.leaks == []


def test_no_leaks_raises_with_the_report_as_message() -> None:
    with pytest.raises(heapledger.LeakError) as raised, heapledger.no_leaks():
        kept = [heapledger.allocate(336) for _ in range(3)]
    message = str(raised.value)
    assert "3 blocks of native memory (1008 bytes) left behind, 0 allowed" in message
    assert "test_watch.py:" in message
    assert "test_no_leaks_raises_with_the_report_as_message" in message
    assert isinstance(raised.value, AssertionError)
    (finding,) = raised.value.findings
    assert (finding.kind, finding.blocks, finding.bytes) == ("leak", 3, 1008)
    kept.clear()


def test_the_report_of_no_leaks_is_about_its_leaks_only() -> None:
    old = heapledger.allocate(4242)
    double_free()
    with pytest.raises(heapledger.LeakError) as raised, heapledger.no_leaks():
        new = heapledger.allocate(12)
    assert "4242" not in str(raised.value)
    assert "double free" not in str(raised.value)
    assert "1 block of native memory (12 bytes)" in str(raised.value)
    old.free()
    new.free()


def test_max_blocks_allows_some() -> None:
    with heapledger.no_leaks(max_blocks=2):
        kept = [heapledger.allocate(8) for _ in range(2)]
    with pytest.raises(heapledger.LeakError, match="2 allowed"), heapledger.no_leaks(max_blocks=2):
        kept += [heapledger.allocate(8) for _ in range(3)]
    kept.clear()
    with pytest.raises(heapledger.UsageError), heapledger.no_leaks(max_blocks=-1):
        pass
    for limit in (None, "1", 1.0):
        with pytest.raises(TypeError, match="integer"), heapledger.no_leaks(limit):  # type: ignore[arg-type]
            pass


def test_an_error_inside_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), heapledger.no_leaks():  # noqa: PT012
        kept = heapledger.allocate(8)
        kept.view()[0] = 1 // 0
    gc.collect()


def test_no_leaks_is_a_decorator_too() -> None:
    kept = []

    @heapledger.no_leaks()
    def leaky() -> None:
        kept.append(heapledger.allocate(8))

    for _ in range(2):
        with pytest.raises(heapledger.LeakError):
            leaky()
    kept.clear()
