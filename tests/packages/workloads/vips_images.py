"""pyvips: libvips through cffi in ABI mode, without its cache of operations, which grows."""

import sys

import pyvips

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

pyvips.cache_set_max(0)


def work() -> object:
    image = pyvips.Image.black(60, 40).linear(1, [10, 20, 30])
    turned = image.rot90().crop(2, 2, 20, 20).cast("uchar")
    data = turned.write_to_buffer(".png")
    again = pyvips.Image.new_from_buffer(data, "")
    mean = again.avg()
    pixels = again(1, 1)
    memory = len(again.write_to_memory())
    try:
        pyvips.Image.new_from_file("/nonexistent.png")
    except pyvips.Error:
        refused = True
    return round(mean, 3), pixels, memory, again.width, refused, len(again.get_fields()) > 0


for _ in range(ROUNDS):
    result = work()
print(result)
