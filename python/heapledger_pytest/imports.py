"""The watch over imports: until `ctypes` or cffi is imported, no foreign call can be made.

So a test process loads nothing of heapledger's library, and records nothing, before that: most
suites never come so far. Modules of heapledger are also found here, and not by pytest, which would
compile every one of them anew in each run where it may write no files.

Knows nothing of heapledger's modules but which of them the plugin itself imports before that.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

CALLERS = frozenset({"ctypes", "_ctypes", "_cffi_backend"})
"""Modules without which Python makes no foreign call."""

PACKAGE = "heapledger"


class ImportWatch:
    """A finder, in front of all others, that calls a function before the first of `CALLERS`.

    A module of heapledger that the plugin does not import itself counts as one: it may call the
    library, and the program imports it.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._called: Callable[[], None] | None = None
        # Not waited for: who has it may need what the other thread is importing.
        self._lock = threading.Lock()
        self._own_depth = 0

    @property
    def is_own(self) -> bool:
        """Whether the plugin imports its own modules, which need no library yet."""
        return self._own_depth > 0

    @contextmanager
    def own_imports(self) -> Iterator[None]:
        """Find the plugin's modules, and take their imports for nobody else's."""
        self._own_depth += 1
        self._enter()
        try:
            yield
        finally:
            self._own_depth -= 1
            self._leave()

    def call_before(self, function: Callable[[], None]) -> None:
        """Call `function` before the first import that makes foreign calls possible."""
        self._called = function
        self._enter()

    def end(self) -> None:
        """Call nothing any more."""
        self._called = None
        self._leave()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Call the function if this is the import it waits for; find heapledger's modules."""
        is_own = name.partition(".")[0] == PACKAGE
        if name in CALLERS or (is_own and not self.is_own and name != PACKAGE):
            self._call()
            module = sys.modules.get(name)
            if module is not None:
                # The function has imported it in the meantime, which must not happen twice.
                return _spec_of_loaded(module)
        return PathFinder.find_spec(name, path, target) if is_own else None

    def _call(self) -> None:
        called = self._called
        if called is None or not self._lock.acquire(blocking=False):
            return
        try:
            if self._called is not None:
                self._called = None
                with self.own_imports():
                    called()
        finally:
            self._lock.release()

    def _enter(self) -> None:
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def _leave(self) -> None:
        if self._called is None and not self._own_depth and self in sys.meta_path:
            sys.meta_path.remove(self)


watch = ImportWatch()
"""That of this process."""


class _Loaded:
    """A loader that gives a module which is there already, as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # Importing has put the spec of this loader in its place.
        module.__spec__ = self._spec


def _spec_of_loaded(module: ModuleType) -> ModuleSpec:
    known = module.__spec__
    origin = None if known is None else known.origin
    spec = ModuleSpec(module.__name__, _Loaded(module), origin=origin)  # type: ignore[arg-type]
    if known is not None:
        spec.submodule_search_locations = known.submodule_search_locations
    return spec
