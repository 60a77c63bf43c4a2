"""Addresses out of what people call a pointer, and pointers out of addresses.

Accepted as pointers: an `int`, `c_void_p` and its like, `POINTER(...)` instances, ctypes arrays,
structures and unions (their own memory), and everything that has a `_as_parameter_`.
"""

from __future__ import annotations

import ctypes
import operator
from typing import Any

from heapledger.errors import PointerTypeError, UsageError

ADDRESS_END = 1 << 64
POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)

_Simple: Any = ctypes.c_int.__mro__[1]
_Pointer: Any = ctypes._Pointer
_Function: Any = ctypes._CFuncPtr  # type: ignore[attr-defined]
_AGGREGATES = (ctypes.Array, ctypes.Structure, ctypes.Union)

TEXT_RESULT = (
    "got {kind}, not a pointer: a function whose restype is {restype} gives Python a copy of the "
    "text and the pointer is lost. Declare restype = ctypes.c_void_p"
)


def address_of(pointer: object) -> int:
    """Return the address that `pointer` stands for; zero for null (`None` is null in ctypes).

    Raises:
        PointerTypeError: it is no pointer.
        UsageError: it is a number that cannot be an address.
    """
    if pointer is None:
        return 0
    if isinstance(pointer, int):
        return _checked(pointer)
    if isinstance(pointer, _Pointer | _Function):
        return ctypes.cast(pointer, ctypes.c_void_p).value or 0
    if isinstance(pointer, _AGGREGATES):
        return ctypes.addressof(pointer)
    if isinstance(pointer, _Simple):
        return _address_of_simple(pointer)
    return _address_of_other(pointer)


def byte_count_of(pointer: object) -> int | None:
    """Return the size in bytes that the pointer's own type tells; only arrays and the like do."""
    return ctypes.sizeof(pointer) if isinstance(pointer, _AGGREGATES) else None


def belongs_to_python(pointer: object) -> bool:
    """Tell whether the memory is a ctypes object's own, as that of `(c_double * 4)()` is."""
    return isinstance(pointer, _AGGREGATES) and bool(pointer._b_needsfree_)


def void_pointer(address: int) -> ctypes.c_void_p:
    """Return `address` as a ctypes pointer, which no call cuts to 32 bits."""
    return ctypes.c_void_p(address)


def function_address(function: object) -> int | None:
    """Return where a foreign function's code is; None when it is no ctypes function."""
    if isinstance(function, _Function):
        return ctypes.cast(function, ctypes.c_void_p).value
    return None


def result_cuts_pointers(function: object) -> bool:
    """Tell whether a ctypes function gives back an `int` of 32 bits, as it does by default."""
    if not isinstance(function, _Function):
        return False
    result = function.restype
    return isinstance(result, type) and ctypes.sizeof(result) < POINTER_BYTES


def function_name(function: object) -> str:
    """Return the name under which a report mentions a function."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return str(name or type(function).__name__)


def argument_for(function: object, pointer: object, address: int) -> object:
    """Return what to pass to `function` for the block at `address`, known to us as `pointer`.

    A ctypes function gets its first declared argument type, or a `c_void_p` when none is declared
    (a plain `int` would be cut to 32 bits). Any other callable gets what the program gave us.

    Raises:
        UsageError: the declared type cannot hold a pointer.
    """
    if not isinstance(function, _Function):
        return pointer
    declared = function.argtypes
    if not declared:
        return void_pointer(address)
    first = declared[0]
    if isinstance(first, type) and issubclass(first, _Pointer):
        return ctypes.cast(address, first)
    if isinstance(first, type) and issubclass(first, ctypes.c_char_p | ctypes.c_wchar_p):
        return ctypes.cast(address, first)
    if isinstance(first, type) and issubclass(first, _Simple):
        if ctypes.sizeof(first) < POINTER_BYTES:
            name = function_name(function)
            message = f"{name} is declared to take a {first.__name__}, which cannot hold a pointer"
            raise UsageError(message)
        return address
    return pointer


def span(address: int, byte_count: int) -> ctypes.Array[ctypes.c_ubyte]:
    """Return a ctypes array over memory that is not ours; it supports weak references.

    The class is made anew for each call: `c_ubyte * n` would stay in ctypes' cache of types.
    """
    members = {"_type_": ctypes.c_ubyte, "_length_": byte_count}
    kind: Any = type("Span", (ctypes.Array,), members)
    found: ctypes.Array[ctypes.c_ubyte] = kind.from_address(address)
    return found


def fill_with_zeros(address: int, byte_count: int) -> None:
    """Write zeros over `byte_count` bytes from `address`, which the caller owns."""
    ctypes.memset(address, 0, byte_count)


def _checked(address: int) -> int:
    if -(1 << 31) <= address < 0:
        raise UsageError(
            f"{address} is no address: it looks like a pointer that was cut to 32 bits, by a "
            f"function without a restype. Declare restype = ctypes.c_void_p"
        )
    if not 0 <= address < ADDRESS_END:
        raise UsageError(f"{address} is no address of {POINTER_BYTES * 8} bits")
    return address


def _address_of_simple(pointer: Any) -> int:  # noqa: ANN401 - a ctypes value
    if isinstance(pointer, ctypes.c_char_p | ctypes.c_wchar_p):
        return ctypes.cast(pointer, ctypes.c_void_p).value or 0
    if ctypes.sizeof(pointer) < POINTER_BYTES:
        kind = type(pointer).__name__
        raise PointerTypeError(f"a {kind} is too small to hold a pointer")
    value = pointer.value
    if value is not None and not isinstance(value, int):
        raise PointerTypeError(f"a {type(pointer).__name__} is not a pointer")
    return _checked(value or 0)


def _address_of_other(pointer: object) -> int:
    if isinstance(pointer, bytes):
        raise PointerTypeError(TEXT_RESULT.format(kind="bytes", restype="c_char_p"))
    if isinstance(pointer, str):
        raise PointerTypeError(TEXT_RESULT.format(kind="str", restype="c_wchar_p"))
    inner = getattr(pointer, "_as_parameter_", None)
    if inner is not None:
        return address_of(inner)
    try:
        return _checked(operator.index(pointer))  # type: ignore[arg-type]
    except TypeError:
        kind = type(pointer).__name__
        raise PointerTypeError(f"a pointer is needed, got {kind}") from None
