"""iperf3: libiperf through ctypes. A client that is asked about itself, without a server."""

import sys

import iperf3

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

for _ in range(ROUNDS):
    client = iperf3.Client()
    client.server_hostname, client.port = "127.0.0.1", 5999
print(client.server_hostname, client.port)
