"""tls-client: a Go library through ctypes. Requests to a closed local port, and cookies."""

import sys

import tls_client

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def work() -> object:
    session = tls_client.Session(client_identifier="chrome_120")
    try:
        session.get("http://127.0.0.1:9/", timeout_seconds=2)
    except Exception as error:
        return type(error).__name__
    return "answered"


for _ in range(ROUNDS):
    result = work()
print(result)
