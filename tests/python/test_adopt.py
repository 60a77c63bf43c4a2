"""`adopt`: foreign memory with an owner in Python."""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING, Any

import pytest

import heapledger

if TYPE_CHECKING:
    from heapledger import Watch

COUNT = 42
SIZE = COUNT * 8


def adopted(shared: ctypes.CDLL) -> heapledger.Block:
    return heapledger.adopt(shared.get_shared_memory(COUNT), SIZE, free=shared.free_shared_memory)


def test_the_founding_case(shared: ctypes.CDLL, watched: Watch) -> None:
    released = shared.released()
    block = adopted(shared)
    values = block.array("float64")
    assert values.shape == (COUNT,)
    assert values.sum() == sum(range(COUNT))
    del values
    block.free()
    assert shared.released() == released + 1
    assert watched.findings == []
    assert watched.leaks == []


def test_second_free_is_a_finding_and_is_not_carried_out(
    shared: ctypes.CDLL, watched: Watch
) -> None:
    released = shared.released()
    block = adopted(shared)
    block.free()
    block.free()
    assert shared.released() == released + 1
    (finding,) = watched.findings
    assert finding.kind == "double-free"
    assert {event: frames[0].function for event, frames in finding.stacks.items()} == {
        "allocated": "adopted",
        "released": "test_second_free_is_a_finding_and_is_not_carried_out",
        "here": "test_second_free_is_a_finding_and_is_not_carried_out",
    }


def test_garbage_collection_calls_free_exactly_once(shared: ctypes.CDLL, watched: Watch) -> None:
    released = shared.released()
    for _ in range(10):
        adopted(shared)
    gc.collect()
    assert shared.released() == released + 10
    assert watched.leaks == []
    assert watched.findings == []


def test_a_forgotten_block_is_a_leak_with_its_line(shared: ctypes.CDLL, watched: Watch) -> None:
    for _ in range(10):
        heapledger.adopt(shared.get_shared_memory(COUNT), SIZE)
    gc.collect()
    (leak,) = watched.leaks
    assert (leak.kind, leak.blocks, leak.bytes) == ("leak", 10, 10 * SIZE)
    assert leak.stacks["allocated"][0].function == (
        "test_a_forgotten_block_is_a_leak_with_its_line"
    )


POINTERS: dict[str, Any] = {
    "int": lambda address: address,
    "c_void_p": ctypes.c_void_p,
    "c_size_t": ctypes.c_size_t,
    "c_uint64": ctypes.c_uint64,
    "c_char_p": lambda address: ctypes.cast(address, ctypes.c_char_p),
    "POINTER": lambda address: ctypes.cast(address, ctypes.POINTER(ctypes.c_double)),
    "array": lambda address: (ctypes.c_double * COUNT).from_address(address),
}


@pytest.mark.parametrize("form", POINTERS)
@pytest.mark.parametrize("declared", ["nothing", "c_void_p", "POINTER", "c_size_t"])
def test_every_form_of_pointer_reaches_every_declaration(
    shared: ctypes.CDLL, watched: Watch, form: str, declared: str
) -> None:
    types: dict[str, Any] = {
        "nothing": None,
        "c_void_p": [ctypes.c_void_p],
        "POINTER": [ctypes.POINTER(ctypes.c_double)],
        "c_size_t": [ctypes.c_size_t],
    }
    shared.free_shared_memory.argtypes = types[declared]
    released = shared.released()
    address = shared.get_shared_memory(COUNT)
    block = heapledger.adopt(POINTERS[form](address), SIZE, free=shared.free_shared_memory)
    assert block.address == address
    block.free()
    assert shared.released() == released + 1
    assert watched.findings == []


def test_the_length_of_a_ctypes_array_is_known(shared: ctypes.CDLL) -> None:
    array = (ctypes.c_double * COUNT).from_address(shared.get_shared_memory(COUNT))
    with heapledger.adopt(array, free=shared.free_shared_memory) as block:
        assert block.size == SIZE


def test_any_callable_gets_the_pointer_as_the_program_has_it(shared: ctypes.CDLL) -> None:
    got: list[object] = []
    address = shared.get_shared_memory(COUNT)
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_double))
    heapledger.adopt(pointer, SIZE, free=got.append).free()
    assert got == [pointer]
    heapledger.adopt(address, SIZE, free=got.append).free()
    assert got[1:] == [address]
    shared.free_shared_memory(address)


def test_what_free_raises_reaches_the_caller_and_the_block_counts_as_released(
    watched: Watch,
) -> None:
    def failing(_pointer: object) -> None:
        raise OSError("the device is gone")

    block = heapledger.adopt(0x7F0000001000, 16, free=failing)
    with pytest.raises(OSError, match="the device is gone"):
        block.free()
    assert block.freed
    assert watched.findings == []


def test_the_length_is_needed_when_nobody_knows_it(shared: ctypes.CDLL) -> None:
    address = shared.get_shared_memory(COUNT)
    with pytest.raises(heapledger.UsageError, match="length is needed"):
        heapledger.adopt(address, free=shared.free_shared_memory)
    shared.free_shared_memory(address)


