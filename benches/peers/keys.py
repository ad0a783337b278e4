"""A signing key, its key set, and files of tokens. They are made once and used again."""

import base64
import json
import multiprocessing
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER = "https://issuer.bench.test/"
AUDIENCE = "bench-api"
SUBJECT = "auth0|user-00000000"
TEN_YEARS = 10 * 365 * 86400


def base64url(data):
    """As RFC 7515 wants it: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(number=0, **changes):
    """What an issuer of our day puts into an access token; `number` makes the subject."""
    now = int(time.time())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": f"auth0|user-{number:08d}",
        "iat": now - 60, "exp": now + TEN_YEARS, "azp": "client-abcdef0123456789",
        "scope": "openid profile read:items write:items",
        "permissions": ["read:items", "write:items", "read:orders", "admin:reports"],
    } | changes


def sign(key, body):
    """A token with RS256."""
    head = {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}
    text = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, body))
    return f"{text}.{base64url(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def spoil(token):
    """The same token with one bit of its signature changed."""
    text, signature = token.rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[20] ^= 1
    return f"{text}.{base64url(bytes(raw))}"


def load(path):
    return serialization.load_pem_private_key(path.read_bytes(), None)


def sign_some(job):
    """The tokens of a range of numbers; runs in a process of its own."""
    path, numbers = job
    key = load(path)
    return [sign(key, claims(number)) for number in numbers]


class Keys:
    """One folder with the key files and the token files."""

    def __init__(self, folder):
        self.folder = folder
        self.private, self.public, self.jwks = folder / "rsa.pem", folder / "rsa.pub.pem", folder / "jwks.json"
        if not self.jwks.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._make()
        self.rsa = load(self.private)

    def _make(self):
        key = rsa.generate_private_key(65537, 2048)
        self.private.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.private.chmod(0o600)
        self.public.write_bytes(key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        modulus = base64url(key.public_key().public_numbers().n.to_bytes(256, "big"))
        self.jwks.write_text(json.dumps({"keys": [
            {"kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256", "n": modulus, "e": "AQAB"}]}))

    def tokens(self, count, bad=False):
        """A file of `count` distinct tokens, one a line; `bad`: each with a wrong signature."""
        path = self.folder / f"{'bad' if bad else 'good'}-{count}.txt"
        if not path.exists():
            if count > 10_000:
                print(f"signing {count} tokens once; they are kept in {self.folder}", flush=True)
            step = 500
            jobs = [(self.private, range(start, min(start + step, count))) for start in range(0, count, step)]
            with multiprocessing.Pool(min(len(jobs), multiprocessing.cpu_count())) as pool:
                tokens = [token for part in pool.imap(sign_some, jobs) for token in part]
            whole = path.with_suffix(".part")
            whole.write_text("".join(f"{spoil(token) if bad else token}\n" for token in tokens))
            whole.rename(path)
        return path

    def first(self):
        """The one token of the workloads with a single token."""
        return self.tokens(1).read_text().strip()
