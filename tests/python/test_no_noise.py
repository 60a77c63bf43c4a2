"""Clean programs and libraries of every kind: exactly nothing is found."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from intercepted import SOURCES, compile_plain, run_preloaded, run_script

TIDY = re.findall(r"^void (\w+)\(\) \{$", (SOURCES / "tidy.cpp").read_text("utf-8"), re.MULTILINE)
SCOPES = ("foreign", "process")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_clean_library_has_no_findings(scope: str, tmp_path: Path) -> None:
    library = compile_plain("tidy.cpp", tmp_path)
    text = f"import ctypes\nlibrary = ctypes.CDLL({str(library)!r})\n"
    text += f"for name in {TIDY} * 2:\n"
    text += "    function = getattr(library, name)\n    function.restype = None\n    function()\n"
    run = run_script(text, tmp_path, scope=scope)
    assert len(TIDY) >= 12
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []
    assert run.report["stats"]["total_blocks"] > 1000


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_module_in_cxx_leaves_behind_is_no_leak_unless_called_as_foreign(
    scope: str, tmp_path: Path
) -> None:
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        pytest.skip("the interpreter's headers are not installed")
    module = tmp_path / f"extension{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = ["c++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", f"-I{headers}"]
    subprocess.run([*command, "-o", module, SOURCES / "extension.cpp"], check=True)
    # With its slots rewritten before the module's static constructors run.
    run_time = "import ctypes; ctypes.CDLL('libstdc++.so.6'), ctypes.CDLL(None).getpid()\n"
    for before in ["", run_time]:
        run = run_script(f"{before}import extension", tmp_path, scope=scope)
        assert run.report["findings"] == []
    text = f"import ctypes\nctypes.PyDLL({str(module)!r}).forget_one()\n"
    leaks = run_script(text, tmp_path, scope=scope).leaks
    assert list(leaks) == ["forget_one"]


@pytest.mark.parametrize("symbols", [[], ["-s"]], ids=["with symbols", "stripped"])
def test_what_a_run_time_of_its_own_keeps_for_exceptions_is_no_leak(
    symbols: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "own_runtime"
    command = ["c++", "-O1", "-w", "-static-libstdc++", "-static-libgcc", *symbols]
    subprocess.run([*command, "-o", str(program), str(SOURCES / "own_runtime.cpp")], check=True)
    run = run_preloaded([str(program)], tmp_path, scope="process")
    assert (run.status, run.out, run.report["findings"]) == (0, "thrown\n", [])
    (leak,) = run_preloaded([str(program), "and"], tmp_path, scope="process").report["findings"]
    assert (leak["kind"], leak["bytes"]) == ("leak", 72_704), "the size alone is no reason"


def test_a_clean_program_has_no_findings(tmp_path: Path) -> None:
    program = tmp_path / "tidy"
    command = ["c++", "-std=c++17", "-g", "-O1", "-w", "-pthread", "-DMAIN"]
    subprocess.run([*command, "-o", str(program), str(SOURCES / "tidy.cpp")], check=True)
    plain = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    run = run_preloaded([str(program)], tmp_path, scope="process")
    assert (run.status, run.out, run.err) == (0, plain.stdout, plain.stderr)
    assert run.report["findings"] == []
    assert run.report["stats"]["total_blocks"] > 1000


PROGRAMS = {
    "nothing": "",
    "modules": (
        "import json, ssl, sqlite3, asyncio, decimal, xml.etree.ElementTree, zoneinfo, hashlib\n"
        "ssl.create_default_context()\n"
        "sqlite3.connect(':memory:').execute('select 1').fetchall()\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "xml.etree.ElementTree.fromstring('<a><b/></a>')\n"
        "hashlib.sha256(b'text').hexdigest()\n"
    ),
    "logging": (
        "import logging, logging.handlers, queue\n"
        "logging.basicConfig(level=logging.DEBUG, filename='/dev/null')\n"
        "logging.info('a line')\n"
    ),
    "numbers": "import numpy\nnumpy.linalg.svd(numpy.random.rand(50, 50))\n",
    "tables": "import pandas\npandas.DataFrame({'a': [1, 2]}).groupby('a').sum()\n",
    "names": "import socket, locale, time\nsocket.getaddrinfo('localhost', 80)\ntime.tzset()\n",
    "threads": (
        "import concurrent.futures\n"
        "with concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "    print(sum(pool.map(lambda number: len(str(number)), range(1000))))\n"
    ),
}
NEEDED = {"numbers": "numpy", "tables": "pandas"}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_clean_python_program_has_no_findings(name: str, scope: str, tmp_path: Path) -> None:
    needed = NEEDED.get(name)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    run = run_script(PROGRAMS[name], tmp_path, scope=scope)
    assert (run.status, run.err) == (0, "")
    assert run.report["findings"] == []
