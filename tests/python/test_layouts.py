"""Sizes and offsets of our structures against those a C compiler sees in the header."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from heapledger._native import structures

INCLUDE = Path(__file__).parent.parent.parent / "include"

STRUCTURE_BY_C: dict[str, type[ctypes.Structure]] = {
    "hl_block_info": structures.BlockStructure,
    "hl_statistics": structures.StatisticsStructure,
    "hl_supplied_frame": structures.SuppliedFrame,
}


def _fields(structure: type[ctypes.Structure]) -> list[str]:
    """Return the names of all fields, those of base classes first."""
    own = [kind.__dict__.get("_fields_", []) for kind in reversed(structure.__mro__)]
    return [field[0] for fields in own for field in fields]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Print from C: sizes by structure, offsets by structure and field."""
    compiler = shutil.which("cc")
    if compiler is None or not (INCLUDE / "heapledger.h").exists():
        pytest.skip("there is no C compiler, or no header")
    lines = []
    for name, structure in STRUCTURE_BY_C.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field in _fields(structure):
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
    source = '#include <stdio.h>\n#include "heapledger.h"\nint main(void) {\n' + "\n".join(lines)
    place = tmp_path_factory.mktemp("layouts")
    (place / "layouts.c").write_text(source + "\nreturn 0; }\n", encoding="utf-8")
    command = [compiler, f"-I{INCLUDE}", "-o", str(place / "layouts"), str(place / "layouts.c")]
    subprocess.run(command, check=True)
    printed = subprocess.run([place / "layouts"], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in printed.stdout.splitlines())
    return {name: int(number) for name, number in pairs}


@pytest.mark.parametrize("name", STRUCTURE_BY_C)
def test_layout_is_that_of_c(measured: dict[str, int], name: str) -> None:
    structure = STRUCTURE_BY_C[name]
    assert ctypes.sizeof(structure) == measured[name]
    for field in _fields(structure):
        assert getattr(structure, field).offset == measured[f"{name}.{field}"], field


def test_structures_begin_with_their_size() -> None:
    block = structures.BlockStructure()
    assert block.struct_size == ctypes.sizeof(block)
    assert _fields(structures.BlockStructure)[0] == "struct_size"
