"""Short of memory, descriptors, files or rights, we do without and the program does not notice."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from compiling import LIBRARY, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trust.conftest import Trial

PROGRAM = (
    "import os, sys, threading\n"
    "from traffic import *\n"
    "library = native()\n"
    "threads = [threading.Thread(target=traffic) for _ in range(4)]\n"
    "for thread in threads: thread.start()\n"
    "for thread in threads: thread.join()\n"
    "print(traffic(), library.run_threads(4, 65536, 30), flush=True)\n"
    "leak(2)\n"
)
OUT = "120 120\n"
MEBIBYTE = 1 << 20


def limit(which: int, value: int) -> Callable[[], None]:
    """Return what sets a limit of the child."""
    return lambda: resource.setrlimit(which, (value, value))


# For a thread's arena glibc asks for 64 MiB, looks where they lie and mostly gives them back.
# Whether a thread's stack finds room at that moment is chance, in a limit between 90 and 150 MiB.
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}


@pytest.mark.parametrize("mebibytes", [4096, 1024, 400, 200, 120, 80])
def test_little_address_space(trial: Trial, mebibytes: int) -> None:
    before = limit(resource.RLIMIT_AS, mebibytes * MEBIBYTE)
    plain = trial.run(trial.command(PROGRAM), None, before=before, **ONE_ARENA)
    if plain.status:
        pytest.skip("the program itself needs more")
    assert trial.python(PROGRAM, before=before, **ONE_ARENA).out == OUT


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_descriptors(trial: Trial, count: int) -> None:
    source = (
        "import os, sys, ctypes, threading, resource, json\n"
        "from traffic import *\n"
        "library = native()\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}))\n"
        "try: open('/dev/null')\n"
        "except OSError as error: print(error.errno)\n"
        "print(traffic(), library.run_threads(4, 0, 30), flush=True)\n"
    )
    ending = trial.python(source)
    assert (ending.status, ending.err) == (0, "")


def test_few_descriptors_from_the_start(trial: Trial) -> None:
    # One more than is open already: ld.so needs it. Too few for an interpreter.
    before = limit(resource.RLIMIT_NOFILE, 4)
    assert trial.compare(["/bin/sh", "-c", "echo $((6 * 7))"], before=before).out == "42\n"


@pytest.mark.parametrize("closed", [(2,), (1,), (0,), (1, 2), (0, 1, 2)], ids=str)
def test_streams_that_are_closed(trial: Trial, closed: tuple[int, ...]) -> None:
    def before() -> None:
        for number in closed:
            os.close(number)

    source = PROGRAM.replace("print(", "ended = (").replace(", flush=True", "")
    source += f"open({str(trial.folder / 'written')!r}, 'a').write(str(ended))\n"
    ending = trial.python(source, before=before)
    assert ending.status == 0
    assert (trial.folder / "written").read_text() == "(120, 120)" * 3


def test_no_locked_memory_no_cores_little_stack(trial: Trial) -> None:
    def before() -> None:
        for which, value in (
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_STACK, 256 << 10),
            (resource.RLIMIT_SIGPENDING, 0),
        ):
            resource.setrlimit(which, (value, value))

    assert trial.python(PROGRAM, before=before).out == OUT


REPORT_PLACES = {
    "a full device": "/dev/full",
    "a folder": "/",
    "a folder that is not there": "/nonexistent/report.json",
    "a name that is too long": "/tmp/" + "x" * 300,
    "a file that is no folder": "/etc/passwd/report.json",
    "the kernel's": "/proc/report.json",
    "nothing": "",
}


@pytest.mark.parametrize("place", REPORT_PLACES)
def test_a_report_that_cannot_be_written(trial: Trial, place: str) -> None:
    options = f"scope=foreign:json={REPORT_PLACES[place]}"
    command = trial.command(PROGRAM)
    plain = trial.run(command, None)
    assert trial.run(command, "foreign", HEAPLEDGER_OPTIONS=options) == plain


def test_a_report_for_a_pipe_that_nobody_reads(trial: Trial) -> None:
    # Opening a pipe waits for a reader: a program would never end.
    pipe = trial.folder / "pipe"
    os.mkfifo(pipe)
    command = trial.command(PROGRAM)
    plain = trial.run(command, None)
    reading, writing = os.pipe()
    os.close(reading)
    for place in (f"json={pipe}", f"text=/dev/fd/{writing}"):
        options = f"scope=foreign:{place}"
        watched = trial.run(command, "foreign", keep_open=(writing,), HEAPLEDGER_OPTIONS=options)
        assert watched == plain
    os.close(writing)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_report_for_a_pipe_that_somebody_reads_late(trial: Trial) -> None:
    # Larger than a pipe holds: writing waits for the reader.
    pipe = trial.folder / "pipe"
    os.mkfifo(pipe)
    source = (
        "from traffic import *\n"
        + "".join(f"def f{number}(): libc.malloc({number})\n" for number in range(1, 151))
        + "".join(f"f{number}()\n" for number in range(1, 151))
    )
    with subprocess.Popen(
        trial.command(source),
        env=trial.environment("foreign", HEAPLEDGER_OPTIONS=f"scope=foreign:json={pipe}"),
    ) as program:
        text = pipe.read_text("utf-8")
        assert program.wait(60) == 0
    assert len(text) > 65536
    assert len(json.loads(text)["findings"]) == 150


def test_a_report_that_outgrows_the_limit_of_files(trial: Trial) -> None:
    # The kernel sends SIGXFSZ, which Python ignores and a C program does not.
    before = limit(resource.RLIMIT_FSIZE, 100)
    plain = trial.run(trial.command(PROGRAM), None, before=before)
    watched = trial.run(trial.command(PROGRAM), "foreign", before=before)
    assert watched == plain
    ending = trial.compare(["/bin/sh", "-c", "echo $((6 * 7))"], before=before)
    assert ending.status == 0
    assert [path.name for path in trial.folder.glob("*.tmp")] == []


def test_a_file_system_without_space(trial: Trial) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    small = trial.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        (small / "full").write_bytes(bytes(4096))
        (small / "old.json").touch()
        options = f"scope=foreign:json={small}/old.json"
        command = trial.command(PROGRAM)
        assert trial.run(command, "foreign", HEAPLEDGER_OPTIONS=options) == trial.run(command, None)
        assert sorted(path.name for path in small.iterdir()) == ["full", "old.json"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def unprivileged() -> None:
    """Become nobody."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def test_a_home_and_a_folder_that_cannot_be_written(trial: Trial, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if os.geteuid() == 0 and folder.stat().st_uid == 0 and folder.name.startswith("pytest"):
            folder.chmod(0o755)

    def before() -> None:
        os.chdir(locked)
        if os.geteuid() == 0:
            unprivileged()

    if subprocess.run(["cat", str(LIBRARY)], capture_output=True, preexec_fn=before).returncode:
        pytest.skip("nobody may not read the library here")
    options = f"scope=process:json={locked}/report.json"
    command = ["/bin/sh", "-c", "pwd"]
    plain = trial.run(command, None, before=before, HOME=str(locked))
    watched = trial.run(
        command, "process", before=before, HOME=str(locked), HEAPLEDGER_OPTIONS=options
    )
    assert watched == plain
    assert list(locked.iterdir()) == []


