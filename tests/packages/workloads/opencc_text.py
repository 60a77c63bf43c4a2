"""OpenCC 0.2: libopencc through ctypes. A text is converted."""

import sys

from opencc import OpenCC

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

converter = OpenCC("s2t.json")
for _ in range(ROUNDS):
    converted = converter.convert("汉字")
print(ascii(converted))
