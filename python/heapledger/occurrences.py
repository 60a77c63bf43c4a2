"""How often findings occurred since a moment. The library counts them since the session began."""

from __future__ import annotations

from typing import Any

from heapledger._native import interface

Finding = dict[str, Any]


class Occurrences:
    """The counts of findings at one moment; the library is asked only if there are any."""

    def __init__(self) -> None:
        """Count now."""
        self._counts: dict[str, int] = {}
        if any(interface.statistics().findings):
            self.take_new(0)

    def new(self, mark: int) -> list[Finding]:
        """Return the findings that occurred since `mark` and this moment, with how often."""
        new = []
        for finding in interface.findings_since(mark):
            count = finding["count"] - self._counts.get(_name(finding), 0)
            if count > 0:
                new.append(finding | {"count": count})
        return new

    def take_new(self, mark: int) -> list[Finding]:
        """Return the same, and count from now on."""
        new = self.new(mark)
        for finding in new:
            name = _name(finding)
            self._counts[name] = self._counts.get(name, 0) + finding["count"]
        return new


def _name(finding: Finding) -> str:
    # The place of a pointer is no part of the fingerprint.
    return f"{finding['fingerprint']} {finding['message']}"
