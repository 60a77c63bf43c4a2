"""`pytest --heapledger`: tests that leak or misuse native memory fail.

Owns the windows of tests and fixtures, the verdict on each, and how it is told: reports, summary,
files. Promises that a test is judged after its teardown, that a failure is that of the test which
caused it, and that the test program is otherwise left alone. Must never be imported by a run
without `--heapledger`: the entry point is `heapledger_pytest`, which imports nothing of heapledger.

Who knows whom, from the bottom: `rules` (how one is judged), `subjects` (tests and fixtures, their
stretches of time), `outcomes` (what can be said of them), `verdict` (the judgement, a pure
function), `ledger` (the totals), `timeline` (whose time it is), `window`, `fixtures`, `repeat`,
`examples` (pytest's hooks that move the time on), `bench` (facts, verdict, suppressions, baseline),
`reports` and `protocol` (verdicts as test outcomes), `record`, `summary`, `session_file`,
`annotations` (the whole session), `opening` and `beginning` (of the library's session),
`activation` (what is in use).

Before the library's session begins, none of `ledger`, `window`, `repeat`, `examples`, `bench`,
`reports`, `verdict`, `opening` is imported, nor anything that loads the library.

The names below make `-p heapledger.pytest_plugin` work where heapledger is not installed.
"""

from heapledger_pytest import (
    heapledger_watch,
    pytest_addoption,
    pytest_configure,
    pytest_load_initial_conftests,
)

__all__ = [
    "heapledger_watch",
    "pytest_addoption",
    "pytest_configure",
    "pytest_load_initial_conftests",
]
