"""Tokens by three libraries: each good one passes, whatever is wrong with one has it refused."""

import base64
import hashlib
import hmac
import json
import socket
import time
from itertools import count

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gate import Gate
from keys import KIND, Keys
from minters import MACS, PSS, RSA_AND_EC, NodeJose, PyJwt, PythonJose

AUDIENCE = "https://api.test"
PUBLIC = [*RSA_AND_EC, *PSS, "EdDSA", "Ed25519"]
NUMBERS = count(1)

UPSTREAM = """
[upstreams.app]
url = "http://127.0.0.1:{port}"
[identity.headers]
x-customer-id = "customer_id"
[log]
level = "info"
"""
ASYMMETRIC = """
[authenticators.{name}]
kind = "jwt"
issuer = "{issuer}"
audience = "https://api.test"
jwks_file = "{name}.json"
claims.customer_id = "customer_id"
"""
MAC = """
[authenticators.mac]
kind = "jwt"
issuer = "https://mac.test"
audience = "https://api.test"
secret_file = "secret"
algorithms = ["HS256", "HS384", "HS512"]
claims.customer_id = "customer_id"
"""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def flipped(token):
    """The token with one bit of its signature the other way."""
    front, _, signature = token.rpartition(".")
    raw = unb64(signature)
    return f"{front}.{b64(bytes([raw[0] ^ 1]) + raw[1:])}"


def asymmetric_issuer(minter):
    return f"https://{minter.name.lower()}.test"


def issuer(minter, algorithm):
    return "https://mac.test" if algorithm in MACS else asymmetric_issuer(minter)


def claims(issuer, **other):
    """Claims that are all right; a claim that is given as None is left out."""
    now = int(time.time())
    whole = {"iss": issuer, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 600,
             "customer_id": f"customer-{next(NUMBERS)}", **other}
    return {name: value for name, value in whole.items() if value is not None}


class Case:
    """A token, and what must become of it: the header that the service gets, or the reason that it is refused for."""

    def __init__(self, name, token, customer=None, reason=None):
        self.name, self.token, self.customer, self.reason = name, token, customer, reason

    def expected(self):
        if self.customer:
            return 200, "allowed", [self.customer]
        return 401, self.reason, "invalid_token", "not forwarded"


def good(minter, algorithm, keys):
    """A good token of one algorithm, with a list as its audience as well."""
    for shape, audience in (("", AUDIENCE), (", a list of audiences", ["https://other.test", AUDIENCE])):
        whole = claims(issuer(minter, algorithm), aud=audience)
        token = minter.mint(algorithm, keys, {"kid": minter.kid(algorithm)}, whole)
        yield Case(f"{minter.name} {algorithm}: good{shape}", token, customer=whole["customer_id"])


def bad_signatures(minter, algorithm, keys, others):
    header, whole = {"kid": minter.kid(algorithm)}, claims(issuer(minter, algorithm))
    yield Case(f"{minter.name} {algorithm}: another key under the same kid",
               minter.mint(algorithm, others, header, whole), reason="token_signature")
    # The bit is flipped when the token is there.
    yield Case(f"{minter.name} {algorithm}: a bit of the signature flipped",
               minter.mint(algorithm, keys, header, claims(issuer(minter, algorithm))), reason="token_signature")


def bad_claims(minter, algorithm, keys):
    now, ours = int(time.time()), issuer(minter, algorithm)
    for name, other, reason in [
        ("expired", {"iat": now - 700, "exp": now - 60}, "token_expired"),
        ("no exp", {"exp": None}, "token_claim"),
        ("nbf ahead", {"nbf": now + 120}, "token_not_yet_valid"),
        ("iat ahead", {"iat": now + 120}, "token_not_yet_valid"),
        ("another audience", {"aud": "https://other.test"}, "token_audience"),
        ("other audiences", {"aud": ["https://other.test", "https://api.test/"]}, "token_audience"),
        ("no audience", {"aud": None}, "token_claim"),
        ("another issuer", {"iss": "https://other.test"}, "token_issuer"),
        ("our issuer with a final slash", {"iss": f"{ours}/"}, "token_issuer"),
        ("no customer", {"customer_id": None}, "token_claim"),
        ("a customer with a line end", {"customer_id": "a\r\nx-admin: 1"}, "token_claim"),
    ]:
        token = minter.mint(algorithm, keys, {"kid": minter.kid(algorithm)}, claims(ours, **other))
        yield Case(f"{minter.name} {algorithm}: {name}", token, reason=reason)


