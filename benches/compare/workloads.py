"""The rows of the table: which program with how much work, and under which tools it makes sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compare.environment import HERE
from compare.tools import Start

if TYPE_CHECKING:
    from compare.environment import Environment

PROGRAMS = HERE / "workloads"
_QUICK_PART = 20
"""A quick run does so many times less."""


@dataclass(frozen=True)
class Workload:
    """One program with its work."""

    name: str
    title: str
    program: str
    work: int = 0
    """How often it does what it does; zero when there is nothing to choose."""
    more: tuple[str, ...] = ()
    library: str | None = None
    """A C++ source that is compiled for it and passed first."""
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def is_python(self) -> bool:
        """Whether Python runs it."""
        return self.program.endswith(".py")

    def start(self, environment: Environment, *, quick: bool) -> Start:
        """Return how it is started, without any tool."""
        arguments = []
        if self.library is not None:
            source = PROGRAMS / self.library
            arguments.append(str(environment.compile(source, "-shared")))
        if self.work:
            arguments.append(str(max(1, self.work // _QUICK_PART) if quick else self.work))
        arguments += self.more
        if self.is_python:
            command = [str(environment.python), str(PROGRAMS / self.program), *arguments]
        else:
            command = [str(environment.compile(PROGRAMS / self.program)), *arguments]
        return Start(command, dict(self.variables))


_MALLOC = {"PYTHONMALLOC": "malloc"}
WORKLOADS = (
    Workload("fib", "(a) Python calls", "fib.py", 32),
    Workload("calls", "(b) ctypes malloc/free pairs", "calls.py", 200_000, library="native.cpp"),
    Workload("mix", "(c) NumPy, JSON, regex", "mix.py", 400),
    Workload("mix-malloc", "(c) the same, PYTHONMALLOC=malloc", "mix.py", 400, variables=_MALLOC),
    Workload("loop-1", "(d) C loop, 1 thread", "loop.py", 1_000_000, ("1",), "native.cpp"),
    Workload("loop-2", "(d) C loop, 2 threads", "loop.py", 1_000_000, ("2",), "native.cpp"),
    Workload("loop-4", "(d) C loop, 4 threads", "loop.py", 1_000_000, ("4",), "native.cpp"),
    Workload("training", "(e) LightGBM training", "training.py", 40),
    Workload("objects", "(f) a million C++ objects", "objects.py", 1_000_000, library="native.cpp"),
    Workload("imports", "(g) import numpy, pandas", "imports.py"),
    Workload("empty", "(h) empty script", "empty.py"),
    Workload("larson", "(i) larson-like, 2 threads", "larson.cpp", 400_000),
    Workload("cfrac", "(i) cfrac-like", "cfrac.cpp", 200_000),
    Workload("xmalloc", "(i) xmalloc-like", "xmalloc.cpp", 4_000),
)
