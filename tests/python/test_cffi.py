"""cffi in ABI mode: its calls are foreign calls like those of ctypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, frames, run_script

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("cffi")

PROGRAM = """
import cffi
ffi = cffi.FFI()
ffi.cdef('''
    double *get_shared_memory(size_t count);
    void free_shared_memory(double *block);
    void *get_plain_memory(size_t size);
    void *malloc(size_t); void free(void *); char *strdup(const char *);
    void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
''')
library = ffi.dlopen({path!r})
libc = ffi.dlopen(None)
def leak():
    return library.get_shared_memory(42)
for _ in range(10):
    leak()
for _ in range(10):
    libc.free(library.get_plain_memory(100))
    libc.free(libc.strdup(b"a text"))
block = library.get_shared_memory(7)
library.free_shared_memory(block)
library.free_shared_memory(block)
libc.malloc(24)
kept = []
@ffi.callback("int(const void *, const void *)")
def compare(left, right):
    kept.append(bytearray(1000))
    libc.free(library.get_plain_memory(8))
    return 0
libc.qsort(ffi.new("int[10]"), 10, 4, compare)
managed = ffi.gc(library.get_shared_memory(3), library.free_shared_memory)
buffer = ffi.buffer(managed, 24)
del managed, buffer
print("the end")
"""


@pytest.mark.parametrize("scope", ["foreign", "process"])
def test_a_library_opened_by_cffi(scope: str, tmp_path: Path) -> None:
    library = compile_plain("shared_memory.cpp", tmp_path, "-O2")
    run = run_script(PROGRAM.format(path=str(library)), tmp_path, scope=scope)
    assert (run.status, run.out, run.err) == (0, "the end\n", "")
    leak = run.leaks["get_shared_memory"]
    assert (leak["blocks"], leak["bytes"], leak["family"]) == (10, 3360, "new[]")
    assert leak["foreign_function"]["library"] == str(library)
    assert leak["handed_to_python"]
    assert list(frames(leak, "allocated")) == [("leak", 14), ("<module>", 16)]
    assert {name: leak["blocks"] for name, leak in run.leaks.items()} == {
        "get_shared_memory": 10,
        "malloc": 1,
    }
    (twice,) = run.errors
    assert twice["kind"] == "double-free"
    lines = [line for side in ("allocated", "released", "here") for _, line in frames(twice, side)]
    assert lines == [20, 21, 22]


KEEPING = """
#include <stdlib.h>
static void *handed_out[100];
static int handed_out_count;
int create(void **out, size_t size)
{
    void *handle = malloc(size);
    handed_out[handed_out_count++] = handle;
    *out = handle;
    return 0;
}
"""
OUT_PARAMETERS = """
import cffi
ffi = cffi.FFI()
ffi.cdef("int create(void **, size_t);")
library = ffi.dlopen({path!r})
for _ in range(10):
    out = ffi.new("void **")
    library.create(out, 40)
"""


@pytest.mark.parametrize("scope", ["foreign", "process"])
def test_an_out_parameter_of_cffis_is_pythons(scope: str, tmp_path: Path) -> None:
    """cffi takes the memory of an out-parameter from malloc: in scope `process` it is on record."""
    source = tmp_path / "keeping.c"
    source.write_text(KEEPING)
    library = compile_plain(str(source), tmp_path)
    run = run_script(OUT_PARAMETERS.format(path=str(library)), tmp_path, scope=scope)
    assert run.status == 0
    assert run.leaks["create"]["blocks"] == 10
    assert run.leaks["create"]["handed_to_python"]
