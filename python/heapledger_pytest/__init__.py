"""pytest's door to heapledger: options, marker and fixture.

pytest imports the modules of its plugins in every run, so this one imports nothing of heapledger
(whose import loads the library) until `--heapledger` or the fixture asks for it. All the rest is in
`heapledger.pytest_plugin`.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heapledger.watching import Watch

MARKER = (
    "heapledger(max_blocks=0, max_bytes=0, repeat=1, kinds=..., kept='report', enabled=True): "
    "how the native memory of a test is judged when pytest runs with --heapledger"
)


class Setting(NamedTuple):
    """An option `--heapledger-NAME VALUE` and its equivalent `heapledger_NAME` in the ini file."""

    name: str
    metavar: str
    help: str
    ini_type: Literal["string", "args"] = "string"

    @property
    def key(self) -> str:
        """The name in the ini file and among the parsed options."""
        return "heapledger_" + self.name.replace("-", "_")


SETTINGS = (
    Setting(
        "scope", "NAME", "which allocations are recorded: foreign (default), explicit, process"
    ),
    Setting(
        "check", "NAMES", "checks on recorded blocks (default: quarantine,redzone), or none", "args"
    ),
    Setting("native-stacks", "NAME", "native stacks in reports: boundary (default), full, off"),
    Setting("repeat", "N", "run each test's body N times and fail what grows with every run"),
    Setting("max-blocks", "N", "blocks that a test may leave behind (default: 0)"),
    Setting("max-bytes", "N", "bytes that a test may leave behind"),
    Setting("kinds", "KINDS", "kinds of findings that fail a test, separated by commas", "args"),
    Setting("kept", "WHAT", "blocks a library keeps to itself: report (default) or fail"),
    Setting("suppressions", "FILE", "lines KIND:PATTERN of what to hide"),
    Setting("baseline", "FILE", "known findings, which fail no test"),
    Setting("json", "FILE", "write the findings of the whole session there"),
)

_parsers: weakref.WeakSet[pytest.Parser] = weakref.WeakSet()
_active = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their equivalents in the ini file."""
    # With `-p heapledger.pytest_plugin` and the entry point this is called twice.
    if parser in _parsers:
        return
    _parsers.add(parser)
    group = parser.getgroup("heapledger", "heapledger: leaks and misuse of native memory")
    group.addoption(
        "--heapledger",
        action="store_true",
        default=None,
        help="fail tests that leak or misuse native memory (ini: heapledger)",
    )
    group.addoption(
        "--no-heapledger",
        action="store_false",
        dest="heapledger",
        help="do not, whatever the ini file says",
    )
    parser.addini("heapledger", "run with --heapledger", type="bool", default=False)
    for setting in SETTINGS:
        group.addoption(
            f"--heapledger-{setting.name}",
            dest=setting.key,
            metavar=setting.metavar,
            help=f"{setting.help} (ini: {setting.key})",
        )
        parser.addini(setting.key, setting.help, type=setting.ini_type, default=None)
    group.addoption(
        "--heapledger-update-baseline",
        action="store_true",
        help="write what fails now into the baseline file, and let it pass",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin to record before conftest files import what is tested."""
    if not _is_asked_for(early_config, early_config.known_args_namespace.heapledger):
        return
    # Without the library, `pytest_configure` says what to do.
    from heapledger_pytest.imports import watch

    with contextlib.suppress(ImportError), watch.own_imports():
        from heapledger.pytest_plugin.beginning import begin_early

        begin_early(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and begin if that is asked for."""
    if config.stash.get(_active, False):
        return
    config.stash[_active] = True
    config.addinivalue_line("markers", MARKER)
    if _is_asked_for(config, config.getoption("heapledger")):
        _activate(config)


@pytest.fixture
def heapledger_watch() -> Iterator[Watch]:
    """Watch native memory during the test: `leaks`, `findings` and `stats` of this test so far.

    It records nothing by itself; pytest's option `--heapledger` has a session record foreign calls.
    """
    import heapledger

    with heapledger.watch() as watched:
        yield watched


def _is_asked_for(config: pytest.Config, option: bool | None) -> bool:
    return bool(config.getini("heapledger")) if option is None else option


def _activate(config: pytest.Config) -> None:
    from heapledger_pytest.imports import watch

    try:
        with watch.own_imports():
            from heapledger.pytest_plugin.activation import activate

            activate(config)
    except ImportError as error:
        # The library is missing or of another version; the message says what to do.
        raise pytest.UsageError(str(error)) from error
