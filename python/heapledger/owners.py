"""How a block is released: one class per kind of memory.

An owner knows the address and the function; when to release is the `Block`'s business. A release
has two steps. `announce` tells the ledger and may be refused by a finding; `carry_out` gives the
memory back. Both may run while the interpreter is going down, when the globals of modules can be
None: what they need, they hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from heapledger._native import interface, pointers
from heapledger._native.structures import BlockStructure
from heapledger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., Any]


def call_plainly(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Call without telling the ledger where from: for the end of the interpreter."""
    return function(*arguments)


class Owner(ABC):
    """Knows how the block at `address` is released."""

    __slots__ = ("_evidence", "address")

    def __init__(self, address: int) -> None:
        """Know the block's first address."""
        self.address = address
        self._evidence: BlockStructure | None = None

    @property
    def can_release(self) -> bool:
        """Whether there is a function to release the block with."""
        return True

    @property
    def is_announced(self) -> bool:
        """Whether `announce` tells the ledger; else the function's own calls do."""
        return False

    @abstractmethod
    def announce(self, call: Call) -> bool:
        """Tell the ledger; False: it recorded a finding, and the release must not happen."""

    @abstractmethod
    def carry_out(self, call: Call) -> Any:  # noqa: ANN401 - what the program's function gives
        """Give the memory back, and return what the function returned."""

    def unrecorded(self) -> Owner:
        """Return the owner of the same block when the ledger has no record of it."""
        return self

    def remember(self) -> None:
        """Keep what the ledger knows now, for a second release: the address may be reused."""
        record = interface.block_at(self.address)
        if record is not None and record.address == self.address and not record.is_live:
            self._evidence = record

    def note_second_release(self, call: Call, byte_count: int) -> None:
        """Record a double free by what was known at the first release."""
        evidence = self._evidence
        if evidence is None:
            evidence = BlockStructure()
            evidence.address = self.address
            evidence.size = byte_count
        call(interface.note_double_release, evidence)


class AllocatedOwner(Owner):
    """Memory of heapledger's own: released by `hl_free`, which announces itself."""

    __slots__ = ()
    _free = staticmethod(interface.free)

    def announce(self, call: Call) -> bool:
        """Leave it to `hl_free`."""
        return True

    def carry_out(self, call: Call) -> Any:  # noqa: ANN401
        """Release the memory."""
        return call(self._free, self.address)


class ForeignOwner(Owner):
    """Foreign memory whose release the ledger sees by itself: only the program's function runs."""

    __slots__ = ("_function", "_pointer")
    _argument_for = staticmethod(pointers.argument_for)

    def __init__(self, address: int, pointer: object, function: Callable[..., Any]) -> None:
        """Know the function, and the pointer as the program has it."""
        super().__init__(address)
        self._pointer = pointer
        self._function = function

    def announce(self, call: Call) -> bool:
        """Leave it to what the function calls."""
        return True

    def carry_out(self, call: Call) -> Any:  # noqa: ANN401
        """Call the program's function with the pointer."""
        return call(self._function, self._argument_for(self._function, self._pointer, self.address))


class AdoptedOwner(ForeignOwner):
    """Foreign memory whose release is announced to the ledger first, by its family."""

    __slots__ = ("family",)
    _release = staticmethod(interface.release)

    def __init__(
        self, address: int, pointer: object, function: Callable[..., Any], family: int
    ) -> None:
        """Know the number of the family that the function releases."""
        super().__init__(address, pointer, function)
        self.family = family

    @property
    def is_announced(self) -> bool:
        """The ledger cannot see this release by itself."""
        return True

    def announce(self, call: Call) -> bool:
        """Tell the ledger who is about to release the block."""
        return bool(call(self._release, self.address, self.family))

    def unrecorded(self) -> Owner:
        """There is nothing to announce then."""
        return ForeignOwner(self.address, self._pointer, self._function)


class RecordingOwner(Owner):
    """Foreign memory that somebody else releases: it is only recorded."""

    __slots__ = ()

    @property
    def can_release(self) -> bool:
        """There is no function."""
        return False

    def announce(self, call: Call) -> bool:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"the block at {self.address:#x} was adopted without a free function: "
            f"adopt(pointer, nbytes, free=...) names one"
        )

    def carry_out(self, call: Call) -> Any:  # noqa: ANN401
        """Do nothing: nobody gets here."""
        return None
