"""Packaging: one wheel for every Python, made from the source distribution, and clear refusals."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from compiling import LIBRARY, ROOT

pytestmark = pytest.mark.slow
OVERRIDES = ("PYTHONPATH", "HEAPLEDGER_LIBRARY")  # what conftest.py sets for a source tree
UNOPTIMISED = "[profile.release.package.heapledger]\nopt-level = 0\ndebug = 0\n"
LIBRARY_IN_WHEEL = "heapledger/_native/libheapledger.so"


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    build("--sdist", "--outdir", str(folder), str(ROOT))
    return next(folder.glob("heapledger-*.tar.gz"))


def test_a_wheel_from_the_source_distribution_works(
    source_distribution: Path, tmp_path: Path
) -> None:
    with tarfile.open(source_distribution) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("heapledger-*"))
    # The compiled dependencies are shared with the checkout; the library itself is built anew, and
    # need not be fast.
    (tmp_path / ".cargo").mkdir()
    (tmp_path / ".cargo" / "config.toml").write_text(UNOPTIMISED)
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    build("--wheel", "--outdir", str(tmp_path), str(source), CARGO_TARGET_DIR=target)
    (wheel,) = tmp_path.glob("heapledger-*.whl")
    assert "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as content:
        libraries = [name for name in content.namelist() if name.endswith(".so")]
    assert libraries == [LIBRARY_IN_WHEEL]
    assert run_from(wheel, tmp_path / "venv", "correct.py").returncode == 0


def test_a_prebuilt_library_gives_a_wheel_with_the_tag_asked_for(tmp_path: Path) -> None:
    chosen = {"HEAPLEDGER_PREBUILT": str(LIBRARY), "HEAPLEDGER_PLATFORM": "manylinux2014_x86_64"}
    build("--wheel", "--outdir", str(tmp_path), str(ROOT), **chosen)
    (wheel,) = tmp_path.glob("heapledger-*.whl")
    assert wheel.name.endswith("-py3-none-manylinux2014_x86_64.whl")


@pytest.mark.parametrize(
    ("present", "advice"),
    [((), "Install Rust 1.90 or later"), (("cargo", "rustc"), "apt-get install g++")],
)
def test_a_missing_tool_is_a_clear_message(
    present: tuple[str, ...], advice: str, tmp_path: Path
) -> None:
    for tool in present:
        path = shutil.which(tool)
        assert path is not None
        (tmp_path / tool).symlink_to(path)
    environment = {"PATH": str(tmp_path), "CARGO_TARGET_DIR": str(tmp_path / "target")}
    finished = attempt("--wheel", "--outdir", str(tmp_path), str(ROOT), **environment)
    assert finished.returncode != 0
    assert advice in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr


def build(*arguments: str, **environment: str) -> None:
    """Run `python -m build`, which must succeed."""
    finished = attempt(*arguments, **environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def attempt(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m build` with these variables added to the environment."""
    return subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def run_from(wheel: Path, folder: Path, example: str) -> subprocess.CompletedProcess[bytes]:
    """Install a wheel and NumPy into a new environment and run an example there."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel, "numpy"], check=True)
    environment = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    return subprocess.run([python, ROOT / "examples" / example], env=environment, check=False)
