"""Run every program of this folder, each in a process of its own, and show what it reports."""

from __future__ import annotations

import subprocess
import sys

from _library import HERE, compiled
from heapledger._native.library import file_path

PROGRAMS = ("correct", "forgets", "frees_twice", "frees_interior", "frees_while_viewed")


def main() -> int:
    """Return 0 when every program survived, as all of them must."""
    commands = {f"{name}.py": [sys.executable, str(HERE / f"{name}.py")] for name in PROGRAMS}
    unmodified = [sys.executable, "-m", "heapledger", "run", str(HERE / "unmodified.py")]
    commands = {"heapledger run unmodified.py": unmodified} | commands
    commands["c_program.c"] = [c_program()]
    failed = [name for name, command in commands.items() if not survives(name, command)]
    if failed:
        print(f"These programs did not survive: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def c_program() -> str:
    """Compile the C program against the header and the installed library."""
    library = file_path()
    include = HERE.parent / "include"
    options = (f"-I{include}", str(library), f"-Wl,-rpath,{library.parent}")
    return str(compiled(HERE / "c_program.c", "c_program", *options))


def survives(name: str, command: list[str]) -> bool:
    """Run one program with its output on ours; whether it ended with status 0."""
    print(f"\n===== {name} =====", flush=True)
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
