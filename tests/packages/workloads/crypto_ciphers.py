"""pycryptodome: ciphers, hashes, curves and RSA through cffi; handles come as out-parameters."""

import sys

from Crypto.Cipher import AES, PKCS1_OAEP, Blowfish, ChaCha20_Poly1305
from Crypto.Hash import CMAC, HMAC, MD5, SHA3_256, SHA256, BLAKE2b
from Crypto.Protocol.KDF import PBKDF2, scrypt
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import DSS, eddsa, pkcs1_15

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
SECRET = b"k" * 32


def encrypted() -> object:
    told = []
    for mode in (AES.MODE_GCM, AES.MODE_EAX, AES.MODE_CCM, AES.MODE_OCB):
        text, tag = AES.new(SECRET, mode, nonce=b"n" * 12).encrypt_and_digest(b"data" * 100)
        told.append(AES.new(SECRET, mode, nonce=b"n" * 12).decrypt_and_verify(text, tag)[:4])
        try:
            AES.new(SECRET, mode, nonce=b"n" * 12).decrypt_and_verify(text, b"x" * 16)
        except ValueError as error:
            told.append(str(error))
    told.append(AES.new(SECRET, AES.MODE_CBC, iv=b"i" * 16).encrypt(b"x" * 32)[:4].hex())
    told.append(ChaCha20_Poly1305.new(key=SECRET, nonce=b"0" * 12).encrypt(b"z")[:4].hex())
    told.append(Blowfish.new(SECRET, Blowfish.MODE_ECB).encrypt(b"x" * 8).hex())
    return told


def hashed() -> object:
    hashes = [kind.new(b"a text").hexdigest()[:8] for kind in (SHA256, SHA3_256, MD5)]
    copied = SHA256.new(b"a ").copy()
    copied.update(b"text")
    keyed = [
        BLAKE2b.new(digest_bits=256, data=b"q", key=b"k").hexdigest()[:8],
        HMAC.new(SECRET, b"m", SHA256).hexdigest()[:8],
        CMAC.new(SECRET, b"m", ciphermod=AES).hexdigest()[:8],
    ]
    derived = scrypt(b"p", "salt", 16, N=64, r=8, p=1).hex()
    return hashes, copied.hexdigest()[:8], keyed, derived, PBKDF2(b"p", b"s", 16, 10).hex()


def signed(rsa: RSA.RsaKey, curve: ECC.EccKey, edwards: ECC.EccKey) -> object:
    told = SHA256.new(b"m")
    pkcs1_15.new(rsa.public_key()).verify(told, pkcs1_15.new(rsa).sign(told))
    signature = DSS.new(curve, "deterministic-rfc6979").sign(told)
    DSS.new(curve.public_key(), "fips-186-3").verify(told, signature)
    eddsa.new(edwards.public_key(), "rfc8032").verify(
        b"m", eddsa.new(edwards, "rfc8032").sign(b"m")
    )
    opened = PKCS1_OAEP.new(rsa).decrypt(PKCS1_OAEP.new(rsa).encrypt(b"hi"))
    return opened, ECC.import_key(curve.export_key(format="PEM")) == curve


keys = RSA.generate(1024), ECC.generate(curve="P-256"), ECC.generate(curve="ed25519")
for _ in range(ROUNDS):
    result = encrypted(), hashed(), signed(*keys)
print(result)
