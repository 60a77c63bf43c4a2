"""pyvips in cffi's ABI mode: images written to memory, without the cache of operations."""

import sys

import pyvips

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

pyvips.cache_set_max(0)
image = pyvips.Image.black(16, 16)
for _ in range(ROUNDS):
    written = image.write_to_buffer(".png")
print(len(written) > 0)
