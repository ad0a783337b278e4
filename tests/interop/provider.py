"""npm oidc-provider as a child process: its keys, its clients, and what it is asked for."""

import base64
import json
import time
from urllib.parse import quote_plus, urlencode

import jwt
from children import Child, free_port
from client import Client
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

API = "https://api.test"
# Everything that a form encodes stands in here (RFC 6749 §2.3.1).
SECRET = "s3cret +/%&=:;?#\"~ that is long enough"
CLIENTS = [
    {"client_id": "robot", "client_secret": "a secret of the robot's own", "token_endpoint_auth_method": "client_secret_basic"},
    {"client_id": "gate:basic", "client_secret": SECRET, "token_endpoint_auth_method": "client_secret_basic"},
    {"client_id": "gate&post", "client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post"},
]


def signing_keys(name):
    """Private JWKs of three kinds; their ids begin with that name."""
    made = [("rsa", RSAAlgorithm, rsa.generate_private_key(65_537, 2048)),
            ("ec", ECAlgorithm, ec.generate_private_key(ec.SECP256R1())),
            ("ed", OKPAlgorithm, ed25519.Ed25519PrivateKey.generate())]
    keys = []
    for kind, writer, key in made:
        written = writer.to_jwk(key, as_dict=True)
        written.pop("key_ops", None)
        keys.append({**written, "kid": f"{name}-{kind}", "use": "sig"})
    return keys


def by_itself(keys, *, typ, **claims):
    """A token with the provider's own key that the provider would not give as an access token."""
    now, key = int(time.time()), keys[0]
    whole = {"aud": API, "sub": "robot", "iat": now, "exp": now + 600, "customer_id": "mallory", **claims}
    return jwt.encode(whole, jwt.PyJWK(key, "RS256").key, "RS256", headers={"kid": key["kid"], "typ": typ})


class Provider:
    """The provider; it may be ended and started again at the same address."""

    def __init__(self, folder, keys):
        self.folder, self.keys, self.port = folder, keys, free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.child = None

    def start(self):
        self.child = Child("node", self.folder / "provider.mjs", self.port)
        self.use(self.keys)

    def use(self, keys):
        """Signs with the first of these from now on, and publishes them all."""
        self.keys, before = keys, self.child.lines.count("ready\n")
        self.child.tell(json.dumps({"keys": keys, "clients": CLIENTS}))
        self.child.said(lambda _: self.child.lines.count("ready\n") > before)

    def end(self):
        if self.child:
            self.child.end()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def post(self, path, form):
        """A form from the robot, which shows who it is by HTTP Basic."""
        robot = CLIENTS[0]
        pair = f"{quote_plus(robot['client_id'])}:{quote_plus(robot['client_secret'])}"
        fields = [("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),
                  ("content-type", "application/x-www-form-urlencoded")]
        return Client(self.port).send("POST", path, fields, urlencode(form).encode())

    def token(self, resource, scope="api:read"):
        answer = self.post("/token", {"grant_type": "client_credentials", "resource": resource, "scope": scope})
        if answer.status != 200:
            raise RuntimeError(f"the provider gives no token: {answer.status} {answer.body}")
        return answer.json()["access_token"]

    def revoke(self, token):
        return self.post("/token/revocation", {"token": token}).status