@pytest.fixture
def denying(trial: Trial) -> Callable[..., list[str]]:
    """Compile what runs a program without some system calls."""
    path = trial.folder / "denying"
    source = ROOT / "tests" / "trust" / "denying.c"
    subprocess.run(["cc", "-Wall", "-o", str(path), str(source)], check=True)
    return lambda how, *command: [str(path), how, *command]


DENIED = ["process_vm_readv", "madvise", "mprotect", "undumpable", "no_proc"]


@pytest.mark.parametrize("how", DENIED)
def test_system_calls_that_are_denied(
    trial: Trial, denying: Callable[..., list[str]], how: str
) -> None:
    # Threads need mprotect themselves.
    source = "from traffic import *\nprint(traffic())\nleak(2)\n" if how == "mprotect" else PROGRAM
    command = denying(how, *trial.command(source))
    plain = trial.run(command, None)
    if plain.status == 99:
        pytest.skip("this machine does not let us try")
    assert plain.status == 0
    for scope in ("foreign", "process"):
        assert trial.run(command, scope) == plain
        (report,) = trial.reports[scope]
        # What is not seen for want of something is said.
        assert trial.findings(scope) == ["leak"] or report["limits"]["troubles"]


def test_errors_are_found_where_memory_cannot_be_asked_about(
    trial: Trial, denying: Callable[..., list[str]]
) -> None:
    source = (
        "from traffic import *\n"
        "block = libc.malloc(40)\n"
        "libc.free(block)\n"
        "libc.free(block)\n"
        "libc.free(ctypes.addressof(ctypes.c_int()) | 1)\n"
        "libc.free(8)\n"
        "print(traffic())\n"
    )
    ending = trial.run(denying("process_vm_readv", *trial.command(source)), "foreign")
    # What is not mapped at all cannot be told from what is without asking: it goes to free.
    kinds = [kind for kind in trial.findings("foreign") if kind == "double-free"]
    assert (ending.status == 0 and kinds == ["double-free"]) or ending.status < 0


