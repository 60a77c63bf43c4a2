"""What is imported when: a program under `run` waits for every import of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import heapledger
from heapledger import _HOMES

PACKAGES = Path(heapledger.__file__).parent.parent

# None of these may be imported by `heapledger run SCRIPT`: each takes milliseconds.
DEAR = {
    "argparse",
    "ctypes",
    "dataclasses",
    "json",
    "pathlib",
    "re",
    "shutil",
    "tempfile",
    "typing",
}


def modules_after(source: str, *flags: str) -> set[str]:
    text = f"import sys; sys.path.insert(0, {str(PACKAGES)!r})\n{source}\nprint(*sys.modules)"
    command = [sys.executable, *flags, "-c", text]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(ran.stdout.split())


def test_the_command_imports_little_to_run_a_program() -> None:
    source = "sys.argv = ['/bin/heapledger']; from heapledger.cli import main, run"
    modules = modules_after(source, "-I", "-S")
    assert "heapledger.cli.child" in modules
    assert not DEAR & modules - modules_after("", "-I", "-S")


def test_a_program_that_imports_the_package_loads_the_library_and_nothing_else() -> None:
    modules = {name for name in modules_after("import heapledger") if name.startswith("heapledger")}
    assert "heapledger._native.library" in modules
    assert not modules & {"heapledger.session", "heapledger.records", "heapledger.blocks"}


@pytest.mark.parametrize("name", heapledger.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(heapledger, name) is not None
    assert name in dir(heapledger)


def test_every_public_name_has_one_home() -> None:
    named = [name for names in _HOMES.values() for name in names]
    assert sorted([*named, "__version__"]) == sorted(heapledger.__all__)


def test_a_module_is_there_without_its_import_and_another_name_is_not() -> None:
    modules_after("import heapledger; heapledger.errors.LeakError; heapledger.watch()")
    with pytest.raises(AttributeError, match="no attribute 'leek'"):
        _ = heapledger.leek  # type: ignore[attr-defined]
