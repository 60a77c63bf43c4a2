"""What `heapledger run` was asked for, and where the program's own words begin.

Nothing is imported here that the program would have to wait for.
"""

from __future__ import annotations

from heapledger.options import DEFAULT_CHECKS, DEFAULT_NATIVE_STACKS, DEFAULT_SCOPE

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODULE_OPTION = "-m"

# The options of `run` that take no value. Where the program begins depends on it.
RUN_FLAGS = frozenset(
    {"-h", "--help", "-q", "--quiet", "--all-leaks", "--all-frames", "--contents"}
)


class Asked:
    """The options of `run`, with their defaults."""

    scope: str = DEFAULT_SCOPE
    check: Sequence[str] = DEFAULT_CHECKS
    native_stacks: str = DEFAULT_NATIVE_STACKS
    quarantine_blocks: str | None = None
    quarantine_bytes: str | None = None
    guard: str | None = None
    check_every: str | None = None
    all_leaks: bool = False
    contents: bool = False
    all_frames: bool = False
    json: Path | None = None
    suppressions: Path | None = None
    error_exitcode: int | None = None
    quiet: bool = False
    program: list[str]

    @property
    def has_plain_checks(self) -> bool:
        """Whether the checks are some of the usual ones, in their usual way."""
        ways = (self.quarantine_blocks, self.quarantine_bytes, self.guard, self.check_every)
        return set(self.check) <= set(DEFAULT_CHECKS) and ways == (None, None, None, None)

    @property
    def is_plain(self) -> bool:
        """Whether the report is printed as it is, and nothing else is to be known of it."""
        more = (self.json, self.suppressions, self.error_exitcode)
        return not self.all_frames and more == (None, None, None)


def plainly_asked(arguments: Sequence[str]) -> Asked | None:
    """Return what `run PROGRAM` asks for; None: there are options, or it is a mistake."""
    if arguments[:1] != ["run"]:
        return None
    own, program = split_at_program(arguments[1:])
    if own or not program or program == [MODULE_OPTION]:
        return None
    asked = Asked()
    asked.program = program
    return asked


def split_at_program(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments of `run` where the program's begin: at SCRIPT, or at `-m`.

    argparse would take the program's options for ours.
    """
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            return list(arguments[:index]), list(arguments[index + 1 :])
        if argument == MODULE_OPTION or not argument.startswith("-") or argument == "-":
            break
        index += 1 if argument in RUN_FLAGS or "=" in argument else 2
    return list(arguments[:index]), list(arguments[index:])
