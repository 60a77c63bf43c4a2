"""pycryptodome: numbers of GMP through ctypes (or cffi), in an RSA signature."""

import random
import sys

from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
RANDOM = random.Random(1)
# Two primes of 512 bits make a key without looking for any.
P = 2**521 - 1
Q = 2**607 - 1
KEY = RSA.construct(
    (P * Q, 65537, pow(65537, -1, (P - 1) * (Q - 1)), P, Q), consistency_check=False
)

for _ in range(ROUNDS):
    signature = pkcs1_15.new(KEY).sign(SHA256.new(b"text"))
print(len(signature))
