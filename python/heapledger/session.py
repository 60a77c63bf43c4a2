"""Sessions, and questions to the ledger: what is live, what leaked, what went wrong.

Explicit operations are recorded with and without a session; a session adds interception (by scope)
and checks. Everything here is thread-safe and about the whole process.

The records are imported where one is made: a session that finds nothing does without.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from heapledger import origins, reports
from heapledger._native import callbacks, interface, looked_up
from heapledger.errors import ArgumentTypeError, PointerTypeError, StateError, UsageError
from heapledger.kinds import FINDING_KINDS
from heapledger.options import (
    DEFAULT_CHECKS,
    DEFAULT_NATIVE_STACKS,
    DEFAULT_SCOPE,
    check_options,
    option_text,
    session_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from heapledger.records import BlockInfo, Finding, Mark, Stats

    FindingCallback = Callable[[Finding], object]

LOGGER = logging.getLogger("heapledger")

LOGGING_LEVELS = {
    1: logging.ERROR,
    2: logging.WARNING,
    3: logging.INFO,
    4: logging.DEBUG,
    5: logging.DEBUG // 2,
}
"""The library's levels, from 1 (error) to 5 (trace), in the numbers of `logging`."""

LEAK = "leak"

# Whether the session that is running gives way to one that the program starts itself.
_gives_way = False

# Replaced as a whole, never changed: a finding may be passed on by another thread at any time.
_finding_callbacks: tuple[FindingCallback, ...] = ()


def start(
    *,
    scope: str = DEFAULT_SCOPE,
    checks: Iterable[str] = DEFAULT_CHECKS,
    native_stacks: str = DEFAULT_NATIVE_STACKS,
    quarantine_blocks: int | None = None,
    quarantine_bytes: int | str | None = None,
    guard: str | None = None,
    check_every: int | None = None,
) -> None:
    """Begin a session.

    `scope` ("explicit", "foreign", "process") says which allocations enter the ledger, `checks`
    ("quarantine", "redzone", "guard") what is done to recorded blocks beyond recording them,
    `native_stacks` ("off", "boundary", "full") how much of the native stack is taken.

    `quarantine_blocks` and `quarantine_bytes` (a number, or "64M") are the most that the
    quarantine withholds over all threads; `guard` guards the first block of each stack ("first"),
    some blocks only ("1/100") or none ("off"), or says on which side ("left", "right",
    "alternate"); with `check_every` everything is looked at after so many releases. When the
    environment has started a session already (`heapledger run`), that one goes on as it is.

    Raises:
        UsageError: a name that is not known.
        UnsupportedError: the library cannot do this here, or yet.
        StateError: this program has started a session already.
    """
    options = session_options(scope, checks, native_stacks) | check_options(
        quarantine_blocks=quarantine_blocks,
        quarantine_bytes=quarantine_bytes,
        guard=guard,
        check_every=check_every,
    )
    if confirm():
        stop()
    origins.connect()
    known = looked_up.addresses()
    interface.start(option_text(options))
    looked_up.redirect(known)


def start_for_now(*, scope: str, checks: Iterable[str], native_stacks: str) -> None:
    """Begin a session that gives way: until it is confirmed, `start` puts another in its place."""
    global _gives_way
    start(scope=scope, checks=checks, native_stacks=native_stacks)
    _gives_way = True


def confirm() -> bool:
    """Let a session that gives way stay; False: there is none."""
    global _gives_way
    gave_way, _gives_way = _gives_way, False
    return gave_way


def stop() -> None:
    """End the session and leave the process as it was; without a session, do nothing.

    What was recorded stays: leaks and findings can still be asked for.
    """
    confirm()
    try:
        interface.stop()
    except StateError:
        return


def check() -> list[Finding]:
    """Look for damage in every recorded block now, and return what was found.

    Writes behind live blocks and into released ones are found; each damaged block once.
    """
    before = mark()
    origins.call(interface.check_blocks)
    return findings_since(before)


def stats() -> Stats:
    """Return the ledger's totals: bytes and blocks, findings by kind, what the ledger costs."""
    from heapledger.records import STATS_COUNTS, Stats

    totals = interface.statistics()
    counts = {name: int(getattr(totals, name)) for name in STATS_COUNTS}
    found = dict(zip(FINDING_KINDS, totals.findings, strict=True))
    return Stats(**counts, findings={kind: count for kind, count in found.items() if count})


