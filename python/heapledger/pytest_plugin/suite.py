"""The settings of the whole session: command line first, then the ini file, then the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from heapledger.cli.files import checked_suppressions, writable
from heapledger.errors import UsageError
from heapledger.options import (
    CHECKS,
    DEFAULT_CHECKS,
    DEFAULT_NATIVE_STACKS,
    DEFAULT_SCOPE,
    checks_in,
    session_options,
)
from heapledger.pytest_plugin.rules import READERS, Rules

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


class Suite(NamedTuple):
    """What is asked for, for all tests; `rules` are those of a test without markers."""

    scope: str
    checks: tuple[str, ...]
    native_stacks: str
    rules: Rules
    suppressions: Path | None
    baseline: Path | None
    update_baseline: bool
    json: Path | None


def suite_of(config: pytest.Config, options: argparse.Namespace) -> Suite:
    """Read the settings; `options` are those of the command line, as far as it has been read.

    Raises:
        pytest.UsageError: one of them makes no sense; the message names the option.
    """
    reader = _Reader(config, options)
    scope = reader.text("scope") or DEFAULT_SCOPE
    checks = reader.text("check")
    chosen = DEFAULT_CHECKS if checks is None else tuple(checks_in(checks))
    native_stacks = reader.text("native-stacks") or DEFAULT_NATIVE_STACKS
    try:
        session_options(scope, chosen, native_stacks)
    except UsageError as error:
        raise pytest.UsageError(f"heapledger: {error}") from error
    baseline = reader.path("baseline")
    update = bool(options.heapledger_update_baseline)
    if update and baseline is None:
        raise pytest.UsageError("--heapledger-update-baseline needs --heapledger-baseline FILE")
    if update:
        reader.file("baseline", lambda path: writable(path, "baseline"))
    return Suite(
        scope=scope,
        checks=tuple(name for name in CHECKS if name in chosen),
        native_stacks=native_stacks,
        rules=reader.rules(),
        suppressions=reader.file("suppressions", checked_suppressions),
        baseline=baseline,
        update_baseline=update,
        json=reader.file("json", lambda path: writable(path, "report")),
    )


class _Reader:
    """Options by their names."""

    def __init__(self, config: pytest.Config, options: argparse.Namespace) -> None:
        self.config = config
        self.options = options

    def text(self, name: str) -> str | None:
        return self._found(name)[0]

    def path(self, name: str) -> Path | None:
        """Return a path: from where pytest was called, or from the ini file's directory."""
        text, directory, _ = self._found(name)
        return directory / Path(text).expanduser() if text else None

    def file(self, name: str, checked: Callable[[Path | None], Path | None]) -> Path | None:
        try:
            return checked(self.path(name))
        except UsageError as error:
            raise self._wrong(name, error) from error

    def rules(self) -> Rules:
        values: dict[str, Any] = {}
        for key, read in READERS.items():
            name = key.replace("_", "-")
            text = None if key == "enabled" else self.text(name)
            if not text:
                continue
            try:
                values[key] = read(text)
            except ValueError as error:
                raise self._wrong(name, error) from error
        return Rules(**values)

    def _wrong(self, name: str, error: Exception) -> pytest.UsageError:
        """Return the complaint about an option, which names the place of its value."""
        return pytest.UsageError(f"{self._found(name)[2]}: {error}")

    def _found(self, name: str) -> tuple[str | None, Path, str]:
        """Return an option's value, the directory its paths start from, and where it stands."""
        key = "heapledger_" + name.replace("-", "_")
        given = getattr(self.options, key)
        if given is not None:
            return str(given), self.config.invocation_params.dir, f"--heapledger-{name}"
        written = self.config.getini(key)
        ini = self.config.inipath
        directory = self.config.rootpath if ini is None else ini.parent
        if isinstance(written, list):
            written = ",".join(map(str, written))
        value = str(written) if written else None
        return value, directory, f"{key} in {ini or 'the ini file'}"
