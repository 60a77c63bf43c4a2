"""heapledger: a ledger of the native memory that a Python program allocates through ctypes.

It keeps, for every recorded block, its size, its origin (Python file and line), its state and who
released it, and reports leaks, double frees and the other ownership errors with the Python line of
every side. The program goes on.

    import heapledger

    block = heapledger.adopt(lib.make(42), 42 * 8, free=lib.destroy)
    values = block.array("float64")      # no copy; keeps the block alive

    with heapledger.no_leaks():
        work()

The import loads the library and starts nothing; the modules are imported when a name of theirs is
first used. All functions are thread-safe; sizes are bytes.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    from heapledger.growing import Growth, growth
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
    from heapledger.watching import Watch, no_leaks, watch

__version__ = "0.1.0"

_HOMES = {
    "blocks": ("Block",),
    "errors": (
        "AbiMismatchError",
        "ArgumentTypeError",
        "ExportedBufferError",
        "FileError",
        "FindingError",
        "HeapledgerError",
        "InternalError",
        "LeakError",
        "LibraryNotFoundError",
        "LimitError",
        "NotRecordedError",
        "NumpyNotFoundError",
        "OutOfMemoryError",
        "PointerTypeError",
        "ReleasedError",
        "StateError",
        "UnsupportedError",
        "UsageError",
    ),
    "families": (
        "Family",
        "pair",
    ),
    "growing": (
        "Growth",
        "growth",
    ),
    "memory": (
        "adopt",
        "allocate",
        "array",
        "free",
    ),
    "records": (
        "BlockInfo",
        "Damage",
        "Finding",
        "FindingBlock",
        "ForeignFunction",
        "Frame",
        "Mark",
        "Moment",
        "Stats",
    ),
    "session": (
        "check",
        "describe",
        "findings",
        "leaks",
        "log_to_logging",
        "mark",
        "on_finding",
        "report",
        "start",
        "stats",
        "stop",
    ),
    "watching": (
        "Watch",
        "no_leaks",
        "watch",
    ),
}
"""The public names, by the module that has them."""

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


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(_imported(module), name)
            globals()[name] = value
            return value
    if name in _HOMES:
        return _imported(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is public, imported or not."""
    return sorted({*globals(), *__all__})


def _imported(module: str) -> object:
    # The function that an import statement calls, without the modules that `importlib` needs.
    name = f"{__name__}.{module}"
    __import__(name)
    return sys.modules[name]


def _is_command() -> bool:
    """Tell whether this is the command line, which needs no library to run a program under it."""
    called = next(iter(getattr(sys, "argv", ())), "")
    return called == "-m" or called.rpartition("/")[2] == __name__


def _is_plugin() -> bool:
    """Tell whether pytest's plugin imports this, which loads the library when it needs it."""
    imports = sys.modules.get("heapledger_pytest.imports")
    return imports is not None and bool(imports.watch.is_own)


if not _is_command() and not _is_plugin():
    _imported("_native.calls")
