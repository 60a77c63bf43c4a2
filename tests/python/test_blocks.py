"""`Block`: allocated once, released once."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import sys
from typing import TYPE_CHECKING

import pytest

import heapledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program
    from heapledger import Watch


def here() -> int:
    """Return the line this is called from."""
    return sys._getframe(1).f_lineno


def kinds(watch: Watch) -> list[str]:
    return [finding.kind for finding in watch.findings]


def test_allocate_records_a_live_block_until_it_is_freed() -> None:
    block = heapledger.allocate(100)
    described = heapledger.describe(block.address)
    assert described is not None
    assert (described.address, described.size, described.state) == (block.address, 100, "live")
    assert block.size == 100
    assert not block.freed
    block.free()
    assert block.freed
    described = heapledger.describe(block.address)
    assert described is not None
    assert described.state != "live"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096, 1 << 20])
def test_allocated_memory_is_usable_from_end_to_end(size: int) -> None:
    with heapledger.allocate(size) as block:
        view = block.view()
        view[:] = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert len(view) == size
        del view


@pytest.mark.parametrize("align", [1, 8, 16, 32, 64, 4096])
@pytest.mark.parametrize("zero", [False, True])
def test_alignment_and_zeros(align: int, zero: bool) -> None:
    for _ in range(3):
        with heapledger.allocate(1000, zero=zero, align=align) as block:
            assert block.address % align == 0
            view = block.view()
            assert not zero or bytes(view) == bytes(1000)
            view[:] = b"\xff" * 1000
            del view


@pytest.mark.parametrize("align", [0, -1, 3, 24])
def test_an_alignment_must_be_a_power_of_two(align: int) -> None:
    with pytest.raises(heapledger.UsageError, match="power of two"):
        heapledger.allocate(10, align=align)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(heapledger.UsageError, match="-1 bytes"):
        heapledger.allocate(-1)
    with pytest.raises(TypeError):
        heapledger.allocate(1.5)  # type: ignore[arg-type]
    with pytest.raises(MemoryError):
        heapledger.allocate(1 << 70)


def test_a_size_that_no_block_can_have_is_a_finding_too(watched: Watch) -> None:
    with pytest.raises(heapledger.OutOfMemoryError):
        heapledger.allocate((1 << 64) - 8)
    assert kinds(watched) == ["size-overflow"]


def test_second_free_is_a_finding_with_three_lines_and_raises_nothing(watched: Watch) -> None:
    block, allocated = heapledger.allocate(48), here()
    released = here() + 1
    block.free()
    again = here() + 1
    block.free()
    (finding,) = watched.findings
    assert finding.kind == "double-free"
    assert finding.block is not None
    assert (finding.block.address, finding.block.size) == (block.address, 48)
    for event, line in [("allocated", allocated), ("released", released), ("here", again)]:
        frame = finding.stacks[event][0]
        assert (frame.file, frame.line) == (__file__, line), event
        assert frame.function == "test_second_free_is_a_finding_with_three_lines_and_raises_nothing"


def test_second_free_does_not_touch_the_block_that_has_the_address_now(watched: Watch) -> None:
    first = heapledger.allocate(64)
    address = first.address
    first.free()
    # The quarantine withholds the address: let the same one come back as foreign memory.
    raw = ctypes.create_string_buffer(64)
    known = heapledger.allocate(64)
    first._owner.address = known.address
    first.free()
    assert kinds(watched) == ["double-free"]
    described = heapledger.describe(known.address)
    assert described is not None
    assert described.state == "live"
    known.free()
    assert address
    assert raw


def test_a_block_that_c_released_unseen_does_not_release_its_successor(
    run_python: Callable[..., Program],
) -> None:
    ran = run_python(
        "import heapledger\n"
        "from heapledger._native import interface\n"
        "heapledger.start(scope='explicit', checks=())\n"
        "first = heapledger.allocate(64)\n"
        "interface.free(first.address)\n"
        "def at(address, size, others=[]):\n"
        "    for _ in range(1000):\n"
        "        block = heapledger.allocate(size)\n"
        "        if block.address == address:\n"
        "            return block\n"
        "        others.append(block)\n"
        "second = at(first.address, 64)\n"
        "again = heapledger.allocate(8)\n"
        "first.free()\n"
        "del first\n"
        "print([finding.kind for finding in heapledger.findings()])\n"
        "print(heapledger.describe(second).state)\n"
        "try:\n"
        "    again.free(); again.view()\n"
        "except heapledger.ReleasedError as error:\n"
        "    print('released at' in str(error))\n"
        "successor = at(again.address, 8)\n"
        "assert successor is not None\n"
        "try:\n"
        "    again.view()\n"
        "except heapledger.ReleasedError as error:\n"
        "    print(error)\n"
        "print(hex(again.address))\n"
    )
    assert ran.err == ""
    *lines, address = ran.out.splitlines()
    assert lines == [
        "['double-free']",
        "live",
        "True",
        f"the 8-byte block at {address} was released before",
    ]


def test_a_block_cannot_be_copied_or_pickled() -> None:
    block = heapledger.allocate(8)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="owns memory and cannot be copied"):
            duplicate(block)
    block.free()


def test_many_second_frees_are_one_finding_counted(watched: Watch) -> None:
    for _ in range(5):
        block = heapledger.allocate(24)
        block.free()
        block.free()
    (finding,) = watched.findings
    assert finding.count == 5


def test_with_releases_and_is_silent_after_an_explicit_free(watched: Watch) -> None:
    with heapledger.allocate(8) as block:
        pass
    assert block.freed
    with heapledger.allocate(8) as block:
        block.free()
    assert watched.findings == []
    with pytest.raises(heapledger.ReleasedError, match="was released"), block:
        pass


def test_garbage_collection_releases_exactly_once(watched: Watch) -> None:
    before = heapledger.stats()
    for _ in range(10):
        heapledger.allocate(32)
    freed = heapledger.allocate(32)
    freed.free()
    del freed
    after = heapledger.stats()
    assert after.live_blocks == before.live_blocks
    assert after.total_blocks == before.total_blocks + 11
    assert watched.findings == []


def test_blocks_in_cycles_are_released_by_the_collector(watched: Watch) -> None:
    class Holder:
        """A cycle around a block."""

        def __init__(self) -> None:
            self.block = heapledger.allocate(32)
            self.me = self

    before = heapledger.stats().live_blocks
    Holder()
    assert heapledger.stats().live_blocks == before + 1
    gc.collect()
    assert heapledger.stats().live_blocks == before
    assert watched.findings == []


def test_views_keep_the_block_alive_and_unreleased() -> None:
    block = heapledger.allocate(16, zero=True)
    view = block.view()
    part = view[4:8]
    del view
    with pytest.raises(BufferError) as raised:
        block.free()
    message = str(raised.value)
    assert f"16-byte block at {block.address:#x}" in message
    assert "test_blocks.py:" in message
    assert "test_views_keep_the_block_alive_and_unreleased" in message
    assert not block.freed
    address = block.address
    del block, raised
    gc.collect()
    part[0] = 7
    described = heapledger.describe(address)
    assert described is not None
    assert described.state == "live"
    del part
    gc.collect()
    described = heapledger.describe(address)
    assert described is not None
    assert described.state != "live"


def test_a_released_block_gives_no_views() -> None:
    block = heapledger.allocate(16)
    block.free()
    with pytest.raises(heapledger.ReleasedError, match=r"16-byte block at 0x\w+ was released"):
        block.view()


def test_leaving_a_with_by_an_exception_does_not_hide_the_exception(watched: Watch) -> None:
    with pytest.raises(ZeroDivisionError), heapledger.allocate(16) as block:  # noqa: PT012
        view = block.view()
        view[0] = 1 // 0
    del view
    block.free()
    assert watched.findings == []


def test_leaving_a_with_while_a_view_is_alive_is_refused() -> None:
    with pytest.raises(heapledger.ExportedBufferError), heapledger.allocate(16) as block:
        view = block.view()
    del view
    block.free()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers of Python classes came with 3.12")
def test_a_block_has_the_buffer_protocol() -> None:
    block = heapledger.allocate(4, zero=True)
    view = memoryview(block)
    view[:] = b"abcd"
    with pytest.raises(BufferError):
        block.free()
    del view
    assert bytes(block) == b"abcd"
    block.free()


def test_ctypes_takes_a_block_as_a_pointer(shared: ctypes.CDLL) -> None:
    with heapledger.allocate(4, zero=True) as block:
        shared.fill(block, ctypes.c_size_t(4), 7)
        view = block.view()
        assert bytes(view) == b"\x07" * 4
        del view
    with pytest.raises(ctypes.ArgumentError):
        shared.fill(block, ctypes.c_size_t(4), 7)


def test_c_may_release_what_python_allocated(shared: ctypes.CDLL, watched: Watch) -> None:
    from heapledger._native import interface

    shared.use_release.argtypes = [ctypes.c_void_p]
    shared.use_release(ctypes.cast(interface.free, ctypes.c_void_p))
    block = heapledger.allocate(32)
    shared.own_close(block)
    assert watched.findings == []
    block.free()
    assert kinds(watched) == ["double-free"]


def test_free_by_address_is_free_of_its_block(watched: Watch) -> None:
    block = heapledger.allocate(32)
    heapledger.free(block.address)
    assert block.freed
    assert watched.findings == []
    heapledger.free(block.address)
    block.free()
    assert kinds(watched) == ["double-free", "double-free"]


def test_free_of_what_is_no_block(watched: Watch) -> None:
    block = heapledger.allocate(32)
    heapledger.free(block.address + 8)
    heapledger.free(0x10)
    heapledger.free(0xDEADBEEF0000)
    mine = ctypes.create_string_buffer(8)
    heapledger.free(mine)
    assert kinds(watched) == ["invalid-free"] * 4
    interior = watched.findings[0]
    assert interior.block is not None
    assert (interior.block.address, interior.block.offset) == (block.address, 8)
    assert not block.freed
    block.free()
    assert len(watched.findings) == 4


def test_free_of_null_does_nothing(watched: Watch) -> None:
    heapledger.free(None)
    heapledger.free(0)
    heapledger.free(ctypes.c_void_p())
    assert watched.findings == []


def test_repr_names_size_address_and_state() -> None:
    block = heapledger.allocate(24)
    assert repr(block) == f"<heapledger.Block of 24 bytes at {block.address:#x}, held>"
    block.free()
    assert repr(block).endswith("released>")
