"""A certified OpenID provider: discovery, access tokens by RFC 9068, keys that change, and what happens while it is away."""

import time

import jwt
from children import until
from gate import Gate
from provider import API, Provider, by_itself, signing_keys

CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{service}"

[authenticators.provider]
kind = "jwt"
issuer = "{issuer}"
audience = ["https://api.test", "https://api.test/ps256", "https://api.test/es256", "https://api.test/eddsa"]
type = ["at+jwt"]
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


def run(report, world):
    if not world.node:
        return report.skip("no OpenID provider: the peers on Node are not installed")
    first = signing_keys("first")
    with Provider(world.node, first) as provider:
        configuration = CONFIGURATION.format(service=world.service.port, issuer=provider.issuer)
        with Gate(world.gate, world.folder, configuration) as gate:
            tokens(report, world, provider, gate)
            rotation(report, provider, gate, first)
            absence(report, world, provider, gate)
        start_without(report, world, provider, configuration)


def verdict(gate, response):
    return response.status, gate.reason(response)


def tokens(report, world, provider, gate):
    client = gate.client()
    for name, resource in [("RS256", API), ("PS256", f"{API}/ps256"), ("ES256", f"{API}/es256"), ("Ed25519", f"{API}/eddsa")]:
        token = provider.token(resource)
        header = jwt.get_unverified_header(token)
        report.check(f"the provider's token is an at+jwt by {name}", (header["typ"], header["alg"]), ("at+jwt", name))
        response = client.get("/whoami", token)
        report.check(f"{name}: it passes by discovery", verdict(gate, response), (200, "allowed"))
    seen = world.service.saw(response)
    told = {name: seen.all(name) for name in ("x-customer-id", "x-user-id", "x-user-roles", "x-user-scopes")}
    report.check("the service is told its claims", told, {
        "x-customer-id": ["customer of robot"], "x-user-id": ["robot"],
        "x-user-roles": ["editor,viewer"], "x-user-scopes": ["api:read"]})

    response = client.send("PUT", "/items/7", [("authorization", f"Bearer {provider.token(API)}")])
    challenge = response.header("www-authenticate") or ""
    report.check("a scope that the token lacks is 403, and named",
                 (*verdict(gate, response), response.error(), 'scope="api:write"' in challenge, world.service.saw(response)),
                 (403, "scope_missing", "insufficient_scope", True, None))
    writer = provider.token(API, "api:read api:write")
    response = client.send("PUT", "/items/7", [("authorization", f"Bearer {writer}")])
    report.check("a token with that scope passes", (response.status, response.json()), (200, {"number": 7}))

    for name, token, reason in [
        ("a token for another resource", provider.token("https://other.test"), "token_audience"),
        ("typ JWT by the same keys, as an ID token has", by_itself(provider.keys, typ="JWT", iss=provider.issuer), "token_malformed"),
        ("no typ", by_itself(provider.keys, typ=None, iss=provider.issuer), "token_malformed"),
        ("the issuer with a final slash", by_itself(provider.keys, typ="at+jwt", iss=f"{provider.issuer}/"), "token_issuer"),
        ("an opaque token", provider.token("https://opaque.test"), "token_malformed"),
    ]:
        response = client.get("/whoami", token)
        report.check(f"{name} is refused", (*verdict(gate, response), world.service.saw(response)), (401, reason, None))
    response = client.get("/whoami", by_itself(provider.keys, typ="application/AT+JWT", iss=provider.issuer))
    report.check("application/AT+JWT is the same as at+jwt", verdict(gate, response), (200, "allowed"))


def rotation(report, provider, gate, first):
    """New keys are signed with while the old ones are still published; then the old ones go."""
    client, old = gate.client(), provider.token(API)
    report.check("before the keys change", client.get("/whoami", old).status, 200)
    second = signing_keys("second")
    provider.use([*second, *first])
    new = provider.token(API)
    report.check("the provider signs with its new key", jwt.get_unverified_header(new)["kid"], "second-rsa")
    began = time.monotonic()
    response = client.get("/whoami", new)
    report.check("a token of the new key passes at once, within 2 s",
                 (*verdict(gate, response), time.monotonic() - began < 2), (200, "allowed", True))
    report.check("one of the old key passes still", verdict(gate, client.get("/whoami", old)), (200, "allowed"))

    third = signing_keys("third")
    provider.use(third)
    began = time.monotonic()
    response = client.get("/whoami", provider.token(API))
    report.check("a token of the third key passes, within 3 s",
                 (*verdict(gate, response), time.monotonic() - began < 3), (200, "allowed", True))
    for name, token in (("first", old), ("second", new)):
        response = client.get("/whoami", token)
        report.check(f"a token of the {name} key, which is gone, is refused", verdict(gate, response), (401, "token_key_unknown"))


def absence(report, world, provider, gate):
    """Keys that are known go on serving; what only the provider could say is 503."""
    client = gate.client()
    used, unused = provider.token(API), provider.token(API, "api:read api:write")
    client.get("/whoami", used)
    provider.end()
    report.check("the provider is away: a token that was seen passes", client.get("/whoami", used).status, 200)
    response = client.get("/whoami", unused)
    report.check("so does one that was not, of a known key", verdict(gate, response), (200, "allowed"))
    unknown = by_itself(signing_keys("unknown"), typ="at+jwt", iss=provider.issuer)
    response = client.get("/whoami", unknown)
    report.check("an unknown key is 503 with Retry-After, for nobody can say",
                 (*verdict(gate, response), bool(response.header("retry-after")), world.service.saw(response)),
                 (503, "authority_unavailable", True, None))
    provider.start()
    back = until(lambda: client.get("/whoami", unknown).status == 401, 20)
    report.check("the provider is back: then it is 401", back, True)


def start_without(report, world, provider, configuration):
    """A gate that starts before its provider: not ready, 503, and well by itself later."""
    token = provider.token(API)
    provider.end()
    with Gate(world.gate, world.folder, configuration, ready=False) as gate:
        client, probe = gate.client(), gate.probe()
        report.check("started without the provider: not ready", probe.get("/readyz").status, 503)
        report.check("and 503 for each token", verdict(gate, client.get("/whoami", token)), (503, "authority_unavailable"))
        report.check("and still 401 for none", verdict(gate, client.get("/whoami")), (401, "credential_missing"))
        provider.start()
        report.check("ready by itself once the provider is there", until(lambda: probe.get("/readyz").status == 200, 40), True)
        report.check("then the token passes", verdict(gate, client.get("/whoami", token)), (200, "allowed"))
