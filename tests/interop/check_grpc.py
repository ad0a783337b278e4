"""gRPC by grpcio on both sides, over HTTP/2 in clear text: calls of all four kinds, metadata, statuses, and refusals."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import jwt
from gate import Gate

SECRET = "a secret of this run alone, longer than thirty-two bytes"
CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{service}"
http2 = true

[authenticators.app]
kind = "jwt"
issuer = "https://issuer.test"
secret_env = "APP_SECRET"
claims.customer_id = "customer_id"

[identity.headers]
x-customer-id = "customer_id"

[[routes]]
path = "/test.Echo/Admin"
require.roles = ["admin"]
"""
CUSTOMER = ["customer-1"]


class Servicer:
    """What is behind the gate. Messages are plain bytes."""

    def __init__(self):
        self.calls, self.go_on, self.ended = [], threading.Semaphore(0), threading.Event()

    def note(self, context):
        self.calls.append(context.invocation_metadata())

    def unary(self, request, context):
        self.note(context)
        context.send_initial_metadata([("x-initial", "one")])
        context.set_trailing_metadata([("x-trailing", "two"), ("x-data-bin", b"\x00\xff")])
        return request

    def fails(self, request, context):
        self.note(context)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "näo: 100 % of it")

    def stream(self, request, context):
        self.note(context)
        for number in range(3):
            yield b"%d" % number
            if not self.go_on.acquire(timeout=10):
                context.abort(grpc.StatusCode.ABORTED, "nobody has got what was sent")

    def collect(self, requests, context):
        self.note(context)
        return b",".join(requests)

    def both(self, requests, context):
        self.note(context)
        yield from requests

    def slow(self, request, context):
        self.note(context)
        context.add_callback(self.ended.set)
        self.ended.wait(20)
        return b"too late"


@contextmanager
def served(servicer):
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(servicer.unary),
        "Admin": grpc.unary_unary_rpc_method_handler(servicer.unary),
        "Fails": grpc.unary_unary_rpc_method_handler(servicer.fails),
        "Stream": grpc.unary_stream_rpc_method_handler(servicer.stream),
        "Collect": grpc.stream_unary_rpc_method_handler(servicer.collect),
        "Both": grpc.stream_stream_rpc_method_handler(servicer.both),
        "Slow": grpc.unary_unary_rpc_method_handler(servicer.slow),
    })])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, server
    finally:
        server.stop(1).wait(5)


def metadata(*more):
    token = jwt.encode({"iss": "https://issuer.test", "sub": "user-1", "exp": int(time.time()) + 600,
                        "customer_id": "customer-1"}, SECRET, "HS256")
    return [("authorization", f"Bearer {token}"), *more]


def status(call, *arguments, **options):
    """The status that a call ends with, and its text."""
    try:
        call(*arguments, timeout=20, **options)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def run(report, world):
    servicer = Servicer()
    with served(servicer) as (port, server):
        configuration = CONFIGURATION.format(service=port)
        with Gate(world.gate, world.folder, configuration, environment={"APP_SECRET": SECRET}) as gate:
            with grpc.insecure_channel(f"127.0.0.1:{gate.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                calls(report, servicer, channel)
                refusals(report, servicer, channel)
                server.stop(0).wait(5)
                code = status(channel.unary_unary("/test.Echo/Unary"), b"", metadata=metadata())[0]
                report.check("the service is away: UNAVAILABLE", code, grpc.StatusCode.UNAVAILABLE)


def calls(report, servicer, channel):
    unary = channel.unary_unary("/test.Echo/Unary")
    answer, call = unary.with_call(b"hello", metadata=metadata(("x-customer-id", "evil"), ("x_customer_id", "evil"),
                                                               ("x-plain", "as it is")), timeout=20)
    seen = [(key, value) for key, value in servicer.calls[-1] if key.startswith("x") and key != "x-request-id"]
    told = {key: [value for name, value in seen if name == key] for key in ("x-customer-id", "x_customer_id", "x-plain")}
    report.check("unary: the answer", answer, b"hello")
    report.check("unary: the service is told who asks, and nothing that the client says of that", told,
                 {"x-customer-id": CUSTOMER, "x_customer_id": [], "x-plain": ["as it is"]})
    report.check("unary: initial and trailing metadata", (dict(call.initial_metadata()).get("x-initial"),
                 dict(call.trailing_metadata())), ("one", {"x-trailing": "two", "x-data-bin": b"\x00\xff"}))
    big = bytes(3 << 20)
    report.check("unary: 3 MiB", unary(big, metadata=metadata(), timeout=20) == big, True)

    received, stream = [], channel.unary_stream("/test.Echo/Stream")(b"", metadata=metadata(), timeout=20)
    for message in stream:
        received.append(message)
        servicer.go_on.release()
    report.check("server streaming: one by one", received, [b"0", b"1", b"2"])
    collect = channel.stream_unary("/test.Echo/Collect")
    report.check("client streaming", collect(iter([b"a", b"b"]), metadata=metadata(), timeout=20), b"a,b")
    both = channel.stream_stream("/test.Echo/Both")
    report.check("both at once", list(both(iter([b"a", b"b"]), metadata=metadata(), timeout=20)), [b"a", b"b"])
    report.check("the service's own status and text", status(channel.unary_unary("/test.Echo/Fails"), b"", metadata=metadata()),
                 (grpc.StatusCode.FAILED_PRECONDITION, "näo: 100 % of it"))
    report.check("a method that it does not have", status(channel.unary_unary("/test.Echo/Nothing"), b"", metadata=metadata())[0],
                 grpc.StatusCode.UNIMPLEMENTED)
    try:
        channel.unary_unary("/test.Echo/Slow")(b"", metadata=metadata(), timeout=0.5)
        code = None
    except grpc.RpcError as error:
        code = error.code()
    report.check("a deadline", code, grpc.StatusCode.DEADLINE_EXCEEDED)
    report.check("the service's call ends with it", servicer.ended.wait(10), True)


def refusals(report, servicer, channel):
    before = len(servicer.calls)
    unary, admin = channel.unary_unary("/test.Echo/Unary"), channel.unary_unary("/test.Echo/Admin")
    stream = channel.unary_stream("/test.Echo/Stream")
    bad = [("authorization", "Bearer bad")]
    report.check("no token: UNAUTHENTICATED", status(unary, b"")[0], grpc.StatusCode.UNAUTHENTICATED)
    report.check("a bad token: UNAUTHENTICATED", status(unary, b"", metadata=bad)[0], grpc.StatusCode.UNAUTHENTICATED)
    code, text = status(admin, b"", metadata=metadata())
    report.check("a role lacks: PERMISSION_DENIED, with its text", (code, bool(text)), (grpc.StatusCode.PERMISSION_DENIED, True))
    report.check("a stream without a token: UNAUTHENTICATED", status(lambda *a, **o: list(stream(*a, **o)), b"")[0],
                 grpc.StatusCode.UNAUTHENTICATED)
    report.check("none of these reached the service", len(servicer.calls) - before, 0)
