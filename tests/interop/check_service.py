"""FastAPI on uvicorn behind the gate: what it is told, and that everything else gets through as it was sent."""

import hashlib
import http.client
import json
import time
from contextlib import contextmanager
from socket import create_connection

import jwt
from children import until
from client import Client, Response
from gate import Gate
from service import BIG, COOKIES, ORIGIN, pattern
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SECRET = "a secret of this run alone, longer than thirty-two bytes"
CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{service}"

[authenticators.app]
kind = "jwt"
issuer = "https://issuer.test"
secret_env = "APP_SECRET"
leeway = "0s"
claims.customer_id = "customer_id"
credentials = [
    {{ header = "authorization", scheme = "Bearer" }},
    {{ query = "token", websocket_only = true }},
    {{ subprotocol = "bearer" }},
]

[identity.headers]
x-customer-id = "customer_id"
x-user-roles = "roles"

[[routes]]
path = "/cookies"
access = "public"
"""
# Spellings that one framework or another takes for x-customer-id or x-user-roles.
TRICKS = ["x-customer-id", "X-CUSTOMER-ID", "x_customer_id", "X_Customer_Id", "x-customer_id", "x.customer.id", "x-user_roles",
          "X_USER_ROLES"]


def token(customer="customer-1", seconds=600):
    claims = {"iss": "https://issuer.test", "sub": "user-1", "exp": time.time() + seconds, "customer_id": customer,
              "roles": ["editor", "viewer"]}
    return jwt.encode({**claims, "exp": int(claims["exp"])}, SECRET, "HS256")


def run(report, world):
    configuration = CONFIGURATION.format(service=world.service.port)
    with Gate(world.gate, world.folder, configuration, environment={"APP_SECRET": SECRET}) as gate:
        headers(report, world, gate)
        cookies_and_cors(report, world, gate)
        bodies(report, world, gate)
        streams(report, world, gate)
        sockets(report, world, gate)
        socket_ends(report, world, gate)


def headers(report, world, gate):
    client = gate.client()
    response = client.get("/whoami", token("customer-1"))
    report.check("FastAPI is told who asks", response.json(), {
        "customer_id": "customer-1", "roles": "editor,viewer", "every": ["customer-1"], "underscore": None,
        "starlette": "customer-1", "client": "127.0.0.1"})
    straight = Client(world.service.port).get("/whoami", None, [(name, "evil") for name in TRICKS]).json()
    report.check("sent past the gate, these spellings do trick FastAPI", (straight["every"], straight["underscore"]),
                 (["evil", "evil"], ["evil", "evil"]))
    for name in TRICKS:
        response = client.get("/whoami", token("customer-1"), [(name, "evil")])
        told, seen = response.json(), world.service.saw(response)
        report.check(f"a client's {name} does not get through", (
            told["every"], told["underscore"], told["roles"], [field for field in seen.fields if "evil" in field[1]]),
            (["customer-1"], None, "editor,viewer", []))
    all_of_them = [(name, "evil") for name in TRICKS]
    response = client.get("/whoami", token("customer-1"), [*all_of_them, ("connection", "close, x-customer-id, x-user-roles")])
    report.check("nor all together, with a Connection header that names ours", response.json()["every"], ["customer-1"])
    response = client.get("/cookies", None, all_of_them)
    seen = world.service.saw(response)
    report.check("nor on a public route", [field for field in seen.fields if "evil" in field[1]], [])
    response = client.get("/whoami", None, all_of_them)
    report.check("without a token FastAPI is not asked", (response.status, world.service.saw(response)), (401, None))
    response = client.get("/whoami", token(), [("x-plain", "one"), ("X-Plain", "two"), ("accept", "text/html;q=0.9")])
    seen = world.service.saw(response)
    report.check("other headers come as they were sent", (seen.all("x-plain"), seen.all("accept")),
                 (["one", "two"], ["text/html;q=0.9"]))
    response = client.send("GET", "/whoami?a=%20b&c=d+e&token=x%2Fy", [("authorization", f"Bearer {token()}")])
    report.check("the query comes byte by byte", world.service.saw(response).query, "a=%20b&c=d+e&token=x%2Fy")
    response = client.send("GET", "/nowhere", [("authorization", f"Bearer {token()}")])
    report.check("FastAPI's own 404 comes back", (response.status, response.json()), (404, {"detail": "Not Found"}))


def cookies_and_cors(report, world, gate):
    client = gate.client()
    report.check("Set-Cookie: each a field of its own, in order", client.get("/cookies").all("set-cookie"), COOKIES)
    asks = [("origin", ORIGIN), ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization")]
    response = client.send("OPTIONS", "/items/7", asks)
    report.check("a preflight without a token is answered by FastAPI",
                 (response.status, response.all("access-control-allow-origin"), response.all("access-control-allow-methods"),
                  world.service.saw(response) is not None), (200, [ORIGIN], ["PUT"], True))
    response = client.send("OPTIONS", "/items/7", [("origin", "https://evil.example"), *asks[1:]])
    report.check("so is one that it refuses", (response.status, world.service.saw(response) is not None), (400, True))
    response = client.send("PUT", "/items/7", [("origin", ORIGIN), ("authorization", f"Bearer {token()}")])
    report.check("the request after it", (response.status, response.json(), response.all("access-control-allow-origin")),
                 (200, {"number": 7}, [ORIGIN]))
    for name, fields in (("no Access-Control-Request-Method", asks[:1]), ("no Origin", asks[1:])):
        response = client.send("OPTIONS", "/items/7", fields)
        report.check(f"OPTIONS with {name} is no preflight", (response.status, world.service.saw(response)), (401, None))


def bodies(report, world, gate):
    client, whole, bearer = gate.client(), pattern(BIG), [("authorization", f"Bearer {token()}")]
    expected = {"size": BIG, "sha256": hashlib.sha256(whole).hexdigest()}
    report.check("20 MiB up, with a length", client.send("POST", "/upload", bearer, whole).json(), expected)
    report.check("20 MiB up, in chunks",
                 upload(gate, [whole[at:at + 100_003] for at in range(0, BIG, 100_003)]).json(), expected)
    whole_answer = {"size": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}
    first, second, body = expecting(gate, token())
    report.check("Expect: 100-continue: first the 100, then the body", (first, second, json.loads(body)), (b"100", b"200", whole_answer))
    report.check("Expect: 100-continue with a bad token: 401 at once", expecting(gate, "bad.bad.bad"), [b"401"])
    for name, path in (("with a length", "/download"), ("in chunks", "/download?chunked=true")):
        response = client.send("GET", path, bearer)
        got = {"size": len(response.body), "sha256": hashlib.sha256(response.body).hexdigest()}
        report.check(f"20 MiB down, {name}", got, expected)


def expecting(gate, bearer):
    """The status lines that a client gets which sends its body only when it is told to (RFC 9110 §10.1.1)."""
    with create_connection(("127.0.0.1", gate.port), timeout=20) as connection:
        head = (f"POST /upload HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {bearer}\r\nexpect: 100-continue\r\n"
                "content-length: 5\r\nconnection: close\r\n\r\n")
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            status = answer.readline().split()[1]
            if status != b"100":
                return [status]
            answer.readline()
            connection.sendall(b"hello")
            return [status, answer.readline().split()[1], answer.read().rpartition(b"\r\n\r\n")[2]]


def upload(gate, chunks):
    """Sends a body of chunks, as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
    fields = {"authorization": f"Bearer {token()}", "transfer-encoding": "chunked"}
    connection.request("POST", "/upload", body=iter(chunks), headers=fields, encode_chunked=True)
    response = connection.getresponse()
    try:
        return Response(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def streams(report, world, gate):
    """The service lets the next piece go only when the client has had the one before."""
    valves = world.service.valves
    connection, response = gate.client().open("GET", "/events", [("authorization", f"Bearer {token()}")])
    events = []
    for _ in range(3):
        events.append(response.readline() + response.readline())
        valves.release()
    report.check("events arrive one by one", (response.getheader("content-type"), events, response.read()),
                 ("text/event-stream; charset=utf-8", [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"], b""))
    connection.close()
    connection, response = gate.client().open("GET", "/endless", [("authorization", f"Bearer {token()}")])
    response.readline()
    valves.deserted = False
    response.close()
    connection.close()
    report.check("a client that goes away ends the service's stream", until(lambda: valves.deserted), True)

    arrivals = []

    def pieces():
        for number in range(1, 4):
            yield b"x" * 1000
            arrivals.append(until(lambda size=number * 1000: valves.arrived == size))
    valves.arrived = 0
    response = upload(gate, pieces())
    report.check("an upload arrives as it is sent", (arrivals, response.json()["size"]), ([True, True, True], 3000))


@contextmanager
def opened(gate, path="/ws", bearer=None, **options):
    fields = {"authorization": f"Bearer {bearer}"} if bearer else {}
    with connect(f"ws://127.0.0.1:{gate.port}{path}", additional_headers=fields, proxy=None, open_timeout=20,
                 max_size=None, **options) as socket:
        yield socket


def sockets(report, world, gate):
    """The three places where a handshake may carry its token."""
    customer = ["customer-1"]
    with opened(gate, bearer=token()) as socket:
        report.check("WebSocket: a token in the header", json.loads(socket.recv())["customer_id"], customer)
        socket.send("hello")
        report.check("text comes back", socket.recv(), "hello")
        big = pattern(2 << 20)
        socket.send(big)
        report.check("so do 2 MiB", socket.recv() == big, True)
        socket.send(["in ", "three ", "frames"])
        report.check("and what was sent in several frames", socket.recv(), "in three frames")
        report.check("the service's pong comes back", socket.ping().wait(10), True)
        report.check("compression is agreed on end to end", [one.name for one in socket.protocol.extensions],
                     ["permessage-deflate"])
    with opened(gate, f"/ws?room=1&token={token()}") as socket:
        report.check("WebSocket: a token in the query", json.loads(socket.recv())["customer_id"], customer)
    with opened(gate, subprotocols=["bearer", token()]) as socket:
        told = json.loads(socket.recv())
        report.check("WebSocket: a token as a subprotocol, which the service does not see",
                     (told, socket.subprotocol), ({"customer_id": customer, "offered": [""]}, "bearer"))
    with opened(gate, subprotocols=["chat", "bearer", token()]) as socket:
        told = json.loads(socket.recv())
        report.check("WebSocket: the service chooses among the others",
                     (told, socket.subprotocol), ({"customer_id": customer, "offered": ["chat"]}, "chat"))
    with opened(gate, bearer=token(), subprotocols=None, origin=ORIGIN) as socket:
        socket.recv()
        report.check("WebSocket: the origin comes as it was sent", world.service.seen[-1].all("origin"), [ORIGIN])


def refused(gate, path, bearer=None, **options):
    try:
        with opened(gate, path, bearer, **options):
            return "opened"
    except InvalidStatus as refusal:
        return refusal.response.status_code


def socket_ends(report, world, gate):
    """Handshakes that are refused, and who may end a tunnel."""
    before = len(world.service.seen)
    for name, path, options, status in [
        ("no token", "/ws", {}, 401),
        ("an expired token", "/ws", {"bearer": token(seconds=-60)}, 401),
        ("an expired token in the query", f"/ws?token={token(seconds=-60)}", {}, 401),
        ("a token in the header and another in the query", f"/ws?token={token()}", {"bearer": token()}, 400),
        ("a bad token as a subprotocol", "/ws", {"subprotocols": ["bearer", f"{token()}x"]}, 401),
    ]:
        report.check(f"WebSocket: {name} is refused", refused(gate, path, **options), status)
    response = gate.client().get(f"/whoami?token={token()}")
    report.check("a token in the query of a plain request counts for nothing", response.status, 401)
    report.check("none of these reached the service", len(world.service.seen) - before, 0)
    with opened(gate, bearer=token()) as socket:
        socket.recv()
        socket.send("leave")
        report.check("the service's close code and reason arrive", ended(socket), (4001, "as you wish"))
    world.service.valves.close_code = None
    with opened(gate, bearer=token()) as socket:
        socket.recv()
        socket.close(4002)
    report.check("so does the client's", until(lambda: world.service.valves.close_code), 4002)
    world.service.valves.close_code = None
    with opened(gate, bearer=token(seconds=2)) as socket:
        socket.recv()
        report.check("a tunnel ends with its token, with 1008", ended(socket)[0], 1008)
    report.check("and the service is told", until(lambda: world.service.valves.close_code) is not None, True)


def ended(socket):
    """The close code and reason that the other side gives."""
    try:
        socket.recv(15)
    except ConnectionClosed as closed:
        return closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)
    return "another message"
