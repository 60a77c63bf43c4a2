"""A pointer that is left in memory which nobody uses any more keeps no block, and one in use does.

The memory is not on record: it was allocated before the session, or is the interpreter's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercepted import compile_plain, run_attached

if TYPE_CHECKING:
    from pathlib import Path

# Rooms, their bytes, and whether something in use lies behind each.
HEAPS = {
    "the cache of the thread": (1, 600, True),
    "fast bins": (20, 100, True),
    "free chunks": (20, 2_000, True),
    "one free chunk": (20, 2_000, False),
}
IN_HEAP = """
import ctypes
library = ctypes.CDLL({library!r})
library.make_rooms{where}{rooms}
# start
library.fill_rooms()
"""
IN_POOL = """
import ctypes
library = ctypes.CDLL({library!r})
# start
rooms = [ctypes.create_string_buffer(200) for _ in range(20)]
for room in rooms:
    library.use_room(ctypes.c_size_t(ctypes.addressof(room)))
    library.fill_rooms()
    library.leave_rooms()
"""


def _kept_and_lost(source: str, folder: Path) -> tuple[int, int]:
    run = run_attached(source, folder)
    assert run.status == 0, run.err
    assert run.report["limits"]["heap_unread_byte_count"] == 0
    leaks = run.of_kind("leak")
    kept = sum(leak["blocks"] for leak in leaks if leak.get("kept_by"))
    return kept, sum(leak["blocks"] for leak in leaks) - kept


@pytest.mark.parametrize("where", ["", "_in_thread"])
@pytest.mark.parametrize("rooms", HEAPS.values(), ids=HEAPS.keys())
def test_what_was_released_to_glibc_keeps_nothing(
    rooms: tuple[int, int, bool], where: str, tmp_path: Path
) -> None:
    library = compile_plain("leftovers.c", tmp_path)
    used = IN_HEAP.format(library=str(library), rooms=rooms, where=where)
    assert _kept_and_lost(used, tmp_path) == (rooms[0], 0)
    # That nothing leads to the room is the mistake of somebody else.
    assert _kept_and_lost(used + "library.leave_rooms()\n", tmp_path) == (rooms[0], 0)
    assert _kept_and_lost(used + "library.release_rooms()\n", tmp_path) == (0, rooms[0])


def test_what_lies_below_a_closed_block_is_known(tmp_path: Path) -> None:
    library = compile_plain("leftovers.c", tmp_path)
    source = IN_HEAP.format(library=str(library), rooms=HEAPS["free chunks"], where="")
    used = source + "library.close_above_rooms()\n"
    assert _kept_and_lost(used, tmp_path) == (20, 0)
    assert _kept_and_lost(used + "library.release_rooms()\n", tmp_path) == (0, 20)


def test_what_a_dead_object_of_python_held_keeps_nothing(tmp_path: Path) -> None:
    source = IN_POOL.format(library=str(compile_plain("leftovers.c", tmp_path)))
    assert _kept_and_lost(source, tmp_path) == (20, 0)
    # The places of dead objects are taken by others, which may leave a word as it was.
    kept, lost = _kept_and_lost(source + "del room, rooms\n", tmp_path)
    assert kept + lost == 20
    assert kept <= 2
    kept, lost = _kept_and_lost(source + "del room, rooms[::2]\n", tmp_path)
    assert kept + lost == 20
    assert 10 <= kept <= 12


def test_a_damaged_heap_is_searched_as_if_all_of_it_were_used(tmp_path: Path) -> None:
    library = compile_plain("leftovers.c", tmp_path)
    source = IN_HEAP.format(library=str(library), rooms=(20, 2_000, True), where="").replace(
        "library.make_rooms(",
        "library.make_place_to_damage.restype = ctypes.c_size_t\n"
        "damaged = library.make_place_to_damage()\n"
        "library.make_rooms(",
    )
    damage = """
library.release_rooms()
place = ctypes.c_size_t.from_address(damaged - 8)
before, place.value = place.value, 0x4343434343434343
report = heapledger.report("json")
place.value = before
heapledger.report = lambda _: report
"""
    run = run_attached(source + damage, tmp_path)
    assert run.status == 0, run.err
    # The first rooms may lie in holes below the damage.
    assert run.report["limits"]["heap_unread_byte_count"] > 20_000
    assert sum(leak["blocks"] for leak in run.of_kind("leak") if leak.get("kept_by")) >= 10
