"""Sessions, and questions to the ledger."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

import heapledger
from heapledger._native import pointers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Program
    from heapledger import Finding, Watch


@pytest.fixture
def session() -> Iterator[None]:
    """Stop what the test started."""
    yield
    heapledger.stop()


def double_free(size: int = 48) -> None:
    block = heapledger.allocate(size)
    block.free()
    block.free()


def test_explicit_operations_are_recorded_without_a_session() -> None:
    before = heapledger.stats()
    with heapledger.allocate(100):
        during = heapledger.stats()
    after = heapledger.stats()
    assert during.live_blocks == before.live_blocks + 1
    assert during.live_bytes == before.live_bytes + 100
    assert during.peak_bytes >= during.live_bytes
    assert after.live_blocks == before.live_blocks
    assert after.total_blocks == before.total_blocks + 1
    assert after.total_bytes == before.total_bytes + 100
    assert after.ledger_bytes > 0
    assert after.dropped_records == 0


def test_start_and_stop(session: None) -> None:
    heapledger.start(scope="explicit")
    with pytest.raises(heapledger.StateError, match="running already"):
        heapledger.start(scope="explicit")
    heapledger.stop()
    heapledger.stop()
    heapledger.start(scope="explicit", checks=(), native_stacks="off")
    options = json.loads(heapledger.report(format="json"))["options"]
    assert (options["scope"], options["checks"]) == ("explicit", [])


def test_the_checks_of_a_session_end_with_it() -> None:
    heapledger.start(scope="explicit", checks=())
    heapledger.stop()
    block = heapledger.allocate(24)
    block.free()
    info = heapledger.describe(block)
    assert info is not None
    assert info.state == "quarantined"


def test_start_refuses_what_does_not_exist() -> None:
    with pytest.raises(heapledger.UsageError, match=r"unknown scope 'all': known are explicit"):
        heapledger.start(scope="all")
    with pytest.raises(heapledger.UsageError, match="unknown check"):
        heapledger.start(scope="explicit", checks=("quarantines",))
    with pytest.raises(TypeError):
        heapledger.start("explicit")  # type: ignore[call-arg]


def test_checks_find_writes_past_the_end(session: None) -> None:
    heapledger.start(scope="explicit", checks=("redzone",))
    block = heapledger.allocate(24)
    view = pointers.span(block.address, 25)
    view[24] = 0x55
    (finding,) = heapledger.check()
    assert finding.kind == "heap-overflow"
    assert heapledger.check() == []
    view[24] = 0
    block.free()


def test_describe_knows_interior_pointers_and_both_stacks() -> None:
    block = heapledger.allocate(100)
    info = heapledger.describe(block.address + 40)
    assert info is not None
    assert (info.address, info.size, info.offset, info.state) == (block.address, 100, 40, "live")
    assert info.stacks["allocated"][0].function == (
        "test_describe_knows_interior_pointers_and_both_stacks"
    )
    block.free()
    info = heapledger.describe(block)
    assert info is not None
    assert info.state == "quarantined"
    assert info.stacks["released"][0].function == (
        "test_describe_knows_interior_pointers_and_both_stacks"
    )


def test_describe_of_what_is_unknown() -> None:
    assert heapledger.describe(None) is None
    assert heapledger.describe(0) is None
    assert heapledger.describe(0x10) is None
    assert heapledger.describe(0x7FFFFFFFF000) is None
    assert heapledger.describe((1 << 64) - 1) is None
    with pytest.raises(heapledger.PointerTypeError):
        heapledger.describe("0x10")


def test_leaks_since_a_mark_are_the_blocks_allocated_after_it() -> None:
    old = heapledger.allocate(11)
    mark = heapledger.mark()
    assert heapledger.leaks(since=mark) == []
    new = [heapledger.allocate(22) for _ in range(3)]
    (leak,) = heapledger.leaks(since=mark)
    assert (leak.kind, leak.blocks, leak.bytes, leak.count) == ("leak", 3, 66, 3)
    assert leak.stacks["allocated"][0].line > 0
    assert any(leak.bytes == 11 for leak in heapledger.leaks())
    assert heapledger.mark() > mark
    del new
    assert heapledger.leaks(since=mark) == []
    old.free()


@pytest.mark.parametrize("since", [1, "now", 0.5])
def test_since_takes_marks_only(since: Any) -> None:
    with pytest.raises(heapledger.ArgumentTypeError, match=r"heapledger\.mark\(\) returned"):
        heapledger.leaks(since=since)


def test_findings_by_kind(watched: Watch) -> None:
    kept = heapledger.allocate(7)
    double_free()
    heapledger.free(0x10)
    everything = heapledger.findings()
    assert {"double-free", "invalid-free"} <= {finding.kind for finding in everything}
    assert {finding.kind for finding in heapledger.findings(kinds="double-free")} == {"double-free"}
    assert {finding.kind for finding in heapledger.findings(kinds=["invalid-free"])} == {
        "invalid-free"
    }
    assert "leak" in {finding.kind for finding in heapledger.findings(kinds=("leak",))}
    assert heapledger.findings(kinds=()) == []
    with pytest.raises(heapledger.UsageError, match=r"unknown kind 'double_free'.*double-free"):
        heapledger.findings(kinds="double_free")
    kept.free()


def test_stats_count_findings_by_kind() -> None:
    before = heapledger.stats().findings.get("double-free", 0)
    double_free()
    double_free()
    assert heapledger.stats().findings["double-free"] == before + 2


def test_report_is_text_or_json() -> None:
    double_free(4711)
    text = heapledger.report()
    assert "double free of a 4711-byte block" in text
    assert "test_session.py" in text
    report = json.loads(heapledger.report(format="json"))
    assert (report["schema"], report["version"]) == ("heapledger.report", 1)
    assert {"process", "options", "stats", "limits", "findings"} <= set(report)
    assert any("4711-byte" in finding["message"] for finding in report["findings"])
    with pytest.raises(heapledger.UsageError, match="unknown format"):
        heapledger.report(format="html")


def test_on_finding_is_called_on_the_thread_that_erred() -> None:
    seen: list[tuple[int, Finding]] = []
    take_back = heapledger.on_finding(lambda found: seen.append((threading.get_ident(), found)))
    try:
        thread = threading.Thread(target=double_free)
        thread.start()
        thread.join()
        double_free()
    finally:
        take_back()
    double_free()
    assert [found.kind for _, found in seen] == ["double-free", "double-free"]
    assert [ident for ident, _ in seen] == [thread.ident, threading.get_ident()]
    assert seen[0][1].stacks["here"][0].function == "double_free"


def test_callbacks_may_use_the_ledger_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    reports: list[str] = []

    def failing(_found: Finding) -> None:
        raise ZeroDivisionError("in the callback")

    def reporting(_found: Finding) -> None:
        with heapledger.allocate(16):
            reports.append(heapledger.report())

    heapledger.on_finding(failing)
    heapledger.on_finding(reporting)
    try:
        double_free()
    finally:
        heapledger.on_finding(None)
    double_free()
    assert len(reports) == 1
    assert "double free" in reports[0]
    assert "in the callback" in caplog.text
    with pytest.raises(heapledger.PointerTypeError):
        heapledger.on_finding(3)  # type: ignore[arg-type]


def test_the_log_can_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="heapledger")
    heapledger.log_to_logging()
    try:
        double_free(815)
    finally:
        heapledger.log_to_logging(False)
    assert any("815" in record.getMessage() for record in caplog.records)
    assert {record.name for record in caplog.records} == {"heapledger"}
    caplog.clear()
    double_free(816)
    assert caplog.records == []


def test_a_program_may_end_inside_everything(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import heapledger, logging, atexit\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "atexit.register(lambda: heapledger.free(0x10))\n"
        "heapledger.start(scope='explicit')\n"
        "heapledger.log_to_logging()\n"
        "heapledger.on_finding(lambda finding: print(finding.kind))\n"
        "class Late:\n"
        "    def __init__(self): self.block = heapledger.allocate(8)\n"
        "    def __del__(self): self.block.free(); self.block.free()\n"
        "late = Late()\n"
        "heapledger.free(0x20)\n"
    )
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "invalid-free"
    assert "Traceback" not in ran.err
