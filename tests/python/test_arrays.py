"""NumPy arrays over native memory."""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING

import pytest

import heapledger

np = pytest.importorskip("numpy")

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from conftest import Program
    from heapledger.arrays import Shape


def test_an_array_is_the_memory_itself() -> None:
    block = heapledger.allocate(80, zero=True)
    array = block.array("float64")
    assert array.ctypes.data == block.address
    assert array.shape == (10,)
    assert array.flags.writeable
    array[:] = 1.5
    assert heapledger.array(block.address, "float64").sum() == 15.0


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("uint8", None, (96,)),
        ("float64", None, (12,)),
        ("int32", (4, 6), (4, 6)),
        ("int32", [4, 6], (4, 6)),
        ("int32", 5, (5,)),
        ("float32", (-1, 4), (6, 4)),
        ("float32", -1, (24,)),
        ("complex64", (), ()),
        ("int16", (0, 3), (0, 3)),
        (np.dtype([("a", "i4"), ("b", "f8")]), None, (8,)),
        (np.dtype(("i4", (3,))), None, (8, 3)),
    ],
)
def test_shapes_and_types(dtype: npt.DTypeLike, shape: Shape, expected: tuple[int, ...]) -> None:
    with heapledger.allocate(96, zero=True) as block:
        array = block.array(dtype, shape)
        assert array.shape == expected
        del array


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        ("float64", (13,), "needs 104 bytes, the block has 96"),
        ("float64", (1 << 62, 1 << 62), "the block has 96"),
        ("int32", (-1, -1), "no shape"),
        ("int32", (-2,), "no shape"),
        ("int32", (-1, 5), "do not fill"),
        ("int32", (-1, 0), "do not fill"),
        ("S7", None, "no whole number"),
        ("O", None, "Python objects"),
        ("S0", None, "no size"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_block_free(
    dtype: str, shape: Shape, said: str
) -> None:
    block = heapledger.allocate(96)
    with pytest.raises(heapledger.UsageError, match=said):
        block.array(dtype, shape)
    block.free()


def test_views_of_views_keep_the_block() -> None:
    block = heapledger.allocate(80, zero=True)
    view = block.array("float64")[2:].reshape(2, 4).T[1:].view("uint64")
    with pytest.raises(BufferError, match=r"1 array or views.*test_arrays\.py"):
        block.free()
    address = block.address
    del block
    gc.collect()
    assert int(view.sum()) == 0
    described = heapledger.describe(address)
    assert described is not None
    assert described.state == "live"
    del view
    gc.collect()
    described = heapledger.describe(address)
    assert described is not None
    assert described.state != "live"


def test_the_number_of_arrays_is_said() -> None:
    block = heapledger.allocate(80)
    arrays = [block.array("float64") for _ in range(3)]
    with pytest.raises(heapledger.ExportedBufferError, match="3 arrays or views"):
        block.free()
    del arrays[0]
    with pytest.raises(heapledger.ExportedBufferError, match="2 arrays or views"):
        heapledger.free(block.address)
    arrays.clear()
    block.free()


def test_a_copy_is_no_view() -> None:
    block = heapledger.allocate(80, zero=True)
    copy = block.array("float64").copy()
    block.free()
    assert copy.sum() == 0


def test_array_of_a_pointer_takes_its_length_from_the_ledger(shared: ctypes.CDLL) -> None:
    pointer = shared.get_shared_memory(42)
    block = heapledger.adopt(pointer, 42 * 8, free=shared.free_shared_memory)
    array = heapledger.array(ctypes.c_void_p(pointer), "float64")
    assert array.shape == (42,)
    assert array[41] == 41
    with pytest.raises(BufferError):
        block.free()
    rest = heapledger.array(pointer + 320, "float64")
    assert rest.tolist() == [40.0, 41.0]
    with pytest.raises(heapledger.UsageError, match="needs 24 bytes, the block has 16"):
        heapledger.array(pointer + 320, "float64", 3)
    del array, rest
    block.free()


def test_array_keeps_a_block_alive_that_nobody_holds(shared: ctypes.CDLL) -> None:
    released = shared.released()
    pointer = shared.get_shared_memory(42)
    block = heapledger.adopt(pointer, 42 * 8, free=shared.free_shared_memory)
    array = heapledger.array(pointer, "float64")
    del block
    gc.collect()
    assert shared.released() == released
    assert array[1] == 1
    del array
    gc.collect()
    assert shared.released() == released + 1


def test_array_of_memory_that_c_holds() -> None:
    from heapledger._native import interface

    pointer = interface.calloc(4, 8)
    array = heapledger.array(pointer, "int64")
    assert array.tolist() == [0, 0, 0, 0]
    interface.free(pointer)


def test_array_of_what_is_no_live_block() -> None:
    with pytest.raises(heapledger.NotRecordedError, match="no block is recorded at 0x7f"):
        heapledger.array(0x7F0000000000, "float64")
    with pytest.raises(heapledger.NotRecordedError):
        heapledger.array(None, "float64")
    block = heapledger.allocate(8)
    block.free()
    with pytest.raises(heapledger.ReleasedError, match=r"released before.*released at .*test_arr"):
        heapledger.array(block.address, "float64")
    with pytest.raises(heapledger.ReleasedError):
        block.array("float64")


def test_array_of_unknown_length_is_refused(shared: ctypes.CDLL) -> None:
    foo = heapledger.pair(allocate=shared.foo_open, release=shared.foo_close)
    handle = foo.allocate(1)
    with pytest.raises(heapledger.UsageError, match="not known to the ledger"):
        heapledger.array(handle, "int32", 1)
    foo.release(handle)


def test_native_memory_can_be_handed_to_a_library(shared: ctypes.CDLL) -> None:
    block = heapledger.allocate(80)
    block.array("float64")[:] = 2.0
    assert shared.sum(block, 10) == 20.0
    block.free()


def test_numpy_is_not_imported_before_it_is_needed(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import sys, heapledger\n"
        "block = heapledger.allocate(8, zero=True)\n"
        "assert bytes(block.view()) == bytes(8)\n"
        "assert 'numpy' not in sys.modules\n"
        "block.array('float64')\n"
        "assert 'numpy' in sys.modules\n"
    )
    assert (ran.status, ran.err) == (0, "")


def test_without_numpy_the_message_says_so(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import sys\n"
        "sys.modules['numpy'] = None\n"
        "import heapledger\n"
        "block = heapledger.allocate(8)\n"
        "try:\n"
        "    block.array('float64')\n"
        "except heapledger.NumpyNotFoundError as error:\n"
        "    print(error)\n"
        "block.free()\n"
    )
    assert ran.err == ""
    assert "pip install numpy" in ran.out
    assert "Block.view()" in ran.out
