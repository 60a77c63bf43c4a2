"""What heapledger tells, as frozen dataclasses with the names of the JSON report.

Every record has `to_dict()`, which gives the JSON's form, and `from_dict()`, which reads it: fields
that are missing get their defaults, fields that are not known are passed over, so that a report of
a newer version can be read. Addresses are integers, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack.

    `language` is "python" or "native". A Python frame has `file`, `line` and `function` (the
    qualified name); a native one has also `library` and `address`, and where they are known
    `build_id` and `offset` (the address as the library's file counts it). `internal` marks native
    frames of the interpreter, of libffi, of heapledger, and those that start a program or a thread;
    `inlined` functions that were inlined into that of the next frame.
    An empty text or a zero means not known.
    """

    language: str
    file: str = ""
    line: int = 0
    function: str = ""
    library: str = ""
    address: int = 0
    build_id: str = ""
    offset: int = 0
    internal: bool = False
    inlined: bool = False

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            language=_text(source, "language") or "python",
            file=_text(source, "file"),
            line=_number(source, "line"),
            function=_text(source, "function"),
            library=_text(source, "library"),
            address=_number(source, "address"),
            build_id=_text(source, "build_id"),
            offset=_number(source, "offset"),
            internal=bool(source.get("internal", False)),
            inlined=bool(source.get("inlined", False)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: a Python frame has no library and no address."""
        if self.language == "python":
            return {
                "language": self.language,
                "file": self.file,
                "line": self.line,
                "function": self.function,
            }
        known: dict[str, Any] = {
            "build_id": self.build_id,
            "offset": self.offset,
            "internal": self.internal,
            "inlined": self.inlined,
        }
        return {
            "language": self.language,
            "library": self.library,
            "function": self.function,
            "file": self.file,
            "line": self.line,
            "address": self.address,
        } | {name: value for name, value in known.items() if value}

    def __str__(self) -> str:
        """Name the place in one line, as a report does."""
        if self.file:
            return f"{self.file}:{self.line} {self.function}".rstrip()
        return f"{self.function or hex(self.address)} in {self.library or '?'}"


Stacks = dict[str, tuple[Frame, ...]]
"""Stacks by the event they belong to ("allocated", "released", "here"); innermost frame first."""


@dataclass(frozen=True, slots=True)
class ForeignFunction:
    """The C function that Python was calling when a block was allocated."""

    library: str = ""
    name: str = ""

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(library=_text(source, "library"), name=_text(source, "name"))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"library": self.library, "name": self.name}


@dataclass(frozen=True, slots=True)
class FindingBlock:
    """The block a finding is about; `offset` is how far the pointer lies from its start, bytes.

    `contents` are its first bytes, hexadecimal: only when the session was asked for them.
    """

    address: int = 0
    size: int = 0
    state: str = ""
    offset: int = 0
    contents: str = ""

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            address=_number(source, "address"),
            size=_number(source, "size"),
            state=_text(source, "state"),
            offset=_number(source, "offset"),
            contents=_text(source, "contents"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "address": self.address,
            "size": self.size,
            "state": self.state,
            "offset": self.offset,
            **({"contents": self.contents} if self.contents else {}),
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """An end of the time in which something was written.

    `event` is "allocation", "release", "resize", "check" (a look at everything), "eviction" (the
    block left the quarantine), "neighbour" (the block behind it was looked at) or "end" (of the
    process, or of the session); `place` says where, in words.
    """

    event: str = ""
    place: str = ""

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(event=_text(source, "event"), place=_text(source, "place"))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"event": self.event, "place": self.place}


@dataclass(frozen=True, slots=True)
class Damage:
    """What a write left where it should not have been, found some time afterwards.

    `offset` is that of the first damaged byte, from the start of the block; `length` goes from
    there to the last damaged byte, as far as was looked; `found` has the first bytes, in
    hexadecimal, where they lie outside of the block: what lies in it is the program's. They were
    written after the moment `after`, and before the moment `before`.
    """

    offset: int = 0
    length: int = 0
    found: str = ""
    after: Moment = field(default_factory=Moment)
    before: Moment = field(default_factory=Moment)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            offset=_number(source, "offset"),
            length=_number(source, "length"),
            found=_text(source, "found"),
            after=Moment.from_dict(source.get("after") or {}),
            before=Moment.from_dict(source.get("before") or {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "offset": self.offset,
            "length": self.length,
            "found": self.found,
            "after": self.after.to_dict(),
            "before": self.before.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What the ledger knows of the block at, or around, an address.

    `offset` is how far the address asked for lies from the start of the block, in bytes; `state`
    is "live", "quarantined" (released, its memory withheld from reuse) or "freed".
    """

    address: int
    size: int
    state: str
    family: str = ""
    offset: int = 0
    handed_to_python: bool = False
    stacks: Stacks = field(default_factory=dict, hash=False)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            address=_number(source, "address"),
            size=_number(source, "size"),
            state=_text(source, "state"),
            family=_text(source, "family"),
            offset=_number(source, "offset"),
            handed_to_python=bool(source.get("handed_to_python", False)),
            stacks=_stacks(source),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "address": self.address,
            "size": self.size,
            "offset": self.offset,
            "state": self.state,
            "family": self.family,
            "handed_to_python": self.handed_to_python,
            "stacks": _stacks_to_dict(self.stacks),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One detected error, or one leak; several with the same stacks are one, counted.

    `count` is how often it occurred (for a leak: in how many blocks), `bytes` and `blocks` are
    summed over all occurrences. `kept_by` names what still refers to the blocks of a leak, such as
    a library: they are kept rather than lost. `indirect` says of a leak that only other leaked
    blocks refer to it. `part_of` is the fingerprint of the double free that this one goes with,
    for the same two calls made both. `damage` says what was written, and when, where that was
    found afterwards.
    `stacks` has the key "allocated", and for errors "here" (where it was
    detected) and "released" (by whom the block was released first), each innermost first.
    """

    kind: str
    message: str = ""
    count: int = 0
    bytes: int = 0
    blocks: int = 0
    family: str = ""
    fingerprint: str = ""
    suppressed: bool = False
    block: FindingBlock | None = None
    foreign_function: ForeignFunction | None = None
    handed_to_python: bool = False
    kept_by: str | None = None
    indirect: bool = False
    part_of: str | None = None
    damage: Damage | None = None
    hints: tuple[str, ...] = ()
    stacks: Stacks = field(default_factory=dict, hash=False)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        block = source.get("block")
        foreign = source.get("foreign_function")
        damage = source.get("damage")
        return cls(
            kind=_text(source, "kind"),
            message=_text(source, "message"),
            count=_number(source, "count"),
            bytes=_number(source, "bytes"),
            blocks=_number(source, "blocks"),
            family=_text(source, "family"),
            fingerprint=_text(source, "fingerprint"),
            suppressed=bool(source.get("suppressed", False)),
            block=None if block is None else FindingBlock.from_dict(block),
            foreign_function=None if foreign is None else ForeignFunction.from_dict(foreign),
            handed_to_python=bool(source.get("handed_to_python", False)),
            kept_by=None if source.get("kept_by") is None else str(source["kept_by"]),
            indirect=bool(source.get("indirect", False)),
            part_of=None if source.get("part_of") is None else str(source["part_of"]),
            damage=None if damage is None else Damage.from_dict(damage),
            hints=tuple(str(hint) for hint in source.get("hints") or ()),
            stacks=_stacks(source),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "message": self.message,
            "count": self.count,
            "bytes": self.bytes,
            "blocks": self.blocks,
            "family": self.family,
            "fingerprint": self.fingerprint,
            "suppressed": self.suppressed,
            "block": None if self.block is None else self.block.to_dict(),
            "foreign_function": (
                None if self.foreign_function is None else self.foreign_function.to_dict()
            ),
            "handed_to_python": self.handed_to_python,
            **({} if self.kept_by is None else {"kept_by": self.kept_by}),
            **({"indirect": True} if self.indirect else {}),
            **({} if self.part_of is None else {"part_of": self.part_of}),
            **({} if self.damage is None else {"damage": self.damage.to_dict()}),
            "hints": list(self.hints),
            "stacks": _stacks_to_dict(self.stacks),
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """The ledger's totals.

    `live_*` counts what is allocated now, `peak_*` the most there ever was at once, `total_*` all
    that was ever allocated. `quarantined_blocks` were released and are withheld from reuse, with
    `quarantined_bytes` of memory; `evicted_*` left the quarantine to make room for others.
    `closed_blocks` are the large ones among them: they keep `closed_bytes` of addresses, and no
    memory.
    `findings` counts occurrences by kind, leaks not included. `ledger_bytes` is what the ledger
    itself occupies, `dropped_records` how many blocks it had to serve without recording them.
    """

    live_blocks: int = 0
    live_bytes: int = 0
    peak_blocks: int = 0
    peak_bytes: int = 0
    total_blocks: int = 0
    total_bytes: int = 0
    quarantined_blocks: int = 0
    quarantined_bytes: int = 0
    findings: dict[str, int] = field(default_factory=dict, hash=False)
    ledger_bytes: int = 0
    dropped_records: int = 0
    evicted_blocks: int = 0
    evicted_bytes: int = 0
    closed_blocks: int = 0
    closed_bytes: int = 0

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        findings = source.get("findings") or {}
        counts = {name: _number(source, name) for name in STATS_COUNTS}
        return cls(**counts, findings={str(kind): int(count) for kind, count in findings.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        counts: dict[str, Any] = {name: getattr(self, name) for name in STATS_COUNTS}
        return counts | {"findings": dict(self.findings)}

    def since(self, start: Stats) -> Stats:
        """Return what was added since `start`; live and quarantined numbers may be negative.

        The peak is what was reached above `start` if the peak rose since, else what is live now
        above `start`: a lower peak in between leaves no trace.
        """
        added = {name: getattr(self, name) - getattr(start, name) for name in STATS_COUNTS}
        for unit in ("blocks", "bytes"):
            rose = added[f"peak_{unit}"] > 0
            live_before = getattr(start, f"live_{unit}")
            reached = getattr(self, f"peak_{unit}" if rose else f"live_{unit}")
            added[f"peak_{unit}"] = max(reached - live_before, 0)
        more = {kind: n - start.findings.get(kind, 0) for kind, n in self.findings.items()}
        findings = {kind: count for kind, count in more.items() if count}
        return Stats(**added, findings=findings)


STATS_COUNTS = (
    "live_blocks",
    "live_bytes",
    "peak_blocks",
    "peak_bytes",
    "total_blocks",
    "total_bytes",
    "quarantined_blocks",
    "quarantined_bytes",
    "ledger_bytes",
    "dropped_records",
    "evicted_blocks",
    "evicted_bytes",
    "closed_blocks",
    "closed_bytes",
)
"""The fields of `Stats` that are plain numbers."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A point in time, made by `heapledger.mark()`, for `since=`. Later marks are greater."""

    number: int

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(_number(source, "number"))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"number": self.number}


def _text(source: Mapping[str, Any], name: str) -> str:
    found = source.get(name)
    return "" if found is None else str(found)


def _number(source: Mapping[str, Any], name: str) -> int:
    """Read a number; addresses may be written as "0x7f10"."""
    found = source.get(name)
    if isinstance(found, str):
        return int(found, 0)
    return 0 if found is None else int(found)


def _stacks(source: Mapping[str, Any]) -> Stacks:
    stacks = source.get("stacks") or {}
    return {
        str(event): tuple(Frame.from_dict(frame) for frame in frames or ())
        for event, frames in stacks.items()
    }


def _stacks_to_dict(stacks: Stacks) -> dict[str, list[dict[str, Any]]]:
    return {event: [frame.to_dict() for frame in frames] for event, frames in stacks.items()}
