"""The exceptions of heapledger: one tree, whose root is `HeapledgerError`.

An exception says that a call to heapledger could not be carried out. An error of the program under
test is never an exception: it is a `Finding`. `FindingError` is the one bridge, for assertions.

Where an exception of Python says the same (`ValueError`, `MemoryError`, `BufferError` ...), ours is
one of that kind too, so that code which knows nothing of heapledger can catch it.
"""

from __future__ import annotations

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from heapledger.records import Finding


class HeapledgerError(Exception):
    """The root of all exceptions that heapledger raises."""


class UsageError(HeapledgerError, ValueError):
    """An argument has the right type and a value that makes no sense."""


class PointerTypeError(HeapledgerError, TypeError):
    """An argument is no pointer: it has no address, or not any more."""


class ArgumentTypeError(HeapledgerError, TypeError):
    """An argument has a type that the call cannot use; the message says which one it needs."""


class ReleasedError(UsageError):
    """The block was released before."""


class ExportedBufferError(HeapledgerError, BufferError):
    """The block cannot be released: arrays or views made from it are alive."""


class StateError(HeapledgerError, RuntimeError):
    """The call does not fit the moment: a session was started twice, for example."""


class UnsupportedError(HeapledgerError, NotImplementedError):
    """The library cannot do this, here or yet; the message says which."""


class LimitError(HeapledgerError, RuntimeError):
    """A named limit of the library was reached."""


class OutOfMemoryError(HeapledgerError, MemoryError):
    """The memory that was asked for is not to be had."""


class NotRecordedError(HeapledgerError, LookupError):
    """The ledger knows nothing of this address."""


class FileError(HeapledgerError, OSError):
    """A file could not be read or written."""


class InternalError(HeapledgerError, RuntimeError):
    """The library or this package made a mistake: please report it."""


class NumpyNotFoundError(HeapledgerError, ImportError):
    """NumPy is needed for this call and is not installed."""


class LibraryNotFoundError(HeapledgerError, ImportError):
    """`libheapledger.so` is missing or cannot be loaded; the message says what to do."""


class AbiMismatchError(HeapledgerError, ImportError):
    """The library and this package belong to different versions; the message names both."""


class FindingError(HeapledgerError, AssertionError):
    """A test misused native memory. The message is the report.

    `findings` holds what was found as a tuple of `Finding`.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        """Keep the report as the message, and the findings it was made from."""
        super().__init__(message)
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[type[FindingError], tuple[str, tuple[Finding, ...]]]:
        """Pickle with the findings: test runners send failures between processes."""
        return type(self), (str(self), self.findings)


class LeakError(FindingError):
    """Native blocks were left behind. The message is the report."""