def describe(pointer: object) -> BlockInfo | None:
    """Return what the ledger knows of the block at, or around, `pointer`; None: nothing.

    Raises:
        PointerTypeError: it is no pointer.
    """
    from heapledger.blocks import address_of
    from heapledger.records import BlockInfo

    described = interface.describe(address_of(pointer))
    return None if described is None else BlockInfo.from_dict(described)


def mark() -> Mark:
    """Make a point in time, for `since=`."""
    from heapledger.records import Mark

    return Mark(interface.mark())


def leaks(*, since: Mark | None = None) -> list[Finding]:
    """Return the blocks that are live now as findings, those with the same stacks as one.

    With `since`, only blocks allocated after that mark.

    Raises:
        ArgumentTypeError: `since` is no mark.
    """
    return _findings_of(interface.leaks_since(_number(since)))


def findings(*, kinds: Iterable[str] | str | None = None) -> list[Finding]:
    """Return the errors that were detected, or only those of some kinds.

    A live block is no error yet, so leaks come only when `kinds` names "leak".

    Raises:
        UsageError: a kind that does not exist.
    """
    if kinds is None:
        return findings_since(None)
    wanted = {kinds} if isinstance(kinds, str) else set(kinds)
    unknown = wanted.difference(FINDING_KINDS)
    if unknown:
        names = ", ".join(FINDING_KINDS)
        raise UsageError(f"unknown kind {sorted(unknown)[0]!r}: known are {names}")
    found = findings_since(None) + (leaks() if LEAK in wanted else [])
    return [finding for finding in found if finding.kind in wanted]


def findings_since(since: Mark | None) -> list[Finding]:
    """Return the errors that were detected after a mark, leaks not included."""
    return _findings_of(interface.findings_since(_number(since)))


def report(format: str = "text") -> str:
    """Return the report of this process, as "text" for people or as "json".

    Raises:
        UsageError: another format.
    """
    return reports.current(format)


def on_finding(callback: FindingCallback | None) -> Callable[[], None]:
    """Have `callback(finding)` called for every error that is detected from now on.

    It is called on the thread that erred, before that thread goes on. What it raises is logged to
    the logger "heapledger". Several callbacks are called in the order of registration; None takes
    all of them back. Returns a function that takes this one back.

    Raises:
        PointerTypeError: the callback cannot be called.
    """
    global _finding_callbacks
    if callback is None:
        _finding_callbacks = ()
    elif callable(callback):
        _finding_callbacks = (*_finding_callbacks, callback)
    else:
        raise PointerTypeError(f"a function is needed, got {type(callback).__name__}")
    _receive_findings()

    def take_back() -> None:
        global _finding_callbacks
        rest = list(_finding_callbacks)
        if callback in rest:
            rest.remove(callback)
        _finding_callbacks = tuple(rest)
        _receive_findings()

    return take_back


def log_to_logging(enabled: bool = True) -> None:
    """Pass the library's log (findings, sessions) on to Python's logger "heapledger", or stop."""
    callbacks.set_log_receiver(_log if enabled else None)


def _number(since: Mark | None) -> int:
    from heapledger.records import Mark

    if since is None:
        return 0
    if not isinstance(since, Mark):
        kind = type(since).__name__
        raise ArgumentTypeError(f"since= needs what heapledger.mark() returned, got {kind}")
    return since.number


def _findings_of(found: list[dict[str, Any]]) -> list[Finding]:
    from heapledger.records import Finding

    return [Finding.from_dict(one) for one in found]


def _receive_findings() -> None:
    callbacks.set_finding_receiver(_pass_on if _finding_callbacks else None)


def _pass_on(text: str) -> None:
    (finding,) = _findings_of([json.loads(text)])
    for callback in _finding_callbacks:
        try:
            callback(finding)
        except Exception:
            LOGGER.exception("a callback of on_finding raised")


def _log(level: int, message: str) -> None:
    LOGGER.log(LOGGING_LEVELS.get(level, logging.DEBUG), "%s", message)
