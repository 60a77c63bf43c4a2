"""Native memory for Python: allocate it, take it over, lay arrays over it, release it."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from heapledger import arrays, origins, places
from heapledger._native import interface, pointers
from heapledger._native.structures import (
    FAMILY_ADOPTED,
    STATE_QUARANTINED,
    BlockStructure,
)
from heapledger.blocks import Block, address_of, block_owning
from heapledger.errors import (
    LimitError,
    NotRecordedError,
    OutOfMemoryError,
    PointerTypeError,
    ReleasedError,
    UsageError,
)
from heapledger.families import family_of
from heapledger.owners import AdoptedOwner, AllocatedOwner, ForeignOwner, Owner, RecordingOwner
from heapledger.views import Lent

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from heapledger.arrays import Shape

ALIGNMENT_OF_MALLOC = 16
"""What the C allocator gives without being asked, bytes."""

SIZE_END = 1 << 64


def allocate(nbytes: int, *, zero: bool = False, align: int = ALIGNMENT_OF_MALLOC) -> Block:
    """Allocate `nbytes` bytes of native memory, filled with zeros if `zero`.

    The address is a multiple of `align`, a power of two. The memory is released by the `Block`,
    or by a C function that calls `hl_free` on it. Thread-safe.

    Raises:
        UsageError: a size below zero, or an alignment that is no power of two.
        OutOfMemoryError: there is no such memory (a `MemoryError`).
    """
    size = operator.index(nbytes)
    alignment = operator.index(align)
    if size < 0:
        raise UsageError(f"a block cannot have {size} bytes")
    if alignment < 1 or alignment & (alignment - 1):
        raise UsageError(f"an alignment is a power of two, got {alignment}")
    address = _allocated(size, alignment, zero) if max(size, alignment) < SIZE_END else None
    if address is None:
        aligned = f" at a multiple of {alignment}" if alignment > ALIGNMENT_OF_MALLOC else ""
        raise OutOfMemoryError(f"there are no {size} bytes of native memory to be had{aligned}")
    return Block(AllocatedOwner(address), size)


def adopt(
    pointer: object, nbytes: int | None = None, *, free: Callable[..., Any] | None = None
) -> Block:
    """Take over foreign memory: `nbytes` bytes from `pointer`, released by calling `free(pointer)`.

    `pointer` is an address, a `c_void_p`, a `POINTER(...)` instance or a ctypes array. Without
    `nbytes` the length comes from a ctypes array's type, or from the ledger when the block is
    recorded already. `free` is called exactly once, with the pointer (a ctypes function gets it in
    the form its `argtypes` ask for), and only when the release is no error. When `free` belongs to
    a declared `pair`, the block belongs to that family. Without `free` the block is recorded and
    somebody else releases it. Thread-safe.

    Raises:
        UsageError: the pointer is null or cannot be one, the length is not known or contradicts
            the ledger, or the block has an owner already.
        ReleasedError: the ledger knows that the block was released.
        PointerTypeError: `pointer` is no pointer, or `free` cannot be called.
    """
    address = address_of(pointer)
    if not address:
        raise UsageError("the pointer is null: the function that returned it failed")
    if free is not None and not callable(free):
        raise PointerTypeError(f"free= needs a function, got {type(free).__name__}")
    if pointers.belongs_to_python(pointer):
        raise UsageError("this memory belongs to a ctypes object, which releases it by itself")
    known = _known_at(address)
    size = _size_of(pointer, address, nbytes, known)
    if free is not None:
        pointers.argument_for(free, pointer, address)  # Says now what would fail at the release.
    owner = _owner_of(address, pointer, free, known)
    return Block(_recorded(owner, size, known), size)


def free(pointer: object) -> None:
    """Release the block that begins at `pointer`, whoever holds it.

    A `Block` is released by its own function, memory that C allocated with `hl_malloc` by
    `hl_free`. Anything else (a pointer into a block, one that was released before, one the ledger
    knows nothing of) is recorded as a finding and nothing is released. Null is passed over, as C
    does. Thread-safe.

    Raises:
        ExportedBufferError: arrays made from the block are alive.
        UsageError: the block was adopted without a free function.
    """
    address = address_of(pointer)
    block = block_owning(address)
    if block is not None:
        block.free()
        return
    known = interface.block_at(address)
    if known is None or known.address != address or not known.is_announced:
        origins.call(interface.free, address)
    elif known.is_live:
        RecordingOwner(address).announce(origins.call)
    else:
        origins.call(interface.release, address, known.family)


def array(pointer: object, dtype: npt.DTypeLike, shape: Shape = None) -> npt.NDArray[Any]:
    """Lay a NumPy array over recorded memory from `pointer`, without a copy.

    The length comes from the ledger: without `shape` the array covers all from `pointer` to the
    end of the block; a larger shape is refused. When a `Block` holds the memory, the array keeps
    it alive, and keeps it from being released. Thread-safe.

    Raises:
        NotRecordedError: the ledger knows no block there.
        ReleasedError: the block was released.
        UsageError: the array does not fit, or the length is not known.
        NumpyNotFoundError: NumPy is not installed.
    """
    address = address_of(pointer)
    known = interface.block_at(address)
    if known is None:
        raise NotRecordedError(f"no block is recorded at {address:#x}: adopt(pointer, nbytes) it")
    if not known.is_live:
        raise ReleasedError(places.released_before(known.address, known.size))
    if known.size == 0 and known.is_announced:
        raise UsageError(f"the length of the block at {address:#x} is not known to the ledger")
    block = block_owning(known.address)
    if block is not None:
        return block._array_at(known.offset, dtype, shape)
    byte_count = known.size - known.offset
    plan = arrays.planned(byte_count, dtype, shape)
    return arrays.laid_over(arrays.Memory(address, byte_count, None, Lent(address)), plan)


def _allocated(size: int, alignment: int, zero: bool) -> int | None:
    address: int | None
    if alignment <= ALIGNMENT_OF_MALLOC:
        if zero:
            address = origins.call(interface.calloc, 1, size)
        else:
            address = origins.call(interface.malloc, size)
        return address
    address = origins.call(interface.aligned_alloc, alignment, size)
    if zero and address is not None:
        pointers.fill_with_zeros(address, size)
    return address


def _known_at(address: int) -> BlockStructure | None:
    """Return the live record of the block that begins at `address`, if there is one."""
    known = interface.block_at(address)
    if known is None or known.address != address:
        return None
    if known.state == STATE_QUARANTINED:
        raise ReleasedError(places.released_before(known.address, known.size))
    return known if known.is_live else None


def _size_of(
    pointer: object, address: int, nbytes: int | None, known: BlockStructure | None
) -> int:
    size = pointers.byte_count_of(pointer) if nbytes is None else operator.index(nbytes)
    recorded = known.size if known is not None else 0
    if size is None:
        if known is None:
            raise UsageError(
                f"no block is recorded at {address:#x}, so its length is needed: "
                f"adopt(pointer, nbytes)"
            )
        return recorded
    if size < 0 or size >= SIZE_END:
        raise UsageError(f"a block cannot have {size} bytes")
    if recorded and size > recorded:
        named = places.block_named(address, recorded)
        raise UsageError(f"{size} bytes are more than {named} has")
    return size


def _owner_of(
    address: int,
    pointer: object,
    function: Callable[..., Any] | None,
    known: BlockStructure | None,
) -> Owner:
    holder = block_owning(address)
    if known is not None and holder is not None and holder.can_release:
        raise UsageError(f"{holder!r} owns this memory already; {places.origin_named(address)}")
    if function is None:
        return RecordingOwner(address)
    if known is not None and not known.is_announced:
        return ForeignOwner(address, pointer, function)
    if function is free:
        raise UsageError(
            "heapledger.free releases what heapledger allocated: name the library's own function"
        )
    family = family_of(function)
    if family is None:
        family = FAMILY_ADOPTED if known is None else known.family
    return AdoptedOwner(address, pointer, function, family)


def _recorded(owner: Owner, size: int, known: BlockStructure | None) -> Owner:
    """Enter the block into the ledger, or complete its record; return who can release it."""
    family = owner.family if isinstance(owner, AdoptedOwner) else FAMILY_ADOPTED
    if known is not None:
        if not known.is_announced or known.size or not size:
            return owner
        # A handle of unknown size: its family was declared when it was allocated.
        family = known.family
    try:
        origins.call(interface.adopt, owner.address, size, family)
    except (LimitError, OutOfMemoryError):
        # The program is served without a record; announcing its release would be an error.
        return owner.unrecorded()
    return owner
