"""`pair`: which function releases what which function allocates."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest

import heapledger

if TYPE_CHECKING:
    from heapledger import Family, Watch


@pytest.fixture
def foo(shared: ctypes.CDLL) -> Family:
    return heapledger.pair(allocate=shared.foo_open, release=shared.foo_close)


@pytest.fixture
def bar(shared: ctypes.CDLL) -> Family:
    return heapledger.pair(allocate=shared.bar_open, release=shared.bar_close)


def kinds(watch: Watch) -> list[str]:
    return [finding.kind for finding in watch.findings]


def test_checked_functions_work_like_the_functions(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    handle = foo.allocate(7)
    assert shared.foo_value(handle) == 7
    described = heapledger.describe(handle)
    assert described is not None
    assert described.state == "live"
    assert "foo_open" in described.family
    assert foo.release(handle) == 7
    assert watched.findings == []
    assert watched.leaks == []


def test_a_handle_never_released_is_a_leak(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    handle = foo.allocate(7)
    (leak,) = watched.leaks
    assert (leak.blocks, leak.bytes) == (1, 0)
    foo.release(handle)
    assert watched.leaks == []


def test_releasing_twice_is_a_finding_and_is_not_executed(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    released = shared.released()
    handle = foo.allocate(7)
    assert foo.release(handle) == 7
    assert foo.release(handle) is None
    assert shared.released() == released + 1
    assert kinds(watched) == ["double-free"]


def test_another_familys_release_is_a_mismatch_and_is_not_executed(
    shared: ctypes.CDLL, foo: Family, bar: Family, watched: Watch
) -> None:
    released = shared.released()
    handle = foo.allocate(7)
    bar.release(handle)
    assert shared.released() == released
    (finding,) = watched.findings
    assert finding.kind == "mismatched-free"
    assert "foo_close" in finding.message
    assert "bar_close" in finding.message
    assert foo.release(handle) == 7
    assert shared.released() == released + 1


def test_adopt_takes_the_family_of_its_free_function(
    shared: ctypes.CDLL, foo: Family, bar: Family, watched: Watch
) -> None:
    block = heapledger.adopt(shared.foo_open(3), 4, free=shared.foo_close)
    described = heapledger.describe(block.address)
    assert described is not None
    assert "foo_open" in described.family
    bar.release(block.address)
    assert kinds(watched) == ["mismatched-free"]
    assert not block.freed
    block.free()
    assert block.freed
    assert len(watched.findings) == 1


def test_the_function_is_recognised_by_its_code(
    shared_library_path: object, foo: Family, watched: Watch
) -> None:
    again = ctypes.CDLL(str(shared_library_path))
    again.foo_open.restype = ctypes.c_void_p
    block = heapledger.adopt(again.foo_open(3), 4, free=again["foo_close"])
    described = heapledger.describe(block.address)
    assert described is not None
    assert "foo_open" in described.family
    block.free()
    assert watched.findings == []


def test_freeing_a_block_by_the_wrong_declared_function_is_a_mismatch(
    shared: ctypes.CDLL, foo: Family, bar: Family, watched: Watch
) -> None:
    released = shared.released()
    handle = foo.allocate(7)
    block = heapledger.adopt(handle, 4, free=shared.bar_close)
    block.free()
    assert kinds(watched) == ["mismatched-free"]
    assert not block.freed
    del block  # Does not try again.
    assert shared.released() == released
    assert len(watched.findings) == 1
    foo.release(handle)
    assert shared.released() == released + 1


def test_adopting_a_handle_completes_its_record(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    handle = foo.allocate(7)
    block = heapledger.adopt(handle, 4, free=shared.foo_close)
    described = heapledger.describe(handle)
    assert described is not None
    assert described.size == 4
    assert described.stacks["allocated"][0].function == (
        "test_adopting_a_handle_completes_its_record"
    )
    assert block.array("int32")[0] == 7
    block.free()
    assert watched.findings == []
    assert watched.leaks == []


def test_a_recorded_block_can_get_a_declared_owner_later(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    handle = shared.foo_open(7)
    heapledger.adopt(handle, 4)
    block = heapledger.adopt(handle, free=shared.foo_close)
    assert block.size == 4
    block.free()
    assert block.freed
    assert watched.findings == []
    part = heapledger.adopt(foo.allocate(7), 4)
    smaller = heapledger.adopt(part.address, 2, free=shared.foo_close)
    assert smaller.size == 2
    smaller.free()
    assert watched.findings == []
    assert watched.leaks == []


def test_release_through_the_family_releases_the_block(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    block = heapledger.adopt(foo.allocate(7), 4, free=shared.foo_close)
    view = block.view()
    with pytest.raises(BufferError):
        foo.release(block.address)
    del view
    assert foo.release(block) == 7
    assert block.freed
    block.free()
    assert kinds(watched) == ["double-free"]


def test_an_undeclared_function_claims_no_family(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    block = heapledger.adopt(foo.allocate(7), 4, free=lambda pointer: shared.foo_close(pointer))
    block.free()
    assert watched.findings == []


def test_pairs_that_share_a_function_are_one_family(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    same = heapledger.pair(allocate=shared.foo_open, release=shared.foo_close)
    assert same.number == foo.number

    def foo_open_twice(value: int) -> int:
        return int(shared.foo_open(2 * value))

    double = heapledger.pair(allocate=foo_open_twice, release=shared.foo_close)
    assert double.number == foo.number
    assert foo.release(double.allocate(4)) == 8
    assert watched.findings == []


def test_a_pair_across_two_families_is_refused(
    shared: ctypes.CDLL, foo: Family, bar: Family
) -> None:
    with pytest.raises(heapledger.UsageError, match="two different families"):
        heapledger.pair(allocate=shared.foo_open, release=shared.bar_close)


def test_null_is_passed_on_and_not_recorded(shared: ctypes.CDLL, watched: Watch) -> None:
    family = heapledger.pair(allocate=shared.null_open, release=shared.free_shared_memory)
    assert family.allocate(1) is None
    assert family.release(None) is None
    assert watched.leaks == []
    assert watched.findings == []


def test_garbage_is_a_finding(foo: Family, watched: Watch) -> None:
    assert foo.release(0x10) is None
    assert kinds(watched) == ["invalid-free"]


def test_a_missing_restype_is_said_before_the_pointer_is_cut(
    shared_library_path: object,
) -> None:
    library = ctypes.CDLL(str(shared_library_path))
    family = heapledger.pair(allocate=library.bar_open, release=library.bar_close)
    with pytest.raises(heapledger.UsageError, match=r"bar_open\.restype = ctypes\.c_void_p"):
        family.allocate(1)


def test_functions_are_needed(shared: ctypes.CDLL) -> None:
    with pytest.raises(heapledger.PointerTypeError, match="function is needed"):
        heapledger.pair(allocate=shared.foo_open, release=3)  # type: ignore[arg-type]


def test_a_block_of_which_only_the_inside_was_released_is_a_leak_with_a_hint(
    shared: ctypes.CDLL, foo: Family, watched: Watch
) -> None:
    block = heapledger.adopt(foo.allocate(7), 32, free=shared.foo_close)
    foo.release(block.address + 8)
    assert kinds(watched) == ["invalid-free"]
    (leak,) = watched.leaks
    assert "1 release of a pointer inside such a block was refused" in " ".join(leak.hints)
    block.free()
    assert watched.leaks == []


def test_a_block_released_by_the_wrong_function_only_is_not_a_leak_too(
    shared: ctypes.CDLL, foo: Family, bar: Family, watched: Watch
) -> None:
    handle = foo.allocate(7)
    live = heapledger.stats().live_blocks
    bar.release(handle)
    assert kinds(watched) == ["mismatched-free"]
    assert watched.leaks == []
    assert heapledger.stats().live_blocks == live, "it is live all the same"
    assert foo.release(handle) == 7
