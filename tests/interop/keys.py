"""Keys of every kind, made anew in each run."""

import secrets

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

MAKERS = {
    "rsa": lambda: rsa.generate_private_key(65_537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
# The algorithms that sidegate knows, and the kind of key that each takes.
KIND = {
    "RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
    "ES256": "p256", "ES384": "p384", "EdDSA": "ed25519", "Ed25519": "ed25519",
    "HS256": "secret", "HS384": "secret", "HS512": "secret", "ES512": "p521",
}


class Keys:
    """One key of each kind."""

    def __init__(self):
        self.private = {name: make() for name, make in MAKERS.items()}
        self.secret = secrets.token_hex(32).encode()

    def signing_pem(self, name):
        form = PrivateFormat.PKCS8
        return self.private[name].private_bytes(Encoding.PEM, form, NoEncryption()).decode()

    def public_pem(self, name):
        form = PublicFormat.SubjectPublicKeyInfo
        return self.private[name].public_key().public_bytes(Encoding.PEM, form).decode()
