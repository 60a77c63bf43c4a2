"""Comparing the native frame reader with the interpreter, once per process.

The library reads the interpreter's frames by offsets that it knows per version. An interpreter that
was built differently would make it tell wrong lines, so what it reads is compared with what
`sys._getframe` says, inside functions of every shape that matters: a plain function, a lambda, a
generator and a method.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Read = Callable[[], list[dict[str, Any]]]
    Line = tuple[str, str, int]

FRAME_COUNT_MAX = 64
"""How many Python frames the library stores of one stack."""


def disagreement(read: Read) -> str | None:
    """Return how what `read` reads differs from the interpreter's own frames; None: it does not."""
    try:
        return _Known(read).compared()
    except Exception as error:
        return f"the frames cannot be read: {error}"


class _Known:
    """Functions whose frames are known, one inside the other."""

    def __init__(self, read: Read) -> None:
        self.read = read

    def compared(self) -> str | None:
        """Go through a lambda and a generator, so that their frames are on the stack."""
        through_lambda: Callable[[], str | None] = lambda: next(self.generated())  # noqa: E731
        return through_lambda()

    def generated(self) -> Iterator[str | None]:
        # Both sides are taken on one line: the line is what is compared.
        native, interpreter = self.read(), lines_of(sys._getframe())
        yield _difference(native, interpreter)


def lines_of(frame: FrameType | None) -> list[Line]:
    """Return (file, qualified function, line) of `frame` and its callers, innermost first."""
    lines: list[Line] = []
    while frame is not None and len(lines) < FRAME_COUNT_MAX:
        code = frame.f_code
        # The line is None for code that belongs to no line of source.
        lines.append((code.co_filename, code.co_qualname, frame.f_lineno or 0))
        frame = frame.f_back
    return lines


def _difference(read: list[dict[str, Any]], true: list[Line]) -> str | None:
    """Compare from the frame that called the reader outwards: the reader's own lie inside it."""
    native = [(str(f["file"]), str(f["function"]), int(f["line"])) for f in read]
    inside = next((i for i, line in enumerate(native) if line[1] == true[0][1]), len(native))
    seen = native[inside:]
    if not seen or (len(seen) != len(true) and len(native) < FRAME_COUNT_MAX):
        return f"{len(seen)} frames were read and there are {len(true)}"
    for depth, (one, other) in enumerate(zip(seen, true, strict=False)):
        # A name that is not ASCII may be spelled in another encoding on the way: its line decides.
        names = zip(one[:2], other[:2], strict=True)
        same_names = all(name == real or not real.isascii() for name, real in names)
        if not same_names or one[2] != other[2]:
            return f"frame {depth} was read as {one} and is {other}"
    return None
