"""What the comparison needs, in a folder of its own: a virtual environment, compiled programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import heapledger
from heapledger._native.library import file_path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class EnvironmentTrouble(Exception):
    """The environment cannot be made; the text says what to do."""


@dataclass(frozen=True)
class Environment:
    """The folder and its interpreter."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter that runs the workloads."""
        return self.folder / "venv" / "bin" / "python"

    @cache  # noqa: B019 - one environment lives as long as the program
    def has_module(self, name: str) -> bool:
        """Tell whether a package was installed."""
        return self._pip("show", "-q", name).returncode == 0

    def version(self, name: str) -> str:
        """Return the version of an installed package."""
        shown = self._pip("show", name).stdout.splitlines()
        return next((line.split()[1] for line in shown if line.startswith("Version:")), "none")

    def prepare(self, modules: set[str], tools: list[str]) -> list[str]:
        """Make what is not there yet, and return sentences about what could not be had."""
        troubles = []
        if not self.python.exists():
            made = _run([sys.executable, "-m", "venv", "--clear", str(self.folder / "venv")])
            if made.returncode != 0:
                raise EnvironmentTrouble(
                    f"{sys.executable} cannot make a virtual environment: {made.stderr.strip()}\n"
                    "(on Debian and Ubuntu: apt-get install python3-venv)"
                )
        for name in sorted(modules):
            if not self.has_module(name):
                self.has_module.cache_clear()
                installed = self._pip("install", "-q", "--only-binary=:all:", name)
                if installed.returncode != 0:
                    last = installed.stderr.strip().splitlines()[-1:]
                    troubles.append(f"{name} could not be installed: {' '.join(last)}")
        return troubles + _install_system_packages(tools)

    def compile(self, source: Path, *options: str) -> Path:
        """Compile a C++ source once: a program, or with `-shared` a library."""
        suffix = ".so" if "-shared" in options else ""
        target = self.folder / f"{source.stem}{suffix}"
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            common = ["c++", "-O2", "-g", "-std=c++17", "-pthread", "-fPIC"]
            made = _run([*common, *options, "-o", str(target), str(source)])
            if made.returncode != 0:
                raise EnvironmentTrouble(f"{source.name} cannot be compiled: {made.stderr.strip()}")
        return target

    def _pip(self, *words: str) -> subprocess.CompletedProcess[str]:
        quiet = ["--disable-pip-version-check", "--no-input"]
        return _run([str(self.python), "-m", "pip", *quiet, *words])


def package_folder() -> Path:
    """Return the folder that holds the heapledger that runs this."""
    return Path(heapledger.__file__).parents[1]


def library() -> Path:
    """Return the library that is measured: the one of the heapledger that runs this."""
    return file_path()


def has_asan() -> bool:
    """Tell whether the run time of AddressSanitizer is there."""
    return any(Path("/usr/lib/x86_64-linux-gnu").glob("libasan.so.*"))


def _install_system_packages(tools: list[str]) -> list[str]:
    """Install what Debian has for these tools, where we may."""
    needed = {"heaptrack": ("heaptrack", "heaptrack"), "memcheck": ("valgrind", "valgrind")}
    wanted = [
        package
        for tool, (program, package) in needed.items()
        if tool in tools and not shutil.which(program)
    ]
    if "asan" in tools and not has_asan():
        wanted.append("libasan8")
    if not wanted:
        return []
    by_hand = f"apt-get install {' '.join(wanted)}"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return [f"not installed: {' '.join(wanted)} (as root: {by_hand})"]
    _run(["apt-get", "update", "-qq"])
    installed = _run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *wanted])
    if installed.returncode != 0:
        return [f"{by_hand} failed: {installed.stderr.strip()[-200:]}"]
    return []


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
