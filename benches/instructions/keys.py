"""An RSA key, its key set and tokens, the same in every run.

The key is made from a seed that stands here, so that every request has the same bytes wherever this runs. It protects nothing:
whoever reads this has it too.
"""

import base64
import hashlib
import json
import random

ISSUER = "https://issuer.bench.test/"
AUDIENCE = "bench-api"
KEY_ID = "rsa-1"
EXPONENT = 65537
# 2100-01-01: a figure that is compared with one of last year must not come from an expired token.
EXPIRES = 4_102_444_800
ISSUED = 1_760_000_000
# SHA-256 in front of a hash (RFC 8017 §9.2).
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def is_prime(number, source):
    """Miller-Rabin; 20 rounds are plenty for what is no secret."""
    if any(number % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(20):
        power = pow(source.randrange(2, number - 1), odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def prime(source):
    """A prime of 1024 bits whose two highest bits are set, so that a product of two has 2048."""
    while True:
        number = source.getrandbits(1024) | 3 << 1022 | 1
        if number % EXPONENT != 1 and is_prime(number, source):
            return number


class Issuer:
    """Signs RS256 tokens."""

    def __init__(self, seed="sidegate benches/instructions"):
        source = random.Random(seed)
        p, q = prime(source), prime(source)
        self.modulus = p * q
        self.primes = [(prime, pow(EXPONENT, -1, prime - 1)) for prime in (p, q)]
        self.coefficient = pow(q, -1, p)

    def key_set(self):
        numbers = {"n": b64(self.modulus.to_bytes(256, "big")), "e": b64(EXPONENT.to_bytes(3, "big"))}
        return json.dumps({"keys": [{"kty": "RSA", "kid": KEY_ID, "use": "sig", "alg": "RS256"} | numbers]})

    def token(self, number=0):
        """The token of one of many subjects; 759 bytes."""
        head = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": f"auth0|user-{number:08d}", "iat": ISSUED, "exp": EXPIRES,
            "azp": "client-abcdef0123456789", "scope": "openid profile read:items write:items",
            "roles": ["viewer", "editor", "auditor-eu"], "tenant": "tenant-0123456789-eu1",
        }
        text = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        block = DIGEST_INFO + hashlib.sha256(text.encode()).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(block)) + b"\x00" + block
        return f"{text}.{b64(self.signed(int.from_bytes(padded, 'big')).to_bytes(256, 'big'))}"

    def signed(self, number):
        """RSASP1 by the Chinese remainder theorem (RFC 8017 §5.2.1), four times as fast."""
        first, second = (pow(number, exponent, prime) for prime, exponent in self.primes)
        (p, _), (q, _) = self.primes
        return second + (first - second) * self.coefficient % p * q


def spoiled(token):
    """The same token with one bit of its signature changed."""
    text, signature = token.rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[20] ^= 1
    return f"{text}.{b64(bytes(raw))}"
