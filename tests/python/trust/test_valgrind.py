"""The library under valgrind, called by the C sources of tests/bugs: it does nothing undefined."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from compiling import ROOT, compile_program, compile_shared

if TYPE_CHECKING:
    from pathlib import Path

# These write or look outside their blocks, which valgrind says of them and not of us.
WRONG_THEMSELVES = ("heap_overflow_into_next_block", "heap_underflow")
SOURCES = sorted(
    path
    for path in (ROOT / "tests" / "bugs").glob("*.c")
    if not path.name.startswith(WRONG_THEMSELVES)
)
PROGRAM = """\
#include "heapledger.h"
#include <dlfcn.h>

int main(int count, char **paths)
{
    for (int place = 1; place < count; ++place) {
        void *library = dlopen(paths[place], RTLD_NOW);
        void (*run)(void) = library ? (void (*)(void))dlsym(library, "run") : NULL;
        if (!run)
            return 1;
        run();
    }
    size_t length;
    hl_check();
    return hl_report_text(NULL, 0, &length) == HL_BUFFER_TOO_SMALL ? 0 : 2;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_memcheck_finds_nothing_in_the_library(tmp_path: Path) -> None:
    """Every wrong source and every clean one in a process: glibc hears of no error."""
    assert len(SOURCES) > 50
    source = tmp_path / "program.c"
    source.write_text(PROGRAM, encoding="utf-8")
    program = compile_program(source, tmp_path)
    libraries = [str(compile_shared(path, tmp_path)) for path in SOURCES]
    command = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=no", str(program)]
    finished = subprocess.run(
        [*command, *libraries], capture_output=True, text=True, timeout=300, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
