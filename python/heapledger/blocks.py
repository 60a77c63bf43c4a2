"""`Block`: native memory with a known length and an owner in Python.

Owns the rule when a block may be released (exactly once, not while arrays made from it are alive,
never in a forked child) and the table of the blocks that are alive, by address.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar

from heapledger import arrays, origins, places
from heapledger._native import pointers
from heapledger.errors import ExportedBufferError, ReleasedError
from heapledger.forking import ForkLock
from heapledger.owners import call_plainly
from heapledger.views import Lent

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable
    from types import TracebackType

    import numpy.typing as npt

    from heapledger.arrays import Shape
    from heapledger.owners import Owner

    Export = TypeVar("Export")
    Stage = Literal["held", "refused", "released"]
    # "refused": a finding kept the owner's function from being called; the memory is still there.


class _Reference(weakref.ref["Block"]):
    """A weak reference that knows the address its block is filed under."""

    __slots__ = ("address",)
    address: int


_blocks: dict[int, _Reference] = {}


_renewal = ForkLock()
"""For whoever replaces the lock of an inherited block, which a thread of the parent may hold."""


def block_owning(address: int) -> Block | None:
    """Return the block that begins at `address` and is not released, if there is one."""
    reference = _blocks.get(address)
    block = None if reference is None else reference()
    return None if block is None or block.freed else block


def address_of(pointer: object) -> int:
    """Return the address of a block, also of a released one, or of anything that is a pointer."""
    return pointer.address if isinstance(pointer, Block) else pointers.address_of(pointer)


def _file(block: Block) -> None:
    before = block_owning(block.address)
    if before is not None and before is not block and before.can_release:
        # The address was given out anew, so C has released the memory of that block unseen.
        before._stage = "released"
    reference = _Reference(block, _unfile)
    reference.address = block.address
    _blocks[block.address] = reference


def _unfile(reference: _Reference, blocks: dict[int, _Reference] = _blocks) -> None:
    # By now the address may belong to another block, filed in its turn.
    if blocks.get(reference.address) is reference:
        del blocks[reference.address]


class Block:
    """Native memory that this object owns: `size` bytes from `address`.

    It is released by `free()`, at the end of a `with`, or when it is garbage-collected, whichever
    comes first. Arrays and views made from it keep it alive, and keep it from being released.
    A second `free()` is recorded as a double free with the Python lines of the allocation and of
    both releases; it is not carried out and raises nothing.

    In a child made by `os.fork` an inherited block is never released: the memory is the parent's.

    Passing a block to a ctypes function passes its address. On Python 3.12 and later it has the
    buffer protocol (`memoryview(block)`).

    Thread-safe. Blocks are made by `allocate` and `adopt`.
    """

    __slots__ = (
        "__weakref__", "_exports", "_guard", "_owner", "_process", "_size", "_stage",
    )  # fmt: skip

    def __init__(self, owner: Owner, size: int) -> None:
        """Take over the block that `owner` knows how to release."""
        self._owner = owner
        self._size = size
        self._stage: Stage = "held"
        self._process = os.getpid()
        # Re-entrant: a garbage collection inside may release other blocks, or ask for this one.
        self._guard = (self._process, threading.RLock())
        self._exports: dict[int, tuple[weakref.ref[Any], Lent]] = {}
        _file(self)

    @property
    def address(self) -> int:
        """The address of the first byte; it stays readable after the release."""
        return self._owner.address

    @property
    def size(self) -> int:
        """The length in bytes, as it was asked for."""
        return self._size

    @property
    def freed(self) -> bool:
        """Whether the block was released."""
        return self._stage == "released"

    @property
    def can_release(self) -> bool:
        """Whether the block knows a function to release it with."""
        return self._owner.can_release

    def free(self) -> None:
        """Release the block.

        Raises:
            ExportedBufferError: arrays or views made from it are alive (a `BufferError`).
            UsageError: it was adopted without a free function.
        """
        self._release_through(self._owner)

    def _release_through(self, owner: Owner) -> Any:  # noqa: ANN401 - what the function gives
        """Release the block by another function than its own; return what that returned.

        `Family.release` does so. A release that is refused by a finding returns None.
        """
        if self._process != os.getpid():
            self._stage = "released"
            return None
        if not self._claim(owner):
            self._owner.note_second_release(origins.call, self._size)
            return None
        if not owner.announce(origins.call):
            self._stage = "refused"
            _file(self)
            return None
        return self._carry_out(owner)

    def array(self, dtype: npt.DTypeLike, shape: Shape = None) -> npt.NDArray[Any]:
        """Lay a NumPy array over the block, without a copy.

        The length comes from the block: without `shape` the array is one-dimensional and covers
        all of it; one entry of `shape` may be -1. The array keeps the block alive.

        Raises:
            ReleasedError: the block was released.
            UsageError: the block is too small, or no whole number of elements fits.
            NumpyNotFoundError: NumPy is not installed.
        """
        return self._array_at(0, dtype, shape)

    def _array_at(self, offset: int, dtype: npt.DTypeLike, shape: Shape) -> npt.NDArray[Any]:
        """Lay an array over what begins `offset` bytes after the start."""
        plan = arrays.planned(self._size - offset, dtype, shape)
        memory = self._exported(
            lambda: arrays.Memory(self.address + offset, self._size - offset, self)
        )
        return arrays.laid_over(memory, plan)

    def view(self) -> memoryview:
        """Return the block as a writable `memoryview` of bytes, without a copy and without NumPy.

        The view keeps the block alive, and keeps it from being released.

        Raises:
            ReleasedError: the block was released.
        """
        return memoryview(self._exported(self._span)).cast("B")

    def __buffer__(self, flags: int, /) -> memoryview:
        """Lend the memory to whoever takes buffers (Python 3.12 and later)."""
        return self.view()

    @property
    def _as_parameter_(self) -> ctypes.c_void_p:
        """What ctypes passes to a function: the address, as a pointer."""
        self._refuse_when_released()
        return pointers.void_pointer(self.address)

    def __enter__(self) -> Self:
        """Give the block to the `with` statement."""
        self._refuse_when_released()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the block if nobody has.

        When the body raised, its frames keep arrays alive, and the error is more important: then
        the block is left to garbage collection.
        """
        if self._stage != "held" or not self.can_release:
            return
        if error is not None and self._exports:
            return
        self.free()

    def __del__(
        self,
        _is_finalizing: Callable[[], bool] = sys.is_finalizing,
        _getpid: Callable[[], int] = os.getpid,
        _call: Callable[..., Any] = origins.call,
        _call_plainly: Callable[..., Any] = call_plainly,
        _getattr: Callable[..., Any] = getattr,
    ) -> None:
        """Release the block once, if it is still held."""
        # The defaults are here because module globals may be None when the interpreter ends, and in
        # the very end built-in functions too.
        stage = _getattr(self, "_stage", "released")
        if stage != "held" or self._process != _getpid() or not self.can_release:
            return
        call = _call_plainly if _is_finalizing() else _call
        self._stage = "released"
        # Those whose end was not told: what collects garbage in cycles calls nobody back.
        self._exports.clear()
        if self._owner.announce(call):
            self._owner.carry_out(call)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: two owners would release the memory twice."""
        raise TypeError("a block owns memory and cannot be copied or pickled; copy its bytes")

    def __repr__(self) -> str:
        """Name size, address and state."""
        return f"<heapledger.Block of {self._size} bytes at {self.address:#x}, {self._stage}>"

    @property
    def _lock(self) -> threading.RLock:
        process, lock = self._guard
        return lock if process == os.getpid() else self._renewed_lock()

    def _renewed_lock(self) -> threading.RLock:
        """Return the lock that the block, which is inherited, has in this process."""
        with _renewal.lock:
            process, lock = self._guard
            if process != os.getpid():
                lock = threading.RLock()
                self._guard = (os.getpid(), lock)
        return lock

    def _claim(self, owner: Owner) -> bool:
        """Let one caller win the release; False: it has happened."""
        with self._lock:
            if self._stage == "released":
                return False
            if not owner.can_release:
                return True
            self._refuse_while_exported()
            self._stage = "released"
            # Before the memory is given back: afterwards the address may be somebody else's.
            _blocks.pop(owner.address, None)
            return True

    def _carry_out(self, owner: Owner) -> Any:  # noqa: ANN401
        """Give the memory back, and remember the release right after the ledger took note of it."""
        if owner.is_announced:
            self._owner.remember()
            return owner.carry_out(origins.call)
        try:
            return owner.carry_out(origins.call)
        finally:
            self._owner.remember()

    def _exported(self, make: Callable[[], Export]) -> Export:
        """Count what `make` returns as an export for as long as it lives."""
        exports = self._exports
        with self._lock:
            self._refuse_when_released()
            export = make()
            reference = weakref.ref(export, lambda dead: exports.pop(id(dead), None))
            exports[id(reference)] = (reference, Lent(self.address))
        return export

    def _refuse_when_released(self) -> None:
        if self._stage == "released":
            raise ReleasedError(places.released_before(self.address, self._size))

    def _refuse_while_exported(self) -> None:
        if self._exports:
            named = places.block_named(self.address, self._size)
            count = len(self._exports)
            raise ExportedBufferError(
                f"{named} cannot be released: {count} {'array' if count == 1 else 'arrays'} or "
                f"views made from it are alive; {places.origin_named(self.address)}"
            )

    def _span(self) -> ctypes.Array[ctypes.c_ubyte]:
        span = pointers.span(self.address, self._size)
        span.block = self  # type: ignore[attr-defined]
        return span
