"""Two views of a Python stack: the interpreter's own and the native reader's."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

FRAME_COUNT_MAX = 64
HL_OK = 0
HL_BUFFER_TOO_SMALL = 5

Frame = tuple[str, int, str]


def library_path() -> Path:
    """Return the library under test: the one chosen by the environment, or the built one."""
    chosen = os.environ.get("HEAPLEDGER_LIBRARY")
    built = Path(__file__).resolve().parents[2] / "target" / "release" / "libheapledger.so"
    return Path(chosen) if chosen else built


def load_library() -> ctypes.CDLL:
    """Load the library with the prototypes needed here."""
    library = ctypes.CDLL(str(library_path()))
    for name in ("hl_python_connect", "hl_python_read_frames"):
        function = getattr(library, name)
        function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
        function.restype = ctypes.c_int32
    return library


library = load_library()
buffer = threading.local()


def answer_of(function: Any) -> Any:
    """Call a function that answers with JSON text; the frames it sees include this one."""
    if not hasattr(buffer, "text"):
        buffer.text = ctypes.create_string_buffer(1 << 16)
        buffer.length = ctypes.c_size_t()
    status = function(buffer.text, len(buffer.text), ctypes.byref(buffer.length))
    assert status == HL_OK, status
    return json.loads(buffer.text.value)


def interpreter_frames(frame: FrameType | None) -> list[Frame]:
    """Describe a frame and its callers, as the interpreter knows them."""
    frames: list[Frame] = []
    while frame is not None and len(frames) < FRAME_COUNT_MAX - 2:
        code = frame.f_code
        frames.append((code.co_filename, frame.f_lineno or 0, code.co_qualname))
        frame = frame.f_back
    return frames


def native_frames() -> list[Frame]:
    """Describe the frames of the caller and its callers, as the native reader sees them."""
    frames = answer_of(library.hl_python_read_frames)
    assert {frame["language"] for frame in frames} == {"python"}
    described = [(frame["file"], frame["line"], frame["function"]) for frame in frames]
    assert [function for _, _, function in described[:2]] == ["answer_of", "native_frames"]
    return described[2:]


class Checker:
    """Compares the two views, and counts, so that no test passes by checking nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        """Check the stack of the caller; return how many stacks have been checked."""
        expected = interpreter_frames(sys._getframe(1))
        seen = native_frames()
        assert seen[0][2] == "Checker.__call__"
        assert seen[1:] == expected[: len(seen) - 1]
        assert len(seen) == min(len(expected) + 1, FRAME_COUNT_MAX - 2)
        self.count += 1
        return self.count


def checker() -> Iterator[Checker]:
    """Connect to the interpreter and yield a checker that must be used."""
    answer = answer_of(library.hl_python_connect)
    assert answer["status"] == "connected", answer
    assert answer["version"] == ".".join(str(part) for part in sys.version_info[:3])
    made = Checker()
    yield made
    assert made.count > 0, "the situation never came up"


def recurse(depth: int, then: Callable[[], int]) -> int:
    """Call `then` below this many more frames."""
    if depth > 0:
        return recurse(depth - 1, then)
    return then()