def test_the_length_of_memory_from_hl_malloc_comes_from_the_ledger(
    shared: ctypes.CDLL, watched: Watch
) -> None:
    from heapledger._native import interface

    shared.use_release.argtypes = [ctypes.c_void_p]
    shared.allocate_with.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    shared.use_release(ctypes.cast(interface.free, ctypes.c_void_p))
    pointer = shared.allocate_with(ctypes.cast(interface.malloc, ctypes.c_void_p), 200)
    block = heapledger.adopt(pointer, free=shared.own_close)
    assert block.size == 200
    with pytest.raises(heapledger.UsageError, match="more than"):
        heapledger.adopt(pointer, 201)
    block.free()
    assert watched.findings == []
    assert watched.leaks == []
    block.free()
    assert [finding.kind for finding in watched.findings] == ["double-free"]


def test_a_block_has_one_owner(shared: ctypes.CDLL) -> None:
    block = adopted(shared)
    with pytest.raises(heapledger.UsageError, match=r"owns this memory already.*test_adopt\.py"):
        heapledger.adopt(block.address, SIZE, free=shared.free_shared_memory)
    with pytest.raises(heapledger.UsageError, match="owns this memory already"):
        heapledger.adopt(block.address)
    block.free()
    own = heapledger.allocate(8)
    with pytest.raises(heapledger.UsageError, match="owns this memory already"):
        heapledger.adopt(own.address, free=print)
    own.free()


def test_a_recorded_block_can_get_an_owner_later(shared: ctypes.CDLL, watched: Watch) -> None:
    released = shared.released()
    address = shared.get_shared_memory(COUNT)
    recorded = heapledger.adopt(address, SIZE)
    owner = heapledger.adopt(address, free=shared.free_shared_memory)
    assert owner.size == SIZE
    owner.free()
    del recorded, owner
    assert shared.released() == released + 1
    assert watched.findings == []
    assert watched.leaks == []


def test_free_of_a_recorded_block_says_what_is_missing(shared: ctypes.CDLL) -> None:
    address = shared.get_shared_memory(COUNT)
    block = heapledger.adopt(address, SIZE)
    with pytest.raises(heapledger.UsageError, match="without a free function"):
        block.free()
    with pytest.raises(heapledger.UsageError, match="without a free function"):
        heapledger.free(address)
    with block:
        pass
    heapledger.adopt(address, free=shared.free_shared_memory).free()


def test_an_address_may_be_adopted_again_after_its_release(
    shared: ctypes.CDLL, watched: Watch
) -> None:
    for _ in range(20):
        adopted(shared).free()
    assert watched.findings == []


def test_null_is_refused(shared: ctypes.CDLL) -> None:
    for null in (None, 0, ctypes.c_void_p(), shared.null_open(1)):
        with pytest.raises(heapledger.UsageError, match="null"):
            heapledger.adopt(null, 8)


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        (-559038737, "cut to 32 bits"),
        (1 << 64, "no address"),
        (-(1 << 40), "no address"),
        ((1 << 64) - 8, "no address a program can have"),
    ],
)
def test_numbers_that_are_no_address(pointer: int, said: str) -> None:
    with pytest.raises(heapledger.UsageError, match=said):
        heapledger.adopt(pointer, 8)


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        (b"text", "restype is c_char_p"),
        ("text", "restype is c_wchar_p"),
        (1.5, "got float"),
        (object(), "got object"),
        (ctypes.c_int(5), "too small"),
        (ctypes.c_double(5.0), "not a pointer"),
    ],
)
def test_what_is_no_pointer(pointer: object, said: str) -> None:
    with pytest.raises(heapledger.PointerTypeError, match=said):
        heapledger.adopt(pointer, 8)


def test_memory_of_ctypes_objects_is_refused() -> None:
    with pytest.raises(heapledger.UsageError, match="belongs to a ctypes object"):
        heapledger.adopt((ctypes.c_double * 4)(), free=print)


def test_free_must_be_callable_and_able_to_take_a_pointer(shared: ctypes.CDLL) -> None:
    with pytest.raises(heapledger.PointerTypeError, match="free= needs a function"):
        heapledger.adopt(4096, 8, free=3)  # type: ignore[arg-type]
    shared.free_shared_memory.argtypes = [ctypes.c_int]
    with pytest.raises(heapledger.UsageError, match="cannot hold a pointer"):
        heapledger.adopt(4096, 8, free=shared.free_shared_memory)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(heapledger.UsageError, match="-1 bytes"):
        heapledger.adopt(4096, -1)
    with pytest.raises(TypeError):
        heapledger.adopt(4096, 1.5)  # type: ignore[arg-type]
    with pytest.raises(heapledger.UsageError):
        heapledger.adopt(4096, 1 << 62)
    # A C size has 64 bits: ctypes would cut these, the last one to "not known".
    for size in (1 << 63, (1 << 64) - 1, (1 << 64) + 8, 1 << 64):
        with pytest.raises(heapledger.UsageError):
            heapledger.adopt(4096, size)
    assert heapledger.describe(4096) is None


def test_heapledgers_own_free_is_no_function_for_foreign_memory(shared: ctypes.CDLL) -> None:
    address = shared.get_shared_memory(COUNT)
    with pytest.raises(heapledger.UsageError, match="name the library's own function"):
        heapledger.adopt(address, SIZE, free=heapledger.free)
    shared.free_shared_memory(address)
