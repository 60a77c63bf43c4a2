"""`heapledger run`: start the program with the library preloaded, wait, report."""

from __future__ import annotations

import os
import sys

from heapledger import options as session_options
from heapledger._native import place
from heapledger.cli.child import run_child
from heapledger.cli.directory import JSON_SUFFIX, TEXT_SUFFIX, Directory
from heapledger.cli.standard_error import show
from heapledger.errors import StateError, UsageError

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from heapledger.cli.asked import Asked
    from heapledger.cli.child import Ending

PRELOAD = "LD_PRELOAD"
PRELOAD_SEPARATORS = " :"
"""What the dynamic linker splits `LD_PRELOAD` at; there is no way to escape them."""

GLIBC = "CS_GNU_LIBC_VERSION"


def run(options: Asked) -> int:
    """Run the program; return its exit status, or that of `--error-exitcode`.

    When the program was killed by a signal, this process ends by the same signal.
    """
    _check_files(options)
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
    if options.contents:
        chosen |= session_options.CONTENTS
    if not _is_known_to_work(options):
        _refuse_unsupported(chosen)
    with Directory() as directory:
        ending = run_child(command, _environment(options, chosen, directory))
        found = _report(options, ending, command, directory)
    if found and options.error_exitcode is not None:
        return int(options.error_exitcode)
    if ending.signal is not None:
        ending.repeat()
    return ending.status


def _check_files(options: Asked) -> None:
    """Check the files that were named, before anything runs.

    Raises:
        UsageError: one cannot be read or written.
    """
    if options.json is None and options.suppressions is None:
        return
    from heapledger.cli.files import checked_suppressions, writable

    writable(options.json, "report file")
    checked_suppressions(options.suppressions)


def _command(program: list[str]) -> list[str]:
    script = program[0]
    if script not in {"-m", "-"} and not os.path.exists(script):
        raise UsageError(f"there is no script {script}")
    return [sys.executable, *program]


def _is_known_to_work(options: Asked) -> bool:
    """Tell whether the session can be had for certain, without loading the library to try."""
    machine = os.uname()
    is_supported = machine.sysname == "Linux" and machine.machine == "x86_64"
    is_alone = PRELOAD not in os.environ and session_options.VARIABLE not in os.environ
    return is_supported and GLIBC in os.confstr_names and options.has_plain_checks and is_alone


def _refuse_unsupported(chosen: dict[str, str]) -> None:
    """Try the session here: in the program nobody could be told that it cannot be had.

    Raises:
        UnsupportedError, UsageError: the library says why not.
    """
    from heapledger._native import interface

    try:
        interface.start(session_options.option_text(chosen))
    except StateError:
        return  # A session of the environment is running, so they can be had.
    interface.stop()


def _environment(options: Asked, chosen: dict[str, str], directory: Directory) -> dict[str, str]:
    """Return the program's environment: ours, the library preloaded, the options of the session."""
    environment = dict(os.environ)
    before = environment.get(PRELOAD)
    library = _library(before)
    environment[PRELOAD] = f"{library}:{before}" if before else library
    ours = {"json": directory.pattern(JSON_SUFFIX), "run_by": str(os.getpid())}
    if options.is_plain and not options.quiet:
        ours["text"] = directory.pattern(TEXT_SUFFIX)
    values = session_options.environment_options() | chosen | ours
    environment[session_options.VARIABLE] = session_options.option_text(values)
    return environment


def _library(preloaded: str | None) -> str:
    """Return the library's file: the one that is in this process already, if that may be.

    Raises:
        LibraryNotFoundError: there is none.
        UsageError: it cannot be preloaded.
    """
    if preloaded:
        from heapledger._native import interface

        path = interface.library_path()
        library = "" if path is None else str(path)
    else:
        library = place.existing_file_name()
    if not library or any(mark in library for mark in PRELOAD_SEPARATORS):
        raise UsageError(
            f"the library {library} cannot be preloaded: its path is unknown or contains a space "
            f"or a colon; set HEAPLEDGER_LIBRARY to a copy elsewhere"
        )
    return library


def _report(options: Asked, ending: Ending, command: list[str], directory: Directory) -> bool:
    """Report what was found; tell whether it was anything."""
    if options.is_plain:
        # Whether there are findings is of no consequence.
        if options.quiet and directory.has_report(ending.process):
            return False
        text = directory.only_text(ending.process)
        if text is not None:
            show(text)
            return False
    from heapledger.cli.collected import Collection

    collection = Collection(directory)
    report = collection.report(ending, command, options.suppressions)
    if options.json is not None:
        collection.save(report, options.json)
    if not options.quiet:
        collection.print(report, options.suppressions, all_frames=options.all_frames)
    return collection.has_findings(report)
