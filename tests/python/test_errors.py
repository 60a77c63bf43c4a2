"""The tree of exceptions."""

from __future__ import annotations

import pickle

import pytest

import heapledger
from heapledger import errors
from heapledger._native.status import ERROR_BY_STATUS, Status, error_of


def test_every_exception_descends_from_one_root() -> None:
    public = [getattr(heapledger, name) for name in heapledger.__all__ if name.endswith("Error")]
    assert len(public) > 10
    for kind in public:
        assert issubclass(kind, heapledger.HeapledgerError)


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (heapledger.LeakError, AssertionError),
        (heapledger.UsageError, ValueError),
        (heapledger.PointerTypeError, TypeError),
        (heapledger.ArgumentTypeError, TypeError),
        (heapledger.ExportedBufferError, BufferError),
        (heapledger.OutOfMemoryError, MemoryError),
        (heapledger.NotRecordedError, LookupError),
        (heapledger.FileError, OSError),
        (heapledger.UnsupportedError, NotImplementedError),
        (heapledger.StateError, RuntimeError),
        (heapledger.LibraryNotFoundError, ImportError),
        (heapledger.AbiMismatchError, ImportError),
        (heapledger.NumpyNotFoundError, ImportError),
    ],
)
def test_exceptions_are_of_the_natural_kind_too(ours: type, builtin: type) -> None:
    assert issubclass(ours, builtin)


def test_every_status_that_is_an_error_has_an_exception() -> None:
    assert set(Status) - set(ERROR_BY_STATUS) == {Status.OK, Status.FINDING}
    for status, kind in ERROR_BY_STATUS.items():
        error = error_of(status, "the sentence")
        assert type(error) is kind
        assert "the sentence" in str(error)


def test_a_status_of_a_newer_library_is_an_internal_error() -> None:
    assert type(error_of(99, "")) is errors.InternalError


def test_leak_error_keeps_its_findings_when_pickled() -> None:
    error = heapledger.LeakError("the report", [heapledger.Finding("leak", count=3)])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "the report"
    assert copy.findings == error.findings
