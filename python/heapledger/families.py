"""Families that the program declares: which function releases what which function allocates.

Owns the table from functions to families. Thread-safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heapledger import blocks, origins
from heapledger._native import interface, pointers
from heapledger.errors import LimitError, OutOfMemoryError, PointerTypeError, UsageError
from heapledger.forking import ForkLock
from heapledger.owners import AdoptedOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_number_by_function: dict[Hashable, int] = {}

_declaring = ForkLock()
"""A child does not know what a thread of the parent was just entering: it gets the same number."""


class Family:
    """A pair of functions of a library: one allocates blocks, the other releases them.

    `allocate` and `release` call these functions and tell the ledger. Calling the functions
    themselves goes unrecorded in the explicit scope.
    """

    def __init__(
        self, allocate: Callable[..., Any], release: Callable[..., Any], number: int
    ) -> None:
        """Join the functions; `number` is the family's in the ledger."""
        self._allocate = allocate
        self._release = release
        self.number = number

    def allocate(self, *arguments: Any) -> Any:  # noqa: ANN401 - what the function takes and gives
        """Call the allocating function and record the block it returns; give back its result.

        The size is not known to the ledger: `adopt(result, nbytes, free=...)` tells it. A null
        pointer is given back and not recorded.

        Raises:
            UsageError: the function has no `restype`, so ctypes would cut its pointer to 32 bits.
        """
        name = pointers.function_name(self._allocate)
        if pointers.result_cuts_pointers(self._allocate):
            raise UsageError(
                f"{name} has no restype that can hold a pointer: ctypes would cut it to 32 bits. "
                f"Set {name}.restype = ctypes.c_void_p"
            )
        pointer = self._allocate(*arguments)
        address = pointers.address_of(pointer)
        if address:
            _record(address, self.number)
        return pointer

    def release(self, pointer: object) -> Any:  # noqa: ANN401 - what the function gives
        """Release what begins at `pointer` by the releasing function; give back its result.

        When the block belongs to another family, was released before, or is no block, that is
        recorded as a finding, the function is not called and the result is None. A null pointer
        is passed over. After that a `Block` made from this pointer counts as released.

        Raises:
            ExportedBufferError: arrays made from the block are alive.
        """
        address = blocks.address_of(pointer)
        if not address:
            return None
        owner = AdoptedOwner(address, pointer, self._release, self.number)
        block = blocks.block_owning(address)
        if block is not None:
            return block._release_through(owner)
        return owner.carry_out(origins.call) if owner.announce(origins.call) else None

    def __repr__(self) -> str:
        """Name both functions."""
        names = [pointers.function_name(f) for f in (self._allocate, self._release)]
        return f"<heapledger.Family {names[0]} / {names[1]}>"


def pair(*, allocate: Callable[..., Any], release: Callable[..., Any]) -> Family:
    """Declare that `release` is the function that releases what `allocate` returns.

    From then on `adopt(pointer, nbytes, free=release)` puts the block into this family, and
    releasing it through another family's function is a mismatched free. Pairs that share a
    function are one family: a library may allocate in several ways, or release in several.

    Raises:
        PointerTypeError: one of them cannot be called.
        UsageError: each belongs to a family already, and these are two.
        LimitError: there are too many families.
    """
    for function in (allocate, release):
        if not callable(function):
            raise PointerTypeError(f"a function is needed, got {type(function).__name__}")
    names = (pointers.function_name(allocate), pointers.function_name(release))
    keys = (_identity(allocate), _identity(release))
    with _declaring.lock:
        known = {_number_by_function[key] for key in keys if key in _number_by_function}
        if len(known) > 1:
            raise UsageError(f"{names[0]} and {names[1]} belong to two different families already")
        number = known.pop() if known else interface.declare_family(*names)
        _number_by_function.update(dict.fromkeys(keys, number))
    return Family(allocate, release, number)


def family_of(release: Callable[..., Any]) -> int | None:
    """Return the number of the family that `release` was declared for, if it was."""
    return _number_by_function.get(_identity(release))


def _identity(function: Callable[..., Any]) -> Hashable:
    """Return what makes two callables the same: the code of a C function, else the object."""
    address = pointers.function_address(function)
    if address is not None:
        return address
    try:
        hash(function)
    except TypeError as error:
        raise PointerTypeError(f"{function!r} is not hashable and cannot be declared") from error
    return ("object", function)


def _record(address: int, family: int) -> None:
    known = interface.block_at(address)
    allocated_in_sight = (
        known is not None and known.address == address and known.is_live and not known.is_announced
    )
    if allocated_in_sight:
        return
    try:
        origins.call(interface.adopt, address, 0, family)
    except (LimitError, OutOfMemoryError):
        return  # The program is served without a record.
