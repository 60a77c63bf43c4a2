"""pymediainfo: libmediainfo through ctypes, asked about something that cannot be opened."""

import sys

from pymediainfo import MediaInfo

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

refused = 0
for _ in range(ROUNDS):
    try:
        MediaInfo.parse("http://127.0.0.1:9/none.mp4")
    except RuntimeError:
        refused += 1
print(refused == ROUNDS)
