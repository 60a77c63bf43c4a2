"""The tables of `_native` against the generated header: what repairs them is editing the table."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

from heapledger._native import prototypes, status, structures

HEADER = Path(__file__).parent.parent.parent / "include" / "heapledger.h"

CTYPE_BY_C = {
    "void": None,
    "void*": ctypes.c_void_p,
    "char*": ctypes.c_char_p,
    "int32_t": ctypes.c_int32,
    "hl_status": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "uintptr_t": ctypes.c_size_t,
    "size_t*": ctypes.POINTER(ctypes.c_size_t),
    "uintptr_t*": ctypes.POINTER(ctypes.c_size_t),
    "uint32_t*": ctypes.POINTER(ctypes.c_uint32),
    "uint64_t*": ctypes.POINTER(ctypes.c_uint64),
    "hl_block_info*": ctypes.POINTER(structures.BlockStructure),
    "hl_statistics*": ctypes.POINTER(structures.StatisticsStructure),
    "hl_supplied_frame*": ctypes.POINTER(structures.SuppliedFrame),
    "hl_finding_callback": prototypes.FindingCallback,
    "hl_log_callback": prototypes.LogCallback,
    "hl_progress_callback": prototypes.ProgressCallback,
}

REPAIR = "mend PROTOTYPES in python/heapledger/_native/prototypes.py"


@pytest.fixture(scope="module")
def header() -> str:
    """Return the header without comments and preprocessor lines."""
    if not HEADER.exists():
        pytest.skip("the header is not there: heapledger is tested outside its source tree")
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r"^#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.MULTILINE)


def _declared(header: str) -> dict[str, tuple[str, list[str]]]:
    """Return result and parameter types of every function of the header, as text."""
    declarations = {}
    for result, name, parameters in re.findall(r"([\w\s*]+?)\b(hl_\w+)\s*\(([^()]*)\)\s*;", header):
        types = [] if parameters.strip() in {"", "void"} else parameters.split(",")
        declarations[name] = (_type(result), [_type(_without_name(one)) for one in types])
    return declarations


def _without_name(parameter: str) -> str:
    return re.sub(r"\w+$", "", parameter.strip())


def _type(text: str) -> str:
    words = re.sub(r"\b(const|struct|enum|extern)\b", "", text)
    return re.sub(r"\s+", "", words)


def test_every_function_of_the_header_has_a_prototype(header: str) -> None:
    assert set(_declared(header)) == set(prototypes.PROTOTYPES), REPAIR


@pytest.mark.parametrize("name", sorted(prototypes.PROTOTYPES))
def test_prototype_is_that_of_the_header(header: str, name: str) -> None:
    result, parameters = _declared(header)[name]
    prototype = prototypes.PROTOTYPES[name]
    expected: list[Any] = [CTYPE_BY_C[parameter] for parameter in parameters]
    assert prototype.result is CTYPE_BY_C[result], REPAIR
    assert list(prototype.arguments) == expected, REPAIR


def test_every_status_of_the_header_is_known(header: str) -> None:
    numbers = {
        name: int(number) for name, number in re.findall(r"\bHL_STATUS_(\w+) = (\d+)", header)
    } or {name: int(number) for name, number in re.findall(r"\bHL_(\w+) = (\d+)", header)}
    assert {member.name: member.value for member in status.Status} == numbers, (
        "mend Status in python/heapledger/_native/status.py"
    )
