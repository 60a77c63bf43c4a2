"""python-magic: libmagic through ctypes."""

import sys

import magic

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    kinds = [
        magic.from_buffer(data, mime=True)
        for data in (b"%PDF-1.4\n", b"\x89PNG\r\n\x1a\n" + bytes(20), b"text")
    ]
    kinds.append(magic.from_file(__file__, mime=True))
    own = magic.Magic(mime_encoding=True, keep_going=True)
    kinds.append(own.from_buffer(b"caf\xc3\xa9"))
    try:
        own.from_file("/nonexistent")
    except (OSError, magic.MagicException) as error:
        kinds.append(type(error).__name__)
    return kinds


for _ in range(ROUNDS):
    result = work()
print(result)
