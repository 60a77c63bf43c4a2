"""Build the shared library with cargo and put it into the wheel.

`HEAPLEDGER_PREBUILT` names a finished library to take instead (`scripts/wheel` cross-links one),
and `HEAPLEDGER_PLATFORM` the platform tag of the wheel (default: this machine's).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "libheapledger.so"
PLACE = f"heapledger/_native/{LIBRARY}"
NO_CARGO = (
    "heapledger is partly written in Rust, and no `cargo` was found on PATH.\n"
    "Install Rust 1.90 or later (with rustup, or from your distribution if it is recent enough)\n"
    "and try again."
)
NO_COMPILER = (
    "heapledger needs a C compiler to link its library, and no `cc` was found on PATH.\n"
    "Install one (Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++) and try again."
)


class LibraryBuildHook(BuildHookInterface[Any]):
    """Puts `libheapledger.so` beside the Python files and tags the wheel for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library before the wheel is assembled; a source distribution needs none."""
        if self.target_name != "wheel":
            return
        prebuilt = os.environ.get("HEAPLEDGER_PREBUILT")
        library = Path(prebuilt) if prebuilt else build_library(Path(self.root))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"
        if version == "editable":
            replace(library, Path(self.root, "python", PLACE))
        else:
            build_data["force_include"][str(library)] = PLACE


def platform_tag() -> str:
    """Return the wheel's platform tag, such as `linux_x86_64`."""
    platform = os.environ.get("HEAPLEDGER_PLATFORM") or sysconfig.get_platform()
    return platform.replace("-", "_").replace(".", "_")


def build_library(root: Path) -> Path:
    """Run cargo and return the path of the shared library it reports."""
    if shutil.which("cargo") is None:
        sys.exit(NO_CARGO)
    command = ["cargo", "build", "--release", "--locked", "--lib"]
    # The library's path is read from cargo's own report: the target directory may be configured.
    command.append("--message-format=json-render-diagnostics")
    finished = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode != 0:
        no_compiler = not any(map(shutil.which, ("cc", "gcc", "clang")))
        sys.exit(NO_COMPILER if no_compiler else "heapledger: cargo failed; its errors are above.")
    messages = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    files = [file for message in messages for file in message.get("filenames", [])]
    return Path(next(file for file in files if file.endswith("/" + LIBRARY)))


def replace(library: Path, place: Path) -> None:
    """Copy under a temporary name, then rename: a process that has the old file mapped keeps it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{LIBRARY}.{os.getpid()}")
    shutil.copyfile(library, temporary)
    temporary.replace(place)
