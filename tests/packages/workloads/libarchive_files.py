"""libarchive-c: writes archives to memory and to files, reads them back."""

import os
import sys
import tempfile

import libarchive

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def written(directory: str) -> str:
    path = os.path.join(directory, "a.tar.gz")
    with libarchive.file_writer(path, "gnutar", "gzip") as archive:
        archive.add_file_from_memory("one.txt", 11, b"hello world")
        archive.add_files(__file__)
    return path


def in_memory() -> bytes:
    chunks = []
    with libarchive.custom_writer(
        lambda data: chunks.append(bytes(data)) or len(data), "zip"
    ) as archive:
        for number in range(5):
            archive.add_file_from_memory(f"{number}.txt", 4, b"1234")
    return b"".join(chunks)


def work(directory: str) -> object:
    path = written(directory)
    with libarchive.file_reader(path) as archive:
        names = [(os.path.basename(entry.pathname), entry.size, entry.isreg) for entry in archive]
    with libarchive.memory_reader(in_memory()) as archive:
        sizes = [sum(len(block) for block in entry.get_blocks()) for entry in archive]
    with open(path, "rb") as file, libarchive.fd_reader(file.fileno()) as archive:
        count = sum(1 for _ in archive)
    try:
        with libarchive.memory_reader(b"not an archive") as archive:
            list(archive)
    except libarchive.ArchiveError as error:
        refused = type(error).__name__
    return [name for name, _, _ in names], sizes, count, refused


with tempfile.TemporaryDirectory() as directory:
    for _ in range(ROUNDS):
        result = work(directory)
print(result)