def odd_heads(minter, keys, others, bait):
    """Heads that name a key of the sender's own, which must not even be looked up, and an algorithm that is not ours."""
    ours, kid = asymmetric_issuer(minter), minter.kid("RS256")
    own = jwt.algorithms.RSAAlgorithm.to_jwk(others.private["rsa"].public_key(), as_dict=True)
    for name, header, reason in [
        ("jwk in the head, our kid", {"kid": kid, "jwk": own}, "token_signature"),
        ("jwk in the head, a kid of its own", {"kid": "mine", "jwk": {**own, "kid": "mine"}}, "token_key_unknown"),
        ("jku in the head", {"kid": "mine", "jku": f"{bait}/jwks.json"}, "token_key_unknown"),
        ("x5u in the head", {"kid": kid, "x5u": f"{bait}/chain.pem"}, "token_signature"),
    ]:
        yield Case(f"{minter.name}: {name}", minter.mint("RS256", others, header, claims(ours)), reason=reason)
    es512 = minter.mint("ES512", keys, {"kid": minter.kid("ES256")}, claims(ours))
    yield Case(f"{minter.name}: ES512, which is not supported", es512, reason="token_algorithm")


def by_hand(minter, keys):
    """What these libraries will not make."""
    ours, kid = asymmetric_issuer(minter), minter.kid("RS256")
    public = keys.private["rsa"].public_key()
    for name, secret in [
        ("PEM", keys.public_pem("rsa").encode()),
        ("PEM without its last newline", keys.public_pem("rsa").strip().encode()),
        ("DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        ("PKCS #1 PEM", public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)),
    ]:
        text = joined({"alg": "HS256", "typ": "JWT", "kid": kid}, claims(ours))
        mac = hmac.digest(secret, text.encode(), hashlib.sha256)
        yield Case(f"HS256 with our public key as the secret, {name}", f"{text}.{b64(mac)}", reason="token_algorithm")
    text = joined({"alg": "ES256", "typ": "JWT", "kid": minter.kid("ES256")}, claims(ours))
    der = keys.private["p256"].sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    yield Case("ES256 with a DER signature", f"{text}.{b64(der)}", reason="token_signature")
    for algorithm in ("none", "None", "nOnE"):
        text = joined({"alg": algorithm, "typ": "JWT", "kid": kid}, claims(ours))
        yield Case(f"alg {algorithm} with a signature", f"{text}.{b64(b'x' * 32)}", reason="token_algorithm")
        yield Case(f"alg {algorithm} without", f"{text}.", reason="token_algorithm")


def joined(header, payload):
    return ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))


def only_node(minter, keys):
    """What only npm jose makes: unsecured tokens, and critical headers."""
    ours, kid = asymmetric_issuer(minter), minter.kid("RS256")
    yield Case("jose: UnsecuredJWT", minter.mint("RS256", keys, {}, claims(ours), unsecured=True), reason="token_algorithm")
    for name, value in (("urn:example:x", 1), ("b64", True)):
        header = {"kid": kid, "crit": [name], name: value}
        token = minter.mint("RS256", keys, header, claims(ours), extension=name)
        yield Case(f"jose: crit {name}", token, reason="token_malformed")
    for name, secret in (("PEM", keys.public_pem("rsa")), ("PEM without its last newline", keys.public_pem("rsa").strip())):
        token = minter.mint_with_secret("HS256", secret.encode(), {"kid": kid}, claims(ours))
        yield Case(f"jose: HS256 with our public key as the secret, {name}", token, reason="token_algorithm")


