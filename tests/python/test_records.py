"""Records: the JSON form, defaults, equality."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest

import heapledger

Record = heapledger.Frame | heapledger.Finding | heapledger.Stats | heapledger.BlockInfo

PYTHON_FRAME = {"language": "python", "file": "app.py", "line": 7, "function": "C.run"}
NATIVE_FRAME = {
    "language": "native",
    "library": "libcpp.so",
    "function": "make",
    "file": "cpp.cpp",
    "line": 3,
    "address": 4096,
}
FINDING: dict[str, Any] = {
    "kind": "double-free",
    "message": "double free of a 48-byte block",
    "count": 2,
    "bytes": 96,
    "blocks": 2,
    "family": "malloc",
    "fingerprint": "ab12",
    "suppressed": False,
    "block": {"address": 32528, "size": 48, "state": "quarantined", "offset": 0},
    "foreign_function": {"library": "libcpp.so", "name": "make"},
    "handed_to_python": True,
    "hints": ["released during garbage collection"],
    "stacks": {
        "allocated": [PYTHON_FRAME, NATIVE_FRAME],
        "released": [PYTHON_FRAME],
        "here": [PYTHON_FRAME],
    },
}


def test_finding_reads_and_writes_the_json_form() -> None:
    finding = heapledger.Finding.from_dict(json.loads(json.dumps(FINDING)))
    assert finding.stacks["allocated"][0].line == 7
    assert finding.stacks["allocated"][1].library == "libcpp.so"
    assert finding.block is not None
    assert finding.block.state == "quarantined"
    assert finding.foreign_function == heapledger.ForeignFunction("libcpp.so", "make")
    assert finding.to_dict() == FINDING


def test_unknown_fields_are_passed_over_and_missing_ones_have_defaults() -> None:
    finding = heapledger.Finding.from_dict({"kind": "leak", "of_a_newer_version": [1, 2]})
    assert finding == heapledger.Finding("leak")
    assert finding.block is None
    assert finding.stacks == {}


def test_addresses_may_be_written_in_hexadecimal() -> None:
    frame = heapledger.Frame.from_dict({**NATIVE_FRAME, "address": "0x7f10"})
    assert frame.address == 0x7F10


@pytest.mark.parametrize(
    "record",
    [
        heapledger.Frame.from_dict(PYTHON_FRAME),
        heapledger.Frame.from_dict(NATIVE_FRAME),
        heapledger.Finding.from_dict(FINDING),
        heapledger.Stats(live_blocks=1, findings={"double-free": 2}),
        heapledger.BlockInfo(4096, 48, "live", "malloc", 8),
        heapledger.ForeignFunction("libcpp.so", "make"),
        heapledger.Mark(3),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_are_frozen_and_survive_json_pickle_and_sets(record: Record) -> None:
    kind: Any = type(record)
    assert kind.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert pickle.loads(pickle.dumps(record)) == record
    assert len({record, kind.from_dict(record.to_dict())}) == 1
    first = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, first, None)


def test_stats_since_says_what_was_added() -> None:
    before = heapledger.Stats(
        live_blocks=2, live_bytes=20, peak_blocks=5, peak_bytes=50, total_blocks=9, total_bytes=90
    )
    after = heapledger.Stats(
        live_blocks=3,
        live_bytes=30,
        peak_blocks=5,
        peak_bytes=80,
        total_blocks=12,
        total_bytes=190,
        findings={"double-free": 1},
    )
    added = after.since(before)
    assert (added.live_blocks, added.live_bytes) == (1, 10)
    assert (added.total_blocks, added.total_bytes) == (3, 100)
    assert added.findings == {"double-free": 1}
    # The peak of bytes rose to 80, 60 above the start; that of blocks did not: live now, 1 above.
    assert (added.peak_blocks, added.peak_bytes) == (1, 60)
