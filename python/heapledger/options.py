r"""The options of a session, and their text form: `key=value`, separated by colons.

The library reads this form from `hl_start` and from the environment variable
`HEAPLEDGER_OPTIONS`. A colon inside a value is written `\:`.
"""

from __future__ import annotations

import os

from heapledger.errors import UsageError

# Not from `typing`: the command line does without its import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "HEAPLEDGER_OPTIONS"

SCOPES = ("explicit", "foreign", "process")
"""Which allocations enter the ledger."""

CHECKS = ("quarantine", "redzone", "guard")
"""What can be done to recorded blocks beyond recording them."""

NATIVE_STACKS = ("off", "boundary", "full")
"""How much of the native stack is taken: none, up to the foreign call, all."""

REPORT_FORMATS = ("text", "json")

DEFAULT_SCOPE = "foreign"
DEFAULT_CHECKS = ("quarantine", "redzone")
DEFAULT_NATIVE_STACKS = "boundary"
NO_CHECK = "none"

ALL_LEAKS = {"all_leaks": "1"}
"""Every live block is a leak: the interpreter's too, and what a library keeps."""

CONTENTS = {"contents": "1"}
"""The report tells the first bytes of the blocks in it; otherwise it has none of them."""

_ESCAPED = "\0"
"""Stands for an escaped colon, which separates nothing; no environment has it."""


def option_text(values: Mapping[str, str]) -> str:
    """Return the text form."""
    pairs = (f"{key}={value}".replace(":", r"\:") for key, value in values.items())
    return ":".join(pairs)


def parsed(text: str) -> dict[str, str]:
    """Read the text form; what has no value gets an empty one."""
    parts = text.replace(r"\:", _ESCAPED).split(":")
    pairs = (part.replace(_ESCAPED, ":").partition("=") for part in parts if part)
    return {key.strip(): value for key, _, value in pairs}


def environment_options() -> dict[str, str]:
    """Return the options that the environment gives to this process."""
    return parsed(os.environ.get(VARIABLE, ""))


def session_options(scope: str, checks: Iterable[str], native_stacks: str) -> dict[str, str]:
    """Return the options of a session, every value known.

    Raises:
        UsageError: a value is not; the message lists those that are.
    """
    if isinstance(checks, str):
        checks = checks_in(checks)
    names = list(checks)
    for name in names:
        _one_of("check", name, CHECKS)
    return {
        "scope": _one_of("scope", scope, SCOPES),
        "check": ",".join(names) or NO_CHECK,
        "native_stacks": _one_of("native_stacks", native_stacks, NATIVE_STACKS),
    }


def check_options(
    *,
    quarantine_blocks: int | str | None = None,
    quarantine_bytes: int | str | None = None,
    guard: str | None = None,
    check_every: int | str | None = None,
) -> dict[str, str]:
    """Return how the checks are carried out; what is None keeps the library's default.

    `quarantine_bytes` may have a unit ("64M"). The library says what is wrong with a value.
    """
    chosen = {
        "quarantine_blocks": quarantine_blocks,
        "quarantine_bytes": quarantine_bytes,
        "guard": guard,
        "check_every": check_every,
    }
    return {name: str(value) for name, value in chosen.items() if value is not None}


def checks_in(text: str) -> list[str]:
    """Read a list separated by commas; "none" and "" are no check."""
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name not in {"", NO_CHECK}]


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"unknown {option} {value!r}: known are {', '.join(known)}")
    return value
