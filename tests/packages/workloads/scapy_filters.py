"""scapy: filters compiled by libpcap through ctypes, as each sniffing socket does."""

import logging
import sys

logging.disable(logging.CRITICAL)

from scapy.arch import common  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> int:
    program = common.compile_filter("tcp and port 80", linktype=1)
    length = int(program.bf_len)
    # Since 2.7.0 whoever attaches the filter releases it; before, nothing could.
    release = getattr(common, "free_filter", None)
    if release is not None:
        release(program)
    return length


for _ in range(ROUNDS):
    result = work()
print(result > 0)
