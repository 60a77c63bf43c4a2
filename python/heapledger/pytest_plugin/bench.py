"""The bench: gathers the facts about a subject, and has the verdict, as plain data.

What it returns travels from test processes to the one that reports, so it is made of dicts, lists,
texts and numbers only.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from heapledger import reports
from heapledger._native import interface
from heapledger.failure_text import trimmed
from heapledger.pytest_plugin.baseline import site_of
from heapledger.pytest_plugin.outcomes import CACHE, FAILS, KEPT, SUPPRESSED, fails
from heapledger.pytest_plugin.verdict import Facts, judged, limit, mark_known
from heapledger.recurring import COLLECTION_MAX
from heapledger.stretches import ALL, Limits, count_in, live_in, resized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from heapledger.failure_text import Place
    from heapledger.pytest_plugin.baseline import Baseline, Key
    from heapledger.pytest_plugin.reports import Told
    from heapledger.pytest_plugin.rules import Rules
    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.verdict import Entry
    from heapledger.stretches import Group, Live, Stretch

    Finding = dict[str, Any]
    Judgement = dict[str, Any]

FULL = 2
GENERATIONS = (1, *[FULL] * COLLECTION_MAX)
"""Garbage collections at most. What a test has left is young, and a full collection is dear."""


class Bench:
    """Judges subjects by one suite's suppressions and baseline.

    `suppressions_used` are the lines that have hidden something so far.
    """

    def __init__(self, told: Told, baseline: Baseline) -> None:
        """Begin with no suppression used."""
        self._suite = told.suite
        self._is_full = told.full
        self._directory = told.directory
        self._baseline = baseline
        self.suppressions_used: set[str] = set()

    def judgement_on(self, subject: Subject, let_go: Callable[[], None]) -> Judgement | None:
        """Judge a subject whose time is over; None: nothing to tell.

        `let_go` drops the references that the test runner itself holds to the subject's objects; it
        is called only when blocks are live that would fail the subject.
        """
        if not subject.rules.enabled or not (subject.has_something or subject.notes):
            return None
        _collect_garbage(subject, let_go)
        is_brief = self.is_brief(subject.rules)
        judgement = self._judgement_on(subject, is_brief=is_brief)
        # A failure that is shown as a whole has lines about what fails nothing, too.
        if is_brief and self._is_full and judgement and judgement["left_out"] and fails(judgement):
            return self._judgement_on(subject, is_brief=False)
        return judgement

    def is_brief(self, rules: Rules) -> bool:
        """Tell whether findings that fail nothing are only added up.

        They may be very many, each with its stacks: a library's whole cache. But a file for the
        whole session has them, and a suppression may name any of them.
        """
        return rules.kept != "fail" and self._suite.json is None and not self._suite.suppressions

    def _judgement_on(self, subject: Subject, *, is_brief: bool) -> Judgement | None:
        facts = _facts(subject, is_brief=is_brief)
        entries = judged(facts, subject.rules)
        if not entries and not subject.notes and not facts.left_out:
            return None
        self._suppress(entries)
        sites = {id(e): site_of(e.finding, subject.place, self._directory) for e in entries}
        if subject.expects_failure:
            # Known or not, the failure is what the test is marked for.
            limit(entries, subject.rules)
        elif self._suite.update_baseline:
            limit(entries, subject.rules)
            mark_known(entries, lambda _: True)
        else:
            mark_known(entries, self._known_of(subject, entries, sites))
            limit(entries, subject.rules)
        place = subject.place
        return {
            "kind": subject.kind,
            "name": subject.name,
            "nodeid": subject.nodeid,
            "own": None if place is None else [place.file, place.function],
            "entries": [entry.to_dict() | {"site": sites[id(entry)]} for entry in entries],
            "left_out": {verdict: total._asdict() for verdict, total in facts.left_out.items()},
            "notes": list(subject.notes),
            "run_count": subject.run_count,
        }

    def _known_of(
        self, subject: Subject, entries: list[Entry], sites: Mapping[int, str]
    ) -> Callable[[Entry], bool]:
        """Return how to tell a finding that the baseline knows: all at its site count together."""

        def key(entry: Entry) -> Key:
            return subject.key, str(entry.finding["kind"]), sites[id(entry)]

        blocks: dict[Key, int] = {}
        for entry in entries:
            if entry.verdict == FAILS:
                blocks[key(entry)] = blocks.get(key(entry), 0) + entry.blocks
        return lambda entry: self._baseline.knows(
            key(entry), 0 if subject.varies else blocks[key(entry)]
        )

    def _suppress(self, entries: list[Entry]) -> None:
        """Apply the suppressions file; the library reads it."""
        if self._suite.suppressions is None:
            return
        report = reports.empty({}) | {"findings": [entry.finding for entry in entries]}
        hidden = reports.with_suppressions(report, self._suite.suppressions)
        for entry, finding in zip(entries, hidden["findings"], strict=True):
            if finding["suppressed"]:
                entry.verdict = SUPPRESSED
                entry.finding["suppressed"] = True
        used = hidden["limits"]["suppressions_used"]
        self.suppressions_used.update(rule["rule"] for rule in used)


def _collect_garbage(subject: Subject, let_go: Callable[[], None]) -> None:
    """Collect garbage while that leaves fewer of the blocks that may fail the subject.

    They are only counted: before the first collection there are most, and findings are dear.
    """
    before = _count_at_stake(subject)
    for generation in GENERATIONS:
        if before == 0:
            break
        if generation != FULL:
            let_go()
        gc.collect(generation)
        after = _count_at_stake(subject)
        if before == after and generation == FULL:
            break
        before = after


def _count_at_stake(subject: Subject) -> int:
    """Count the live blocks that may fail the subject: those that are kept only if it says so."""
    rules = subject.rules
    may_keep = rules.kept != "fail" and subject.run_count <= 1
    count = interface.lost_count_between if may_keep else interface.leak_count_between
    return sum(count_in(part, count) for part in subject.parts.values())


def _facts(subject: Subject, *, is_brief: bool) -> Facts:
    numbers = range(1, subject.run_count + 1)
    kept_out = Limits(kept=0) if is_brief else ALL
    runs = _live_in_runs([subject.parts.get(number, ()) for number in numbers], kept_out)
    others = [part for number, part in subject.parts.items() if number not in numbers]
    around = live_in((stretch for part in others for stretch in part), kept_out)
    kept = around.left_out
    left_out = {}
    if subject.run_count == 1:
        kept = kept.plus(runs[0].left_out)
    elif runs and runs[0].left_out.blocks:
        left_out[CACHE] = runs[0].left_out
    if kept.blocks:
        left_out[KEPT] = kept
    return Facts(
        _regrouped(around.leaks, subject),
        [_regrouped(run.leaks, subject) for run in runs],
        list(_regrouped(subject.errors, subject).values()),
        subject.failed,
        left_out,
    )


def _live_in_runs(parts: Sequence[Sequence[Stretch]], kept_out: Limits) -> list[Live]:
    """Return what each run of the body has left; the first run by itself may be left out, too."""
    if len(parts) <= 1:
        return [live_in(part, kept_out) for part in parts]
    later = [live_in(part, together=True) for part in parts[1:]]
    is_cache = kept_out != ALL and not any(run.leaks for run in later)
    return [live_in(parts[0], Limits(0, 0) if is_cache else ALL, together=True), *later]


def _regrouped(findings: Mapping[Any, Finding], subject: Subject) -> dict[Group, Finding]:
    """Group by the stacks inside the test: a runner comes to the test's body on several ways."""
    groups: dict[Group, Finding] = {}
    for name, finding in findings.items():
        example = subject.examples.get(name)
        new = finding if example is None else finding | {"example": example}
        group = _inside(new, subject.place)
        groups[group] = new if group not in groups else _joined(groups[group], new)
    return groups


def _inside(finding: Finding, own: Place | None) -> Group:
    """Return what makes findings of one test the same."""
    sites: list[object] = [finding["kind"]]
    for event, frames in finding["stacks"].items():
        python = trimmed(frames, own)
        native = [frame for frame in frames if frame["language"] != "python"]
        sites.append((event, *map(_site, python), *map(_native_site, native)))
    return tuple(sites), finding["family"], bool(finding.get("kept_by"))


def _site(frame: dict[str, Any]) -> tuple[object, ...]:
    return frame["file"], frame["function"], frame["line"]


def _native_site(frame: dict[str, Any]) -> tuple[object, ...]:
    return frame["library"], frame["function"], frame["line"], frame["address"]


def _joined(one: Finding, other: Finding) -> Finding:
    """Return two findings as one, with the shorter of their examples."""
    blocks, byte_count = (one[unit] + other[unit] for unit in ("blocks", "bytes"))
    if one["kind"] == "leak":
        joined = resized(one, blocks, byte_count)
    else:
        amounts = {"count": one["count"] + other["count"], "blocks": blocks, "bytes": byte_count}
        joined = one | amounts
    examples = [finding["example"] for finding in (one, other) if "example" in finding]
    return joined | {"example": min(examples, key=len)} if examples else joined
