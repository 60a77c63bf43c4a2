"""The examples of a Hypothesis test: which of them left blocks behind or caused a finding.

Hypothesis runs one test with many examples. The verdict is one, for the test; this tells which
example to look at: of those that did it, the one that is shortest to write.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from typing import TYPE_CHECKING, Any

import pytest

from heapledger._native import interface
from heapledger.pytest_plugin.ledger import reading_of
from heapledger.stretches import EVERY, NOW, group_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from heapledger.pytest_plugin.bench import Bench
    from heapledger.pytest_plugin.subjects import Subject
    from heapledger.pytest_plugin.window import Window

TEXT_LENGTH_MAX = 200
VALUE_LENGTH_MAX = 60
VALUE_ITEM_MAX = 10


class Examples:
    """Looks at the ledger around every example."""

    def __init__(self, window: Window, bench: Bench) -> None:
        """Know which test is under way, and what is told of it."""
        self._window = window
        self._bench = bench

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have a Hypothesis test call our function for its examples, and that the test's own."""
        handle: Any = getattr(getattr(item, "obj", None), "hypothesis", None)
        subject = self._window.subject
        if subject is None or not hasattr(handle, "inner_test"):
            return (yield)
        subject.varies = True
        inner = handle.inner_test
        handle.inner_test = _watching(inner, subject, self._kept_max(subject))
        try:
            return (yield)
        finally:
            handle.inner_test = inner

    def _kept_max(self, subject: Subject) -> int:
        """Return of how many findings that keep something an example is of use."""
        return 0 if subject.rules.repeat == 1 and self._bench.is_brief(subject.rules) else EVERY


def _watching(inner: Callable[..., Any], subject: Subject, kept_max: int) -> Callable[..., Any]:
    between = _Between(subject, inner.__name__, kept_max)
    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def wait(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            try:
                return await inner(*arguments, **named)
            finally:
                between.note(arguments, named)

        return wait

    @functools.wraps(inner)
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            return inner(*arguments, **named)
        finally:
            between.note(arguments, named)

    return call


class _Between:
    """The ledger between two examples: one look after each, which most often is all."""

    def __init__(self, subject: Subject, name: str, kept_max: int) -> None:
        self._subject = subject
        self._name = name
        self._kept_max = kept_max
        self._totals = interface.Totals()
        self._last = reading_of(self._totals.read(), None)

    def note(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Note the example for all that it left behind."""
        now, before = reading_of(self._totals.read(), self._last), self._last
        self._last = now
        found: list[Any] = []
        if now.errors != before.errors:
            found += [one["fingerprint"] for one in interface.findings_since(before.mark)]
        if now.allocated != before.allocated and interface.leak_count_since(before.mark):
            left = interface.leaks_between(before.mark, NOW, EVERY, self._kept_max)
            found += [group_of(leak) for leak in left["findings"]]
        if not found:
            return
        examples = self._subject.examples
        text = _written(self._name, arguments, named)
        for one in found:
            known = examples.get(one)
            if known is None or (len(text), text) < (len(known), known):
                examples[one] = text


def _written(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = VALUE_LENGTH_MAX
    short.maxlist = short.maxtuple = short.maxdict = VALUE_ITEM_MAX
    # The instance of the test's class says nothing; Hypothesis passes it in either way.
    parts = [short.repr(value) for value in arguments[1:]]
    parts += [f"{key}={short.repr(value)}" for key, value in named.items() if key != "self"]
    return f"{name}({', '.join(parts)})"[:TEXT_LENGTH_MAX]
