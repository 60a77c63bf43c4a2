"""mini-racer: V8 through ctypes.

Ends by `os._exit`: when 0.14.1 destroys a context it hangs in one of three runs, by itself too.
"""

import os
import sys

from py_mini_racer import JSEvalException, MiniRacer

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


racer = MiniRacer()


def work() -> object:
    value = racer.eval("[1, 2, 3].map(x => x * 2).join('-')")
    racer.eval("function f(a, b) { return {sum: a + b, list: [a, b]}; }")
    called = racer.call("f", 3, 4)
    try:
        racer.eval("throw new Error('no')")
    except JSEvalException as error:
        refused = type(error).__name__
    return value, called, refused


for _ in range(ROUNDS):
    result = work()
print(result, flush=True)
os._exit(0)
