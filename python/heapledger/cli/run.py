"""`heapledger run`: start the program with the library preloaded, wait, report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from heapledger import options as session_options
from heapledger._native import interface
from heapledger.cli.child import Ending, run_child
from heapledger.cli.collected import Collection
from heapledger.cli.files import checked_suppressions, writable
from heapledger.errors import StateError, UsageError

if TYPE_CHECKING:
    import argparse

PRELOAD = "LD_PRELOAD"
PRELOAD_SEPARATORS = " :"
"""What the dynamic linker splits `LD_PRELOAD` at; there is no way to escape them."""


def run(options: argparse.Namespace) -> int:
    """Run the program; return its exit status, or that of `--error-exitcode`.

    When the program was killed by a signal, this process ends by the same signal.
    """
    json_file = writable(options.json, "report file")
    suppressions = checked_suppressions(options.suppressions)
    command = _command(options.program)
    chosen = session_options.session_options(options.scope, options.check, options.native_stacks)
    chosen |= session_options.check_options(
        quarantine_blocks=options.quarantine_blocks,
        quarantine_bytes=options.quarantine_bytes,
        guard=options.guard,
        check_every=options.check_every,
    )
    if options.all_leaks:
        chosen |= session_options.ALL_LEAKS
    _refuse_unsupported(chosen)
    with Collection() as collection:
        environment = _environment(chosen, collection)
        ending = run_child(command, environment)
        report = collection.report(ending, command, suppressions)
        if json_file is not None:
            collection.save(report, json_file)
        if not options.quiet:
            collection.print(report, suppressions, all_frames=options.all_frames)
        found = collection.has_findings(report)
    if found and options.error_exitcode is not None:
        return int(options.error_exitcode)
    return _same_ending(ending)


def _command(program: list[str]) -> list[str]:
    script = program[0]
    if script not in {"-m", "-"} and not Path(script).exists():
        raise UsageError(f"there is no script {script}")
    return [sys.executable, *program]


def _refuse_unsupported(chosen: dict[str, str]) -> None:
    """Try the session here: in the program nobody could be told that it cannot be had.

    Raises:
        UnsupportedError, UsageError: the library says why not.
    """
    try:
        interface.start(session_options.option_text(chosen))
    except StateError:
        return  # A session of the environment is running, so they can be had.
    interface.stop()


def _environment(chosen: dict[str, str], collection: Collection) -> dict[str, str]:
    """Return the program's environment: ours, the library preloaded, the options of the session."""
    environment = dict(os.environ)
    library = interface.library_path()
    if library is None or any(mark in str(library) for mark in PRELOAD_SEPARATORS):
        raise UsageError(
            f"the library {library} cannot be preloaded: its path is unknown or contains a space "
            f"or a colon; set HEAPLEDGER_LIBRARY to a copy elsewhere"
        )
    before = environment.get(PRELOAD)
    environment[PRELOAD] = f"{library}:{before}" if before else str(library)
    ours = {"json": collection.pattern, "run_by": str(os.getpid())}
    values = session_options.environment_options() | chosen | ours
    environment[session_options.VARIABLE] = session_options.option_text(values)
    return environment


def _same_ending(ending: Ending) -> int:
    if ending.signal is not None:
        ending.repeat()
    return ending.status
