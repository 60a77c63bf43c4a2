"""heapledger: a ledger of the native memory that a Python program allocates through ctypes.

It keeps, for every recorded block, its size, its origin (Python file and line), its state and who
released it, and reports leaks, double frees and the other ownership errors with the Python line of
every side. The program goes on.

    import heapledger

    block = heapledger.adopt(lib.make(42), 42 * 8, free=lib.destroy)
    values = block.array("float64")      # no copy; keeps the block alive

    with heapledger.no_leaks():
        work()

The import loads the library and starts nothing. All functions are thread-safe; sizes are bytes.
"""

from heapledger.blocks import Block
from heapledger.errors import (
    AbiMismatchError,
    ArgumentTypeError,
    ExportedBufferError,
    FileError,
    FindingError,
    HeapledgerError,
    InternalError,
    LeakError,
    LibraryNotFoundError,
    LimitError,
    NotRecordedError,
    NumpyNotFoundError,
    OutOfMemoryError,
    PointerTypeError,
    ReleasedError,
    StateError,
    UnsupportedError,
    UsageError,
)
from heapledger.families import Family, pair
from heapledger.growth import Growth, growth
from heapledger.memory import adopt, allocate, array, free
from heapledger.records import (
    BlockInfo,
    Damage,
    Finding,
    FindingBlock,
    ForeignFunction,
    Frame,
    Mark,
    Moment,
    Stats,
)
from heapledger.session import (
    check,
    describe,
    findings,
    leaks,
    log_to_logging,
    mark,
    on_finding,
    report,
    start,
    stats,
    stop,
)
from heapledger.watch import Watch, no_leaks, watch

__version__ = "0.1.0"

__all__ = [
    "AbiMismatchError",
    "ArgumentTypeError",
    "Block",
    "BlockInfo",
    "Damage",
    "ExportedBufferError",
    "Family",
    "FileError",
    "Finding",
    "FindingBlock",
    "FindingError",
    "ForeignFunction",
    "Frame",
    "Growth",
    "HeapledgerError",
    "InternalError",
    "LeakError",
    "LibraryNotFoundError",
    "LimitError",
    "Mark",
    "Moment",
    "NotRecordedError",
    "NumpyNotFoundError",
    "OutOfMemoryError",
    "PointerTypeError",
    "ReleasedError",
    "StateError",
    "Stats",
    "UnsupportedError",
    "UsageError",
    "Watch",
    "__version__",
    "adopt",
    "allocate",
    "array",
    "check",
    "describe",
    "findings",
    "free",
    "growth",
    "leaks",
    "log_to_logging",
    "mark",
    "no_leaks",
    "on_finding",
    "pair",
    "report",
    "start",
    "stats",
    "stop",
    "watch",
]