def only_pyjwt(minter, keys):
    ours, kid = asymmetric_issuer(minter), minter.kid("RS256")
    unsecured = jwt.encode(claims(ours), None, "none")
    yield Case("PyJWT: alg none", unsecured, reason="token_algorithm")
    foreign = minter.mint("RS256", keys, {"kid": minter.kid("ES256")}, claims(ours))
    yield Case("PyJWT: RS256 under the kid of an EC key", foreign, reason="token_algorithm")
    mixed = minter.mint("HS256", keys, {"kid": kid}, claims(ours))
    yield Case("PyJWT: a shared secret's token for an issuer with public keys", mixed, reason="token_algorithm")
    signed = minter.mint("RS256", keys, {"kid": kid}, claims("https://mac.test"))
    yield Case("PyJWT: a public key's token for the issuer with a shared secret", signed, reason="token_algorithm")


def cases(minters, keys, others, bait):
    for minter in minters:
        for algorithm in minter.algorithms:
            yield from good(minter, algorithm, keys)
            yield from bad_signatures(minter, algorithm, keys, others)
        for algorithm in ("RS256", "ES256", "HS256"):
            yield from bad_claims(minter, algorithm, keys)
        yield from odd_heads(minter, keys, others, bait)
        yield from {NodeJose: only_node, PyJwt: only_pyjwt}.get(type(minter), lambda *_: ())(minter, keys)
    yield from by_hand(minters[0], keys)


def outcome(gate, service, response):
    """What became of a request, as a case expects it."""
    seen = service.saw(response)
    if response.status == 200:
        return 200, gate.reason(response), seen and seen.all("x-customer-id")
    return response.status, gate.reason(response), response.error(), seen and "forwarded" or "not forwarded"


def run(report, world):
    keys, others = Keys(), Keys()
    minters = [PyJwt(keys), PythonJose(keys)]
    if world.node:
        minters.append(NodeJose(world.node, keys))
    else:
        report.skip("no tokens by npm jose: the peers on Node are not installed")
    with socket.create_server(("127.0.0.1", 0)) as trap:
        bait = f"http://127.0.0.1:{trap.getsockname()[1]}"
        table = list(cases(minters, keys, others, bait))
        publish(world, minters, table)
        configuration = UPSTREAM.format(port=world.service.port) + MAC + "".join(
            ASYMMETRIC.format(name=minter.name.lower(), issuer=asymmetric_issuer(minter)) for minter in minters)
        (world.folder / "secret").write_bytes(keys.secret)
        with Gate(world.gate, world.folder, configuration) as gate:
            client = gate.client()
            # All are sent before the log is read: it is written a few times a second.
            answers = [(case, client.get("/whoami", case.token)) for case in table]
            for case, response in answers:
                report.check(case.name, outcome(gate, world.service, response), case.expected())
            again = [client.get("/whoami", case.token).status for case, _ in answers]
            report.check("each gets the same answer again", again, [response.status for _, response in answers])
        trap.setblocking(False)
        report.check("nobody asked for the keys that a head names", knocked(trap), False)


def knocked(trap):
    try:
        trap.accept()
    except BlockingIOError:
        return False
    return True


def publish(world, minters, table):
    """Writes the key sets, and puts the tokens of npm jose where their numbers stand."""
    for minter in minters:
        if isinstance(minter, NodeJose):
            tokens, key_set = minter.sign()
            for case in table:
                if isinstance(case.token, int):
                    case.token = tokens[case.token]
        else:
            key_set = minter.key_set()
        (world.folder / f"{minter.name.lower()}.json").write_text(json.dumps(key_set))
    for case in table:
        if "flipped" in case.name:
            case.token = flipped(case.token)
