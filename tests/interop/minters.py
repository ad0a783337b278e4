"""Tokens and key sets by three libraries: each signs as it does, and publishes its keys as it does."""

import base64
import json
import subprocess

import jose.jwk
import jose.jws
import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from keys import KIND

RSA_AND_EC = ["RS256", "RS384", "RS512", "ES256", "ES384"]
PSS = ["PS256", "PS384", "PS512"]
MACS = ["HS256", "HS384", "HS512"]


class PyJwt:
    name = "PyJWT"
    algorithms = [*RSA_AND_EC, *PSS, "EdDSA", *MACS]

    def __init__(self, keys):
        self.keys = keys

    def kid(self, algorithm):
        return KIND[algorithm]

    def key_set(self):
        writers = {"rsa": RSAAlgorithm, "p256": ECAlgorithm, "p384": ECAlgorithm, "ed25519": OKPAlgorithm}
        keys = [{**writer.to_jwk(self.keys.private[name].public_key(), as_dict=True), "kid": name, "use": "sig"}
                for name, writer in writers.items()]
        return {"keys": keys}

    def mint(self, algorithm, keys, header, claims):
        kind = KIND[algorithm]
        key = keys.secret if kind == "secret" else keys.private[kind]
        return jwt.encode(claims, key, algorithm, headers=header)


class PythonJose:
    name = "python-jose"
    algorithms = [*RSA_AND_EC, *MACS]

    def __init__(self, keys):
        self.keys = keys

    def kid(self, algorithm):
        """Its JWKs are bound to one algorithm each, so each has an id of its own."""
        return algorithm

    def key_set(self):
        keys = [{**jose.jwk.construct(self.keys.public_pem(KIND[one]), one).to_dict(), "kid": one, "use": "sig"}
                for one in RSA_AND_EC]
        return {"keys": keys}

    def mint(self, algorithm, keys, header, claims):
        kind = KIND[algorithm]
        key = keys.secret if kind == "secret" else keys.signing_pem(kind)
        return jose.jws.sign(claims, key, headers=header, algorithm=algorithm)


class NodeJose:
    """npm jose: what is to be signed is collected, and signed by one process."""

    name = "jose"
    algorithms = [*RSA_AND_EC, *PSS, "EdDSA", "Ed25519", *MACS]

    def __init__(self, folder, keys):
        self.folder, self.keys, self.jobs, self.named = folder, keys, [], {}

    def kid(self, algorithm):
        return KIND[algorithm]

    def pair(self, keys, name):
        """A name under which the process finds that key."""
        own = name if keys is self.keys else f"{name}-{id(keys)}"
        if name == "secret":
            self.named[own] = {"secret": base64.b64encode(keys.secret).decode()}
        else:
            self.named[own] = {"private": keys.signing_pem(name)}
        return own

    def mint(self, algorithm, keys, header, claims, **odd):
        key = self.pair(keys, KIND[algorithm])
        return self.later({"alg": algorithm, "key": key, "header": header, "claims": claims, **odd})

    def mint_with_secret(self, algorithm, secret, header, claims):
        key = f"odd-{len(self.jobs)}"
        self.named[key] = {"secret": base64.b64encode(secret).decode()}
        return self.later({"alg": algorithm, "key": key, "header": header, "claims": claims})

    def later(self, job):
        """The number of a token that is there once all are signed."""
        self.jobs.append(job)
        return len(self.jobs) - 1

    def sign(self):
        """Signs everything; returns the tokens by number, and the key set."""
        for name, algorithm in {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "ed25519": "EdDSA"}.items():
            self.named.setdefault(name, {}).update(published=True, alg=algorithm, public=self.keys.public_pem(name))
        work = json.dumps({"keys": self.named, "jobs": self.jobs})
        done = subprocess.run(["node", self.folder / "jose.mjs"], input=work, text=True, capture_output=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"jose.mjs: {done.stderr}")
        made = json.loads(done.stdout)
        return made["tokens"], made["jwks"]
