"""Pointers that a missing `restype` cuts to 32 bits, and results that only look like it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, frames, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Run

GIVING = [
    "gives_malloc",
    "gives_array",
    "gives_large_array",
    "gives_object",
    "gives_object_of_many_parts",
    "gives_self",
    "gives_parent",
    "gives_string",
]
ACCIDENTAL = {
    "means_status": "",
    "means_nothing": "",
    "means_sum": "10",
    "fills_registry": "",
    "fills_list": "",
    "appends_to_list": "",
    "fills_out": "ctypes.byref(place)",
}
BUILDS = ["-O0", "-O1", "-O2", "-O3"]
OPEN = "import ctypes\nlibrary = ctypes.CDLL({path!r})\nplace = ctypes.c_void_p()\n"


def run_statements(statements: str, build: str, calls: str, folder: Path) -> Run:
    """Run what calls `library`, from the fourth line on, to a good end."""
    library = compile_plain("cut.cpp", folder, build)
    run = run_script(OPEN.format(path=str(library)) + statements, folder, calls=calls)
    assert (run.status, run.err) == (0, "")
    return run


@pytest.mark.parametrize("calls", ["auto", "types"])
@pytest.mark.parametrize("build", BUILDS)
def test_a_cut_pointer_is_noticed_however_the_library_is_compiled(
    build: str, calls: str, tmp_path: Path
) -> None:
    text = "".join(f"value = library.{name}()\n" * 2 for name in GIVING)
    run = run_statements(text, build, calls, tmp_path)
    cut = {found["foreign_function"]["name"]: found for found in run.of_kind("truncated-pointer")}
    assert set(cut) == set(GIVING)
    for number, name in enumerate(GIVING):
        lines = {line for _, line in frames(cut[name], "here")}
        assert lines <= {4 + 2 * number, 5 + 2 * number}, name
        assert "low 32 bits" in " ".join([cut[name]["message"], *cut[name]["hints"]])


@pytest.mark.parametrize("calls", ["auto", "types"])
@pytest.mark.parametrize("build", BUILDS)
def test_a_result_that_nobody_meant_is_no_cut_pointer(
    build: str, calls: str, tmp_path: Path
) -> None:
    calls_made = (f"library.{name}({arguments})\n" for name, arguments in ACCIDENTAL.items())
    text = "".join(f"for _ in range(5): value = {call}" for call in calls_made)
    assert run_statements(text, build, calls, tmp_path).errors == []


@pytest.mark.parametrize("calls", ["auto", "types"])
@pytest.mark.parametrize("build", BUILDS)
def test_a_result_that_nobody_takes_is_cut_for_nobody(
    build: str, calls: str, tmp_path: Path
) -> None:
    """A function that returns nothing and loses a block leaves its address in the register."""
    text = "for _ in range(50): library.loses()\nfor _ in range(50): library.gives_malloc()\n"
    run = run_statements(text, build, calls, tmp_path)
    assert run.errors == []
    assert sum(leak["blocks"] for leak in run.of_kind("leak")) == 100


@pytest.mark.parametrize("calls", ["auto", "types"])
def test_a_cut_pointer_that_the_library_kept_is_noticed_when_it_is_used(
    calls: str, tmp_path: Path
) -> None:
    library = compile_plain("cut.cpp", tmp_path, "-O2")
    text = OPEN.format(path=str(library)) + "library.first_byte.argtypes = [ctypes.c_void_p]\n"
    text += "value = library.keeps_and_gives()\nlibrary.first_byte(value)\n"
    run = run_script(text, tmp_path, calls=calls)
    assert run.status == -signal.SIGSEGV
    (cut,) = run.of_kind("truncated-pointer")
    assert [line for _, line in frames(cut, "here")] == [6]


def test_a_cut_pointer_that_python_follows_is_noticed_in_its_death(tmp_path: Path) -> None:
    library = compile_plain("cut.cpp", tmp_path, "-O2")
    text = OPEN.format(path=str(library))
    text += "value = library.keeps_and_gives()\nctypes.string_at(value + 8)\n"
    run = run_script(text, tmp_path)
    assert run.status == -signal.SIGSEGV
    (cut,) = run.of_kind("truncated-pointer")
    assert [line for _, line in frames(cut, "allocated")] == [4]


HANDLE = """
class Handle(ctypes.Structure):
    _fields_ = [("pool", ctypes.c_void_p), ("flags", ctypes.c_uint)]
library.opens.restype = Handle
library.closes.argtypes = [Handle]
handle = library.opens()
for _ in range(3):
    library.closes(handle)
"""


@pytest.mark.parametrize("build", BUILDS)
def test_what_a_structure_passed_by_value_leads_to_is_kept(build: str, tmp_path: Path) -> None:
    library = compile_plain("cut.cpp", tmp_path, build)
    run = run_script(OPEN.format(path=str(library)) + HANDLE, tmp_path)
    assert (run.status, run.err) == (0, "")
    assert run.errors == []
