"""The verdict on a subject: what of it fails, and why the rest does not. A pure function.

| block allocated by the test and live after its teardown | not repeated | body repeated |
|---|---|---|
| nothing keeps it: lost, or handed to Python | fails | fails if every run leaves some |
| something of the library still refers to it | `kept`; fails with `kept=fail` | fails likewise |
| left by the first run only | | `cache` |
| left by some later runs | | `irregular` |

A test that fails already is not failed again: its traceback keeps objects alive (`unjudged`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from heapledger.pytest_plugin.outcomes import (
    ALLOWED,
    BASELINE,
    CACHE,
    DOUBTFUL,
    FAILS,
    IRREGULAR,
    KEPT,
    UNASKED,
    UNJUDGED,
)
from heapledger.recurring import per_run_text, recurring
from heapledger.stretches import Sum, resized, with_amounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from heapledger.pytest_plugin.rules import Rules
    from heapledger.stretches import Leaks

    Finding = dict[str, Any]


NOTHING: Mapping[str, Sum] = {}


class Entry:
    """One finding of a subject and the verdict on it.

    `blocks` and `bytes` are what limits and baseline compare: per run when the body was repeated,
    for an error its occurrences.
    """

    __slots__ = ("blocks", "by_run", "bytes", "finding", "verdict")

    def __init__(
        self, finding: Finding, verdict: str, blocks: int, bytes: int, by_run: Sequence[int] = ()
    ) -> None:
        """Judge a finding; only the verdict changes later."""
        self.finding = finding
        self.verdict = verdict
        self.blocks = blocks
        self.bytes = bytes
        self.by_run = by_run

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data, as it travels between processes."""
        return {
            "verdict": self.verdict,
            "blocks": self.blocks,
            "bytes": self.bytes,
            "by_run": list(self.by_run),
            "finding": self.finding,
        }


class Facts(NamedTuple):
    """What is known of a subject when the verdict falls.

    `around` is live from outside the body's runs (without repetition: from all of the test), `runs`
    from each run, `errors` are the findings that occurred. `left_out` are sums of what is live and
    not among these, by verdict: it fails nothing whatever it is.
    """

    around: Leaks
    runs: Sequence[Leaks]
    errors: Sequence[Finding]
    failed: bool = False
    left_out: Mapping[str, Sum] = NOTHING


def judged(facts: Facts, rules: Rules) -> list[Entry]:
    """Return the entries of a subject, errors first, then most blocks; limits are not applied."""
    errors = [Entry(error, _of_error(error, rules), error["count"], 0) for error in facts.errors]
    leaks = [_once(leak, rules) for leak in facts.around.values()]
    leaks += _repeated(facts.runs, rules) if facts.runs else []
    for entry in leaks:
        if entry.verdict == FAILS and not rules.counts("leak"):
            entry.verdict = UNASKED
        elif entry.verdict == FAILS and facts.failed:
            entry.verdict = UNJUDGED
    # The fingerprint makes the order the same in every process.
    leaks.sort(key=lambda entry: (-entry.blocks, -entry.bytes, entry.finding["fingerprint"]))
    return errors + leaks


def mark_known(entries: Sequence[Entry], known: Callable[[Entry], bool]) -> None:
    """Let pass what the baseline knows."""
    for entry in entries:
        if entry.verdict == FAILS and known(entry):
            entry.verdict = BASELINE


def limit(entries: Sequence[Entry], rules: Rules) -> None:
    """Let pass what the limits allow."""
    leaks = [one for one in entries if one.verdict == FAILS and one.finding["kind"] == "leak"]
    if rules.allows(sum(leak.blocks for leak in leaks), sum(leak.bytes for leak in leaks)):
        for leak in leaks:
            leak.verdict = ALLOWED


def _of_error(error: Finding, rules: Rules) -> str:
    if rules.counts(error["kind"]):
        return FAILS
    return UNASKED if rules.kinds is not None else DOUBTFUL


def _once(leak: Finding, rules: Rules) -> Entry:
    """Judge what there is only one look at."""
    may_stay = rules.kept != "fail" and bool(leak.get("kept_by"))
    return Entry(leak, KEPT if may_stay else FAILS, leak["blocks"], leak["bytes"])


def _repeated(runs: Sequence[Leaks], rules: Rules) -> list[Entry]:
    """Judge by what each run left; with a single one there is nothing to compare."""
    if len(runs) == 1:
        return [_once(leak, rules) for leak in runs[0].values()]
    later = recurring(runs[1:])
    groups = {group: leak for run in runs for group, leak in run.items()}
    entries = []
    for group, leak in groups.items():
        counts = [int(run[group]["blocks"]) if group in run else 0 for run in runs]
        sizes = [int(run[group]["bytes"]) if group in run else 0 for run in runs]
        summed = resized(leak, sum(counts), sum(sizes))
        if group in later:
            _, blocks, byte_counts = later[group]
            per_run = f"{per_run_text(blocks, byte_counts)} in every run"
            summed |= {"message": with_amounts(leak["message"], per_run)}
            entries.append(Entry(summed, FAILS, max(blocks), max(byte_counts), counts))
        else:
            verdict = IRREGULAR if any(counts[1:]) else CACHE
            entries.append(Entry(summed, verdict, sum(counts), sum(sizes), counts))
    return entries
