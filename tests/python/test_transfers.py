"""Memory that the kernel reads and writes for a library: `read`, `write` and their kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, frames, run_script

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """\
import ctypes, os, socket, tempfile
library = ctypes.CDLL({path!r})
library.get.restype = ctypes.c_void_p
def use(name, block, asked, arrives):
    # Each with a fresh file or pair of sockets in which so many bytes wait.
    if name in ("takes_recv", "gives_send"):
        ours, theirs = socket.socketpair()
        theirs.send(b"x" * arrives)
        return getattr(library, name)(ours.fileno(), ctypes.c_void_p(block), ctypes.c_size_t(asked))
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * arrives); file.seek(0)
        return getattr(library, name)(file.fileno(), ctypes.c_void_p(block), ctypes.c_size_t(asked))
"""
TAKES = ["takes_read", "takes_pread", "takes_recv", "takes_fread"]
GIVES = ["gives_write", "gives_pwrite", "gives_send", "gives_fwrite"]
SIZES = [64, 1 << 20]
"""Of a block that is guarded if the check is on, and of one that is closed when it is released."""


@pytest.mark.parametrize("options", ["", "check=guard", "guard=first"])
def test_what_the_kernel_touches_is_judged_by_what_it_did(options: str, tmp_path: Path) -> None:
    source = PRELUDE.format(path=str(compile_plain("transfers.c", tmp_path)))
    expected = []
    for name in TAKES + GIVES:
        access = "a write" if name in TAKES else "a read"
        for size in SIZES[: 1 if name in ("takes_recv", "gives_send") else 2]:
            source += f"block = library.get({size})\n"
            # As many as it has, and fewer than asked for: no error.
            source += f"assert use({name!r}, block, {size}, {size}) == {size}\n"
            if name in TAKES:
                source += f"assert use({name!r}, block, {size + 8}, 10) == 10\n"
            if size == SIZES[0]:
                source += f"assert use({name!r}, block, {size + 8}, {size + 8}) == {size + 8}\n"
                expected.append(("heap-overflow", size, access, source.count("\n")))
            source += "library.put(ctypes.c_void_p(block))\n"
            source += f"assert use({name!r}, block, 48, 48) == 48\n"
            expected.append(("use-after-free", 0, access, source.count("\n")))
    run = run_script(source, tmp_path, options=options)
    assert (run.status, run.err) == (0, "")
    found = []
    for one in run.report["findings"]:
        *_, (_, line) = frames(one, "here")
        done = one["message"].split(", ")[1]
        found.append((one["kind"], one["block"]["offset"], done, line))
    assert sorted(found, key=lambda it: it[3]) == expected
