"""The text under a failed test: what was found, as short as it can be and still name the line.

The full report is the library's; this is its excerpt for a test runner. Per finding one sentence,
then its stacks: Python frames first, native ones under them. Frames outside the test (the runner's)
are left out, and the test's own line is marked with ">".
"""

from __future__ import annotations

import linecache
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Frames = Sequence[dict[str, Any]]

LINE_MAX = 20
"""Lines of the short form."""

SHORT_PYTHON_FRAME_MAX = 3
SHORT_NATIVE_FRAME_MAX = 2
SHORT_HINT_MAX = 1

EVENTS = (("here", "now"), ("released", "released"), ("allocated", "allocated"))
"""The stacks of a finding in the order of the text, and what they are called there."""

DOCTEST = "<doctest "

RUNNERS = (
    *("_pytest", "pluggy", "unittest", "xdist", "flaky", "hypothesis"),
    *("pytest_asyncio", "anyio", "trio", "asyncio"),
)
"""Packages whose frames, and all outside them, belong to the test runner or to an event loop."""


class Place(NamedTuple):
    """The code of a test or fixture: its file and its qualified name.

    A doctest has a file for each of its examples, with a name of this beginning.
    """

    file: str
    function: str

    def holds(self, frame: dict[str, Any]) -> bool:
        """Tell whether a frame executes this code."""
        if frame["function"] != self.function:
            return False
        file = str(frame["file"])
        return file == self.file or (self.file.startswith(DOCTEST) and file.startswith(self.file))


class Layout(NamedTuple):
    """Whose line is marked, below which directory names are short, and whether all is shown."""

    own: Place | None = None
    directory: str = ""
    full: bool = False

    def owns(self, frame: dict[str, Any]) -> bool:
        """Tell whether a frame is the test's own."""
        return self.own is not None and self.own.holds(frame)

    def shows_source(self, frame: dict[str, Any]) -> bool:
        """Tell whether the source stands under any such frame; else only under the outermost."""
        return self.full or self.owns(frame)


def text_of(findings: Iterable[dict[str, Any]], closing: Sequence[str], layout: Layout) -> str:
    """Return the text about findings (in their JSON form), then the lines of `closing`.

    The short form has at most `LINE_MAX` lines, those of `closing` among them.
    """
    lines: list[str] = []
    for finding in findings:
        lines += ["", *_finding_lines(finding, layout)]
    room = LINE_MAX - len(closing)
    if not layout.full and len(lines) > room:
        left_out = len(lines) - room + 1
        lines = [*lines[: room - 1], f"... {left_out} more lines: -v shows them"]
    return "\n".join([*lines, *closing]).lstrip("\n")


def trimmed(frames: Frames, own: Place | None) -> list[dict[str, Any]]:
    """Return the Python frames from the innermost to the test's own, the runner's left out."""
    python = [frame for frame in frames if frame["language"] == "python"]
    for index, frame in enumerate(python):
        if own is not None and own.holds(frame):
            return python[: index + 1]
    for index, frame in enumerate(python):
        if index and _is_runners(frame):
            return python[:index]
    return python


def place_named(frame: dict[str, Any], directory: str) -> str:
    """Name a Python frame's file and line, the file relative to `directory` if it is below it."""
    return f"{relative(frame['file'], directory)}:{frame['line']}"


def relative(file: str, directory: str) -> str:
    """Return the file's name as seen from `directory`, if it is below it."""
    inside = os.path.join(directory, "")
    return file[len(inside) :] if directory and file.startswith(inside) else file


def _finding_lines(finding: dict[str, Any], layout: Layout) -> list[str]:
    lines = [str(finding["message"])]
    if finding["kind"] != "leak" and finding["count"] > 1:
        lines.append(f"  {finding['count']} times; the first is shown")
    if finding.get("example"):
        lines.append(f"  example: {finding['example']}")
    hints = finding["hints"] if layout.full else finding["hints"][:SHORT_HINT_MAX]
    lines += [f"  hint: {hint}" for hint in hints]
    for event, name in EVENTS:
        frames = finding["stacks"].get(event)
        if frames:
            lines.append(f"  {name}:")
            lines += _stack_lines(frames, layout)
    return lines


def _stack_lines(frames: Frames, layout: Layout) -> list[str]:
    python = trimmed(frames, layout.own)
    native = [
        frame for frame in frames if frame["language"] != "python" and not frame.get("internal")
    ]
    left_out = 0 if layout.full else len(python) - SHORT_PYTHON_FRAME_MAX
    before = len(python) if left_out <= 0 else SHORT_PYTHON_FRAME_MAX - 1
    lines = [line for frame in python[:before] for line in _python_lines(frame, layout)]
    if left_out > 0:
        lines.append(f"    ... {left_out} more")
        lines += _python_lines(python[-1], layout)
    if python and not layout.shows_source(python[-1]):
        lines += _source_lines(python[-1])
    if not layout.full:
        native = native[:SHORT_NATIVE_FRAME_MAX]
    return lines + [f"    native {_native_text(frame)}" for frame in native]


def _python_lines(frame: dict[str, Any], layout: Layout) -> list[str]:
    """Return the frame's line; its source below where that is the test's own, or all is shown."""
    is_own = layout.owns(frame)
    place = place_named(frame, layout.directory)
    lines = [f"{'  >' if is_own else '   '} {place} in {frame['function']}"]
    return lines + (_source_lines(frame) if layout.shows_source(frame) else [])


def _source_lines(frame: dict[str, Any]) -> list[str]:
    source = linecache.getline(frame["file"], frame["line"]).strip()
    return [f"        {source}"] if source else []


def _native_text(frame: dict[str, Any]) -> str:
    name = frame["function"] or f"at {frame['address']}"
    library = os.path.basename(frame["library"])
    text = f"{name} ({library})" if library else str(name)
    return f"{text} {frame['file']}:{frame['line']}" if frame["file"] else text


def _is_runners(frame: dict[str, Any]) -> bool:
    folders = frame["file"].split(os.sep)[:-1]
    return any(folder in RUNNERS for folder in folders)