def test_a_privileged_program_is_not_told_what_to_do(trial: Trial) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a program of root's")
    program = trial.folder / "privileged"
    source = trial.folder / "privileged.c"
    source.write_text(
        '#include <stdio.h>\n#include <stdlib.h>\nint main(void){free(malloc(9));puts("ran");}\n'
    )
    folder = str(LIBRARY.parent)
    command = ["cc", "-o", str(program), str(source), f"-L{folder}", f"-Wl,-rpath,{folder}"]
    subprocess.run([*command, "-Wl,--no-as-needed", "-lheapledger"], check=True)
    for path in (trial.folder, *trial.folder.parents):
        if "pytest" in str(path):
            path.chmod(0o755)
    program.chmod(0o4755)
    report, log = trial.folder / "privileged.json", trial.folder / "privileged.log"
    trial.folder.chmod(0o777)
    command = [str(program)]
    more = {
        "HEAPLEDGER_OPTIONS": f"scope=process:json={report}",
        "HEAPLEDGER_LOG": f"{log},trace",
        "LD_PRELOAD": "",
    }
    if trial.run(command, None, before=unprivileged, **more).status:
        pytest.skip("nobody may not read the library here")
    assert not report.exists()
    assert not log.exists()


def test_a_report_is_for_its_owner_alone(trial: Trial) -> None:
    def before() -> None:
        os.umask(0)

    trial.run(trial.command(PROGRAM), "foreign", before=before)
    (report,) = trial.folder.glob("foreign-*.json")
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_report_has_no_bytes_of_the_program(trial: Trial) -> None:
    secret = "correct-horse-battery-staple"
    source = (
        "from traffic import *\n"
        f"secret = {secret[::-1]!r}[::-1].encode()\n"
        "for size in (32, 40, 64):\n"
        "    block = libc.malloc(size)\n"
        "    ctypes.memmove(block, secret, len(secret))\n"
        "    libc.free(block)\n"
        "    ctypes.memmove(block, secret, len(secret))\n"
        "    libc.free(block)\n"
        "    block = libc.malloc(len(secret) - 4)\n"
        "    ctypes.memmove(block, secret, len(secret))\n"
        "    libc.free(block)\n"
    )
    trial.run(trial.command(source), "foreign")
    text = json.dumps(trial.reports["foreign"])
    kinds = trial.findings("foreign")
    assert {"double-free", "heap-overflow"} <= set(kinds)
    # Of an overflow the bytes behind the block are told, which are in no block.
    for piece in (secret, secret[:8], secret[:8].encode().hex(), secret[-8:].encode().hex()):
        assert piece not in text


def test_a_report_tells_what_lies_in_blocks_when_it_is_asked(trial: Trial) -> None:
    source = (
        "from traffic import *\n"
        "kept = libc.malloc(40)\n"
        "ctypes.memmove(kept, b'lost and found\\0\\x1b[31m', 20)\n"
        "released = libc.malloc(48)\n"
        "libc.free(released)\n"
        "(ctypes.c_char * 12).from_address(released)[:] = b'written late'\n"
        "del kept, released\n"
    )
    place = f"json={trial.folder}/foreign-%p.json:text={trial.folder}/report.txt"
    trial.run(
        trial.command(source),
        "foreign",
        HEAPLEDGER_OPTIONS=f"scope=foreign:contents=1:{place}",
    )
    (report,) = trial.reports["foreign"]
    assert report["options"]["contents"] is True
    found = {finding["kind"]: finding for finding in report["findings"]}
    assert bytes.fromhex(found["leak"]["block"]["contents"]).startswith(b"lost and found\0\x1b[31m")
    assert len(found["leak"]["block"]["contents"]) == 2 * 40
    # The block was released, and what was written into it is all that is the program's.
    assert "contents" not in found["use-after-free"]["block"]
    assert bytes.fromhex(found["use-after-free"]["damage"]["found"]) == b"written late"
    text = (trial.folder / "report.txt").read_text("utf-8")
    assert "it begins with 6c 6f 73 74 20" in text
    assert "|lost and found..[31m" in text
    assert "written there: 77 72 69" in text
