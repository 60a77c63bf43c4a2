"""Bytes that a call says it reads or writes: by ctypes, by cffi, and by libc called from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, frames, run_attached, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Run

PRELUDE = """\
import contextlib, ctypes, os
library = ctypes.CDLL({path!r})
libc = ctypes.CDLL(None)
get, free = library.get_shared_memory, library.free_shared_memory
get.restype, get.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
class Eight(ctypes.Structure): _fields_ = [(name, ctypes.c_double) for name in "abcdefgh"]
Bytes = ctypes.POINTER(ctypes.c_char)
# start
text = ctypes.create_string_buffer(b"text", 1 << 16)
nothing = os.open("/dev/null", os.O_WRONLY)
no_text = contextlib.suppress(ValueError)
def zeroed():
    block = get(8)
    return ctypes.memset(block, 0, 64)
"""
LENGTH = PRELUDE.count("\n")
USE = {
    "string_at": "ctypes.string_at(block, {count})",
    "wide": "ctypes.wstring_at(block, {count} // 4)",
    "slice": "ctypes.cast(block, Bytes)[:{count}]",
    "raw": "(ctypes.c_char * {count}).from_address(block).raw",
    "memmove_from": "ctypes.memmove(text, block, {count})",
    "memmove_to": "ctypes.memmove(block, text, {count})",
    "memset": "ctypes.memset(block, 1, {count})",
    "libc_memcpy": "libc.memcpy(text, ctypes.c_void_p(block), ctypes.c_size_t({count}))",
    "libc_memcmp": "libc.memcmp(text, ctypes.c_void_p(block), {count})",
    "libc_write": "libc.write(nothing, ctypes.c_void_p(block), {count})",
    "set_raw": "setattr((ctypes.c_char * {count}).from_address(block), 'raw', bytes({count}))",
}
"""`block` has 64 bytes."""
START = {
    "string_at": "ctypes.string_at(block)",
    "value": "ctypes.c_char_p(block).value",
    "wide_value": "ctypes.c_wchar_p(block + 4).value",
    "strlen": "libc.strlen(ctypes.c_void_p(block))",
    "strcpy_from": "libc.strcpy(text, ctypes.c_void_p(block))",
    "strcpy_to": "libc.strcpy(ctypes.c_void_p(block), b'text')",
    "inside": "ctypes.string_at(block + 40, 4)",
    "structure": "(Eight * 1).from_address(block).__setitem__(0, Eight())",
}
WRITES = {"memmove_to", "memset", "set_raw", "strcpy_to", "structure"}


def run_statements(statements: str, folder: Path, *, scope: str = "foreign") -> Run:
    """Run what follows the prelude to a good end."""
    library = compile_plain("hints.cpp", folder)
    run = run_script(PRELUDE.format(path=str(library)) + statements, folder, scope=scope)
    assert (run.status, run.err) == (0, "")
    return run


@pytest.mark.parametrize("scope", ["foreign", "process"])
def test_what_lies_in_a_live_block_is_no_error(scope: str, tmp_path: Path) -> None:
    uses = [use.format(count=64) for use in USE.values()]
    begin, zero = "block = zeroed()", "ctypes.memset(block, 0, 64)"
    statements = "\n".join([begin, USE["wide"].format(count=64), *uses[2:], zero, *START.values()])
    statements += "\nfree(block)"
    # From memory that nobody recorded, of any length, and none at all.
    statements += "\nctypes.string_at(text, 80); ctypes.memmove(text, text, 0)"
    statements += "\nctypes.memmove(block, text, 0); ctypes.string_at(block, 0)\n"
    assert run_statements(statements, tmp_path, scope=scope).report["findings"] == []


def test_more_than_the_block_has(tmp_path: Path) -> None:
    uses = {name: use.format(count=68) for name, use in USE.items()}
    lines = [f"block = zeroed()\nwith no_text: {use}\nfree(block)" for use in uses.values()]
    found = by_line(run_statements("\n".join(lines), tmp_path))
    for name, line in zip(uses, range(LENGTH + 2, LENGTH + 2 + 3 * len(lines), 3), strict=True):
        kind, offset, done = found.pop(line)
        assert (kind, offset) == ("heap-overflow", 64), name
        assert done == ("a write" if name in WRITES else "a read"), name
    assert found == {}


def test_a_released_block(tmp_path: Path) -> None:
    uses = {name: use.format(count=8) for name, use in USE.items()} | START
    lines = [f"block = zeroed()\nfree(block)\nwith no_text: {use}" for use in uses.values()]
    found = by_line(run_statements("\n".join(lines), tmp_path))
    for name, line in zip(uses, range(LENGTH + 3, LENGTH + 3 + 3 * len(lines), 3), strict=True):
        kind, offset, done = found.pop(line)
        assert kind == "use-after-free", name
        assert offset == {"inside": 40, "wide_value": 4}.get(name, 0), name
        assert done == ("a write" if name in WRITES else "a read"), name
    assert found == {}


def by_line(run: Run) -> dict[int, tuple[str, int, str]]:
    """Return kind, offset and what was done of the findings, by the line that did it."""
    found = {}
    for one in run.report["findings"]:
        *_, (_, line) = frames(one, "here")
        assert line not in found, "two findings for one error"
        assert ("zeroed", LENGTH - 1) in list(frames(one, "allocated"))
        if one["kind"] == "use-after-free":
            assert list(frames(one, "released")) == [("<module>", line - 1)]
        found[line] = (one["kind"], one["block"]["offset"], one["message"].split(", ")[1])
    return found


def test_ctypes_functions_made_before_the_session(tmp_path: Path) -> None:
    library = compile_plain("hints.cpp", tmp_path)
    source = PRELUDE.format(path=str(library))
    source += "block = zeroed(); free(block); ctypes.memset(block, 1, 8); ctypes.string_at(block)\n"
    found = run_attached(source, tmp_path).report["findings"]
    assert [one["kind"] for one in found] == ["use-after-free"] * 2
    assert {one["message"].split(", ")[1] for one in found} == {"a write", "a read"}


CHECKS = """\
import heapledger
def told(): return [(found.kind, found.count) for found in heapledger.check()]
block, released = zeroed(), zeroed()
free(released)
ctypes.memmove(block, text, 68)
ctypes.memset(released, 1, 8)
print(sorted(told()), told())
free(block)
print(told())
"""


def test_a_check_answers_with_the_write_that_it_notices(tmp_path: Path) -> None:
    run = run_statements(CHECKS, tmp_path)
    first = [("heap-overflow", 1), ("use-after-free", 1)]
    assert run.out == f"{first} []\n[]\n"
    here = {tuple(frames(one, "here")) for one in run.report["findings"]}
    assert here == {(("<module>", LENGTH + line),) for line in (5, 6)}


ARRAY_USE = {
    "copy": "array({count}).copy()",
    "array": "numpy.array(array({count}))",
    "tobytes": "array({count}).tobytes()",
    "assign": "array({count})[:] = numpy.ones({count} // 8)",
}


def test_arrays_that_are_copied(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    pointer = "ctypes.cast(block, ctypes.POINTER(ctypes.c_double))"
    statements = [
        "import numpy",
        f"array = lambda count: numpy.ctypeslib.as_array({pointer}, (count // 8,))",
        "block = zeroed()",
    ]
    for use in ARRAY_USE.values():
        statements += [use.format(count=64), use.format(count=72)]
    statements += ["free(block)", *(use.format(count=64) for use in ARRAY_USE.values())]
    found = run_statements("\n".join(statements), tmp_path).report["findings"]
    told = sorted((one["kind"], one["message"].split(", ")[1]) for one in found)
    done = ["a read", "a read", "a read", "a write"]
    kinds = ("heap-overflow", "use-after-free")
    assert told == [(kind, what) for kind in kinds for what in done]


CFFI = """\
import cffi
ffi = cffi.FFI()
ffi.cdef("double *get_shared_memory(size_t); void free_shared_memory(double *);")
library = ffi.dlopen({path!r})
text = bytearray(80)
"""
CFFI_USE = {
    "unpack": "ffi.unpack(ffi.cast('char *', block), {count})",
    "memmove_from": "ffi.memmove(text, block, {count})",
    "memmove_to": "ffi.memmove(block, text, {count})",
    "buffer": "ffi.buffer(block, {count})[:]",
}


@pytest.mark.parametrize("kind", ["heap-overflow", "use-after-free"])
def test_cffi(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("cffi")
    statements = CFFI.format(path=str(compile_plain("hints.cpp", tmp_path)))
    for use in CFFI_USE.values():
        statements += f"block = library.get_shared_memory(8)\n{use.format(count=64)}\n"
        more, free = use.format(count=68), "library.free_shared_memory(block)"
        wrong = [more, free] if kind == "heap-overflow" else [free, use.format(count=8)]
        statements += "\n".join(wrong) + "\n"
    run = run_script(statements, tmp_path)
    assert (run.status, run.err) == (0, "")
    found = [(one["kind"], one["message"].split(", ")[1]) for one in run.report["findings"]]
    writes = [name in WRITES for name in CFFI_USE]
    assert sorted(found) == sorted((kind, "a write" if it else "a read") for it in writes)
