"""Opaque tokens of a certified OpenID provider, by introspection (RFC 7662): active, revoked, garbage, and nobody to ask."""

import base64
import time

from children import until
from gate import Gate
from provider import API, SECRET, Provider, by_itself, signing_keys

CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{service}"

[authenticators.opaque]
kind = "introspection"
url = "{issuer}/token/introspection"
client_id = "{client_id}"
client_secret_env = "INTROSPECTION_SECRET"
client_auth = "{method}"
audience = "https://opaque.test"
ttl = "{ttl}"
claims.subject = "client_id"
claims.customer_id = "customer_id"

[identity.headers]
x-customer-id = "customer_id"
x-user-id = "subject"
x-user-roles = "roles"
x-user-scopes = "scopes"

[[routes]]
path = "/items/**"
require.scopes = ["api:write"]
"""
BESIDE_JWT = """
[authenticators.provider]
kind = "jwt"
issuer = "{issuer}"
audience = "https://api.test"
claims.customer_id = "customer_id"
"""
OPAQUE = "https://opaque.test"


def verdict(gate, response):
    return response.status, gate.reason(response)


class Setting:
    """Starts gates in front of one provider."""

    def __init__(self, world, provider):
        self.world, self.provider = world, provider

    def gate(self, client_id, method, secret=SECRET, ttl="1s", more=""):
        text = (CONFIGURATION + more).format(service=self.world.service.port, issuer=self.provider.issuer,
                                             client_id=client_id, method=method, ttl=ttl)
        return Gate(self.world.gate, self.world.folder, text, environment={"INTROSPECTION_SECRET": secret})


def run(report, world):
    if not world.node:
        return report.skip("no introspection: the peers on Node are not installed")
    with Provider(world.node, signing_keys("first")) as provider:
        setting = Setting(world, provider)
        for client_id, method in (("gate:basic", "basic"), ("gate&post", "post")):
            with setting.gate(client_id, method) as gate:
                active(report, world, provider, gate, method)
                revoked(report, world, provider, gate, method)
        with setting.gate("gate:basic", "basic", secret="not the secret at all, but long") as gate:
            response = gate.client().get("/whoami", provider.token(OPAQUE))
            report.check("the provider does not know our secret: 503, never 401", verdict(gate, response),
                         (503, "authority_unavailable"))
        with setting.gate("gate:basic", "basic", more=BESIDE_JWT) as gate:
            beside(report, world, provider, gate)
        with setting.gate("gate:basic", "basic", ttl="60s") as gate:
            absence(report, world, provider, gate)


def active(report, world, provider, gate, method):
    client, token = gate.client(), provider.token(OPAQUE)
    report.check(f"{method}: the provider's token is opaque", token.count("."), 0)
    response = client.get("/whoami", token)
    report.check(f"{method}: an active token passes", verdict(gate, response), (200, "allowed"))
    seen = world.service.saw(response)
    told = {name: seen and seen.all(name) for name in ("x-customer-id", "x-user-id", "x-user-roles", "x-user-scopes")}
    report.check(f"{method}: the service is told what the provider said", told, {
        "x-customer-id": ["customer of robot"], "x-user-id": ["robot"],
        "x-user-roles": ["editor,viewer"], "x-user-scopes": ["api:read"]})
    response = client.send("PUT", "/items/7", [("authorization", f"Bearer {token}")])
    report.check(f"{method}: a scope that the token lacks is 403", (*verdict(gate, response), world.service.saw(response)),
                 (403, "scope_missing", None))
    for name, bad, reason in [
        ("garbage", "garbage-that-nobody-issued", "token_inactive"),
        ("the token and one letter", f"{token}x", "token_inactive"),
        ("a token for another resource", provider.token("https://opaque.test/other"), "token_audience"),
    ]:
        response = client.get("/whoami", bad)
        report.check(f"{method}: {name} is refused",
                     (*verdict(gate, response), response.error(), world.service.saw(response)),
                     (401, reason, "invalid_token", None))
    report.check(f"{method}: none is 401 without an error code",
                 (*verdict(gate, response := client.get("/whoami")), response.error()), (401, "credential_missing", None))


def revoked(report, world, provider, gate, method):
    """A revoked token passes as long as the last answer is believed, and no longer."""
    client, token = gate.client(), provider.token(OPAQUE)
    report.check(f"{method}: before it is revoked", client.get("/whoami", token).status, 200)
    report.check(f"{method}: the provider revokes it", provider.revoke(token), 200)
    began, answers = time.monotonic(), []

    def refused():
        answers.append(client.get("/whoami", token))
        return answers[-1].status != 200
    until(refused, 10)
    report.check(f"{method}: refused soon after its ttl of 1 s",
                 (*verdict(gate, answers[-1]), time.monotonic() - began < 3, world.service.saw(answers[-1])),
                 (401, "token_inactive", True, None))
    unseen = provider.token(OPAQUE)
    provider.revoke(unseen)
    report.check(f"{method}: one that was revoked before it was seen", verdict(gate, client.get("/whoami", unseen)),
                 (401, "token_inactive"))


def beside(report, world, provider, gate):
    """Both forms of token at one header: their shape decides who judges them."""
    client = gate.client()
    for name, token, expected in [
        ("its JWT goes to its keys", provider.token(API), (200, "allowed")),
        ("its opaque token to introspection", provider.token(OPAQUE), (200, "allowed")),
        ("its JWT for another resource", provider.token("https://other.test"), (401, "token_audience")),
        ("garbage to introspection", "garbage-that-nobody-issued", (401, "token_inactive")),
    ]:
        report.check(f"beside JWTs: {name}", verdict(gate, client.get("/whoami", token)), expected)
    # This provider answers 400 `unsupported_token_type` to whatever has the form of a JWT.
    foreign = by_itself(provider.keys, typ="at+jwt", iss="https://nobody.test")
    report.check("beside JWTs: a JWT of an issuer that nobody knows is bad, and no outage",
                 verdict(gate, client.get("/whoami", foreign)), (401, "token_inactive"))
    report.check("beside JWTs: and does no harm to the next token",
                 verdict(gate, client.get("/whoami", provider.token(OPAQUE))), (200, "allowed"))


def absence(report, world, provider, gate):
    client, used, unused = gate.client(), provider.token(OPAQUE), provider.token(OPAQUE)
    client.get("/whoami", used)
    provider.end()
    report.check("the provider is away: an answer that is believed still passes", client.get("/whoami", used).status, 200)
    for name, token in (("a token that was not asked about", unused), ("garbage", base64.b64encode(b"garbage" * 3).decode())):
        response = client.get("/whoami", token)
        report.check(f"{name} is 503 with Retry-After",
                     (*verdict(gate, response), bool(response.header("retry-after")), world.service.saw(response)),
                     (503, "authority_unavailable", True, None))
    provider.start()
    # Its memory is new: it knows none of its tokens, which is an answer.
    back = until(lambda: client.get("/whoami", unused).status == 401, 20)
    report.check("the provider is back: then it is 401", back, True)
    report.check("and a new token passes", client.get("/whoami", provider.token(OPAQUE)).status, 200)
