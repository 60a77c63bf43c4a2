"""pylibdmtx: libdmtx through ctypes."""

import sys

from PIL import Image
from pylibdmtx.pylibdmtx import decode, encode

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    encoded = encode(b"hello world")
    image = Image.frombytes("RGB", (encoded.width, encoded.height), encoded.pixels)
    return encoded.width, [found.data for found in decode(image)]


for _ in range(ROUNDS):
    result = work()
print(result)
