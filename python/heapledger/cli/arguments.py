"""The options of each command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from heapledger import __version__
from heapledger.cli.asked import MODULE_OPTION, Asked, split_at_program
from heapledger.options import (
    CHECKS,
    NATIVE_STACKS,
    REPORT_FORMATS,
    SCOPES,
    checks_in,
)

EXIT_STATUS_MAX = 255

RUN_USAGE = """heapledger run [OPTIONS] SCRIPT [ARGS...]
       heapledger run [OPTIONS] -m MODULE [ARGS...]"""


def parse(arguments: list[str]) -> Asked | argparse.Namespace:
    """Return the options; `command` is the name of the one to carry out.

    Exits with status 2 and a message when they make no sense, as argparse does.
    """
    parser, run_parser = _parsers()
    if arguments[:1] != ["run"]:
        return parser.parse_args(arguments)
    own, program = split_at_program(arguments[1:])
    options = parser.parse_args(["run", *own], namespace=Asked())
    if not program:
        run_parser.error("name a SCRIPT, or a module with -m MODULE")
    if program == [MODULE_OPTION]:
        run_parser.error("-m needs the name of a module")
    options.program = program
    return options


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="heapledger",
        description="Find leaks, double frees and other ownership errors of native memory.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"heapledger {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run_parser = _add_run(commands)
    _add_report(commands)
    doctor_parser = commands.add_parser(
        "doctor",
        help="say what can be intercepted in this interpreter, and why not",
        description="Say what can be intercepted in this interpreter, and why not.",
    )
    doctor_parser.set_defaults(command="doctor")
    return parser, run_parser


def _add_run(commands: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse has no public name
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a program and report what it did with native memory",
        description="Run a program and report on stderr, after its end, what it did wrong.",
        usage=RUN_USAGE,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--scope", choices=SCOPES, default=Asked.scope, help="which allocations are recorded"
    )
    parser.add_argument(
        "--check",
        type=_checks,
        default=Asked.check,
        metavar="NAME[,NAME...]",
        help=f"what is done to recorded blocks: {', '.join(CHECKS)}, or none",
    )
    _add_check_options(parser)
    parser.add_argument(
        "--native-stacks",
        choices=NATIVE_STACKS,
        default=Asked.native_stacks,
        help="how much of the native stack is taken",
    )
    parser.add_argument(
        "--all-leaks",
        action="store_true",
        help="list every live block at the end: the interpreter's too, and what libraries keep",
    )
    parser.add_argument(
        "--contents",
        action="store_true",
        help="tell the first bytes of the blocks that are reported (the report may hold secrets)",
    )
    _add_all_frames(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    _add_suppressions(parser)
    parser.add_argument(
        "--error-exitcode",
        type=_exit_status,
        metavar="N",
        help="the exit status when there are findings (default: the program's own)",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print no report when the program has ended"
    )
    parser.set_defaults(command="run")
    return parser


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quarantine-blocks", metavar="N", help="withhold at most so many released blocks"
    )
    parser.add_argument(
        "--quarantine-bytes", metavar="N", help="withhold at most so much memory (such as 64M)"
    )
    parser.add_argument(
        "--guard",
        metavar="HOW",
        help="guard the first block of each stack (first), one of so many (1/100), on one side or "
        "both (right, left, alternate), or none (off)",
    )
    parser.add_argument(
        "--check-every", metavar="N", help="look for damage everywhere after so many releases"
    )


def _add_report(commands: Any) -> None:  # noqa: ANN401
    parser = commands.add_parser(
        "report", help="print a saved report", description="Print a saved report."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a report in JSON")
    parser.add_argument("--format", choices=REPORT_FORMATS, default="text", help="default: text")
    _add_all_frames(parser)
    parser.add_argument(
        "--sysroot",
        type=_folder,
        metavar="DIR",
        help="name native frames from the files under DIR ('/': those of this machine)",
    )
    _add_suppressions(parser)
    parser.set_defaults(command="report")


def _add_all_frames(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="show the native frames of the interpreter, of libffi and of heapledger too",
    )


def _add_suppressions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suppressions", type=Path, metavar="FILE", help="lines KIND:PATTERN of what to hide"
    )


def _checks(text: str) -> list[str]:
    names = checks_in(text)
    for name in names:
        if name not in CHECKS:
            known = ", ".join(CHECKS)
            raise argparse.ArgumentTypeError(f"unknown check {name!r}: known are {known}, none")
    return names


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return Path(text)


def _exit_status(text: str) -> int:
    if not text.isdecimal() or int(text) > EXIT_STATUS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {EXIT_STATUS_MAX}")
    return int(text)
