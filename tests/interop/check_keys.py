"""API keys beside the tokens of PyJWT, before FastAPI: entries made by hashlib, a file that is replaced under the gate."""

import hashlib
import os
import secrets
import time

import jwt
from children import until
from gate import Gate

SECRET = "a secret of this run alone, longer than thirty-two bytes"
CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{service}"

[authenticators.app]
kind = "jwt"
issuer = "https://issuer.test"
secret_env = "APP_SECRET"
claims.customer_id = "customer_id"

[authenticators.keys]
kind = "api_key"
file = "api-keys.toml"
credentials = [{{ header = "x-api-key" }}, {{ header = "authorization", scheme = "Bearer", prefix = "sb_" }}]
strip_credential = true

[identity.headers]
x-customer-id = "customer_id"
x-user-roles = "roles"
x-auth-method = "auth_method"
"""
ENTRY = """
[[keys]]
id = "{name}"
sha256 = "{digest}"
customer_id = "customer of {name}"
roles = ["editor", "viewer"]
{more}
"""
# Each key, and what its entry says besides.
KEYS = {"plain": "", "expired": "expires = 2020-01-01T00:00:00Z", "lasting": "expires = 2090-01-01T00:00:00Z",
        "elsewhere": 'allowed_ips = ["192.0.2.0/24"]', "here": 'allowed_ips = ["127.0.0.0/8", "192.0.2.1"]'}


def write(world, keys, names):
    """Replaces the file in one step, as a deployment does."""
    text = "".join(ENTRY.format(name=name, digest=hashlib.sha256(keys[name].encode()).hexdigest(), more=KEYS[name])
                   for name in names)
    fresh = world.folder / "fresh.toml"
    fresh.write_text(text)
    os.replace(fresh, world.folder / "api-keys.toml")


def run(report, world):
    keys = {name: f"sb_{secrets.token_urlsafe(32)}" for name in KEYS}
    write(world, keys, KEYS)
    configuration = CONFIGURATION.format(service=world.service.port)
    with Gate(world.gate, world.folder, configuration, environment={"APP_SECRET": SECRET}) as gate:
        passing(report, world, gate, keys)
        refused(report, world, gate, keys)
        replaced(report, world, gate, keys)


def outcome(world, gate, response):
    """Status, reason, and whom the service was told of."""
    seen = world.service.saw(response)
    told = seen and [value for name in ("x-customer-id", "x-user-roles", "x-auth-method") for value in seen.all(name)]
    return response.status, gate.reason(response), told


def passing(report, world, gate, keys):
    client = gate.client()
    for name in ("plain", "lasting", "here"):
        expected = (200, "allowed", [f"customer of {name}", "editor,viewer", "api_key"])
        response = client.get("/whoami", None, [("x-api-key", keys[name])])
        report.check(f"{name}: the key in x-api-key", outcome(world, gate, response), expected)
        spoken = [field for field in world.service.saw(response).fields if keys[name] in field[1]]
        response = client.get("/whoami", keys[name])
        report.check(f"{name}: the key as a bearer, by its prefix", outcome(world, gate, response), expected)
        spoken += [field for field in world.service.saw(response).fields if keys[name] in field[1]]
        report.check(f"{name}: the service does not see the key", spoken, [])
    token = jwt.encode({"iss": "https://issuer.test", "sub": "user-1", "exp": int(time.time()) + 600,
                        "customer_id": "customer-1", "roles": ["admin"]}, SECRET, "HS256")
    report.check("a token at the same header goes to its own authenticator",
                 outcome(world, gate, client.get("/whoami", token)), (200, "allowed", ["customer-1", "admin", "jwt"]))


def refused(report, world, gate, keys):
    client = gate.client()
    for name, key, reason in [
        ("a key that nobody has", f"sb_{secrets.token_urlsafe(32)}", "api_key_unknown"),
        ("a key and one letter", f"{keys['plain']}x", "api_key_unknown"),
        ("a key in capitals", keys["plain"].upper(), "api_key_unknown"),
        ("the digest instead of the key", hashlib.sha256(keys["plain"].encode()).hexdigest(), "api_key_unknown"),
        ("an expired key", keys["expired"], "api_key_expired"),
        ("a key of another network", keys["elsewhere"], "api_key_address"),
    ]:
        response = client.get("/whoami", None, [("x-api-key", key)])
        report.check(f"{name} is refused", outcome(world, gate, response), (401, reason, None))
    forged = [("x-api-key", keys["elsewhere"]), ("x-forwarded-for", "192.0.2.7"), ("x-real-ip", "192.0.2.7")]
    report.check("so is one whose sender says to be there", outcome(world, gate, client.get("/whoami", None, forged)),
                 (401, "api_key_address", None))
    twice = [("x-api-key", keys["plain"]), ("x-api-key", keys["lasting"])]
    report.check("two keys are one too many", outcome(world, gate, client.get("/whoami", None, twice)),
                 (400, "credential_repeated", None))


def replaced(report, world, gate, keys):
    client = gate.client()
    get = lambda name: client.get("/whoami", None, [("x-api-key", keys[name])])
    write(world, keys, ["lasting"])
    report.check("a key that is no more in the file is refused, soon",
                 until(lambda: get("plain").status == 401, 5), True)
    report.check("one that still is passes", get("lasting").status, 200)
    (world.folder / "api-keys.toml").write_text("[[keys]]\nid = ")
    said = gate.said(lambda line: "api-keys.toml" in line)
    report.check("a file that is broken changes nothing", (bool(said), get("lasting").status, get("plain").status), (True, 200, 401))
    write(world, keys, ["plain"])
    report.check("a key that is back passes again, soon", until(lambda: get("plain").status == 200, 5), True)
    report.check("and the other is refused", get("lasting").status, 401)
