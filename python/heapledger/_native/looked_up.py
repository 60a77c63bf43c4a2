"""Functions of the C library that ctypes looked up before a session began.

A look-up during a session gives the library's own entry; one before it gave libc's function, and a
call of that is not seen: memory that it releases would look like a leak. So function objects that
exist when a session begins are pointed to what the same look-up gives now. That entry stays valid
when the session ends; it then passes every call on.
"""

from __future__ import annotations

import gc
from ctypes import CDLL, CFUNCTYPE, addressof, c_void_p
from itertools import compress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAMES = (
    *("malloc", "calloc", "realloc", "reallocarray", "free", "free_sized", "free_aligned_sized"),
    *("posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc", "malloc_usable_size"),
    *("strdup", "strndup", "wcsdup", "getline", "getdelim", "asprintf", "vasprintf"),
    *("_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm"),
)
"""Functions that allocate or release; those that are not to be found are passed over."""

LIBRARIES = (None, "libc.so.6")
"""Where they are looked up: a program that is not position independent has a `free` of its own."""

_FUNCTION_TYPE: Any = CFUNCTYPE(None).__mro__[-3]
"""`_ctypes.CFuncPtr`, from which the type of every function object is derived."""


def addresses() -> dict[tuple[str | None, str], int]:
    """Return what a look-up of each name gives now, in each library."""
    found = {}
    for library in LIBRARIES:
        functions = CDLL(library)
        for name in NAMES:
            try:
                found[library, name] = _pointer_of(functions[name]).value or 0
            except AttributeError:
                continue
    return found


def redirect(before: dict[tuple[str | None, str], int]) -> int:
    """Point existing function objects to what a look-up gives now, and return how many there were.

    `before` is what the look-ups gave before the session began.
    """
    now = addresses()
    changed = {old: now[key] for key, old in before.items() if now.get(key, old) != old}
    count = 0
    for function in _function_objects() if changed else ():
        pointer = _pointer_of(function)
        if pointer.value in changed:
            pointer.value = changed[pointer.value]
            count += 1
    return count


def _function_objects() -> Iterable[Any]:
    """Return the function objects among all that the garbage collector knows.

    By the number of the type: nothing is asked of objects or of their classes, which may answer
    with work of their own, and no Python code runs for each of some hundred thousand objects.
    """
    types = {id(one) for one in _with_derived(_FUNCTION_TYPE)}
    objects = gc.get_objects()
    return compress(objects, map(types.__contains__, map(id, map(type, objects))))


def _with_derived(base: type) -> Iterator[type]:
    yield base
    derived: type
    for derived in type.__subclasses__(base):
        yield from _with_derived(derived)


def _pointer_of(function: Any) -> c_void_p:  # noqa: ANN401 - ctypes' function types are dynamic
    """Return the place in a function object that holds the function's address."""
    return c_void_p.from_address(addressof(function))
