"""Leak checks for plain `unittest`: a test case that fails when a test misuses native memory.

    from heapledger.unittest import LeakTestCase

    class TestBinding(LeakTestCase):
        def test_open_close(self):
            self.addCleanup(lib.close, lib.open())

`setUp`, the test, `tearDown` and cleanups are one window. It works under pytest too; pytest's own
plugin can do more (fixtures, repetition, baselines).
"""

from __future__ import annotations

import inspect
import os
import unittest
import warnings
from typing import TYPE_CHECKING, ClassVar

from heapledger._native import interface
from heapledger.amounts import counted
from heapledger.errors import FindingError, LeakError, StateError, UnsupportedError
from heapledger.failure_text import Layout, Place, text_of
from heapledger.records import Finding
from heapledger.recurring import collect_garbage
from heapledger.session import findings_since, mark, start
from heapledger.stretches import EVERY, NOW

if TYPE_CHECKING:
    from collections.abc import Collection

    from heapledger.records import Mark


class LeakTestCase(unittest.TestCase):
    """A test case whose tests fail when they leave native blocks behind or cause a finding.

    A session is begun before the first test and lasts until the process ends; where its scope is
    not supported, a warning says so and scope explicit is used. What a library keeps to itself
    (blocks it never handed to Python) fails a test only with `heapledger_kept = "fail"`.

    A test that fails or skips itself is not judged for leaks: its traceback keeps objects alive. A
    leak may be what `unittest.expectedFailure` expects.
    """

    heapledger_scope: ClassVar[str] = "foreign"
    heapledger_max_blocks: ClassVar[int] = 0
    heapledger_kept: ClassVar[str] = "report"
    heapledger_kinds: ClassVar[Collection[str] | None] = None
    """The kinds of findings that fail a test; None: all but the doubtful `truncated-pointer`."""

    _heapledger_mark: Mark
    _heapledger_failed = False

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test and judge its memory after the last cleanup."""
        _begin_session(self.heapledger_scope)
        self._heapledger_mark = mark()
        # Cleanups run in the reverse order, so this is the last.
        self.addCleanup(self._judge_memory)
        return super().run(result)

    def doCleanups(self) -> None:
        """Note whether the test failed before its cleanups, and run those."""
        outcome = getattr(self, "_outcome", None)
        self._heapledger_failed = outcome is not None and not outcome.success
        super().doCleanups()

    def _judge_memory(self) -> None:
        """Raise what the test did wrong, as an assertion that failed."""
        if _is_expected_to_fail(self):
            # What a cleanup raises is a failure of its own, unless unittest expects one now.
            self._outcome.expecting_failure = True  # type: ignore[attr-defined]
        interface.check_blocks()
        errors = [one for one in findings_since(self._heapledger_mark) if self._counts(one)]
        leaks = [] if self._heapledger_failed else self._leaks()
        blocks = sum(leak.blocks for leak in leaks)
        if errors:
            kinds = ", ".join(sorted({error.kind for error in errors}))
            raise FindingError(self._message(f"native memory was misused: {kinds}", errors), errors)
        if blocks > self.heapledger_max_blocks:
            sentence = f"{counted(blocks, 'block')} of native memory left behind"
            raise LeakError(self._message(sentence, leaks), leaks)

    def _leaks(self) -> list[Finding]:
        number = self._heapledger_mark.number
        if not collect_garbage(number):
            return []
        kept_max = EVERY if self.heapledger_kept == "fail" else 0
        answer = interface.leaks_between(number, NOW, EVERY, kept_max)
        leaks = map(Finding.from_dict, answer["findings"])
        return [leak for leak in leaks if self._counts(leak) and not self._may_keep(leak)]

    def _counts(self, finding: Finding) -> bool:
        if self.heapledger_kinds is None:
            return finding.kind != "truncated-pointer"
        return finding.kind in self.heapledger_kinds

    def _may_keep(self, leak: Finding) -> bool:
        return self.heapledger_kept != "fail" and leak.kept_by is not None

    def _message(self, sentence: str, found: list[Finding]) -> str:
        code = getattr(inspect.unwrap(getattr(self, self._testMethodName)), "__code__", None)
        own = None if code is None else Place(code.co_filename, code.co_qualname)
        layout = Layout(own, os.getcwd())
        return f"{sentence}\n{text_of([one.to_dict() for one in found], (), layout)}"


def _is_expected_to_fail(case: unittest.TestCase) -> bool:
    marked = (case, getattr(case, case._testMethodName))
    return any(getattr(one, "__unittest_expecting_failure__", False) for one in marked)


def _begin_session(scope: str) -> None:
    """Begin a session if there is none, with scope explicit where `scope` is not supported."""
    try:
        start(scope=scope)
    except StateError:
        return
    except UnsupportedError as error:
        start(scope="explicit")
        warnings.warn(f"scope explicit instead of {scope}: {error}", RuntimeWarning, stacklevel=4)
