"""The service behind the gate: FastAPI on uvicorn, and a record of everything that reached it.

It runs in a thread, so that a check can see what arrived, and decide when a stream goes on.
"""

import asyncio
import hashlib
import logging
import threading
from contextlib import suppress
from typing import Annotated

import uvicorn
from children import until
from fastapi import FastAPI, Header, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse

COOKIES = [
    "session=abc; Path=/; HttpOnly; Expires=Wed, 01 Jan 2031 10:00:00 GMT",
    "theme=dark; Max-Age=3600; SameSite=Lax",
    'odd="a,b c"; Path=/odd',
]
ORIGIN = "https://app.example"
BIG = 20 << 20


def pattern(size):
    """Bytes in which a piece that is lost, doubled or moved shows."""
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8))


class Seen:
    """One request or handshake as it reached the service."""

    def __init__(self, scope):
        self.kind, self.method, self.path = scope["type"], scope.get("method", "GET"), scope["raw_path"].decode("latin-1")
        self.query = scope["query_string"].decode("latin-1")
        self.fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name]


class Recorder:
    """Notes every request in front of the application."""

    def __init__(self, application, seen):
        self.application, self.seen = application, seen

    async def __call__(self, scope, receive, send):
        if scope["type"] in ("http", "websocket"):
            self.seen.append(Seen(scope))
        await self.application(scope, receive, send)


def application(valves):
    """The service; `valves` are what its streams wait for."""
    app = FastAPI()
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_methods=["PUT"], allow_headers=["authorization"])

    @app.get("/whoami")
    def whoami(request: Request,
               x_customer_id: Annotated[str | None, Header()] = None,
               x_user_roles: Annotated[str | None, Header()] = None,
               every: Annotated[list[str] | None, Header(alias="x-customer-id")] = None,
               underscore: Annotated[list[str] | None, Header(alias="x_customer_id", convert_underscores=False)] = None):
        return {"customer_id": x_customer_id, "roles": x_user_roles, "every": every, "underscore": underscore,
                "starlette": request.headers.get("x-customer-id"), "client": request.client.host}

    @app.get("/cookies")
    def cookies():
        response = Response("baked")
        for cookie in COOKIES:
            response.headers.append("set-cookie", cookie)
        return response

    @app.post("/upload")
    async def upload(request: Request):
        digest, size = hashlib.sha256(), 0
        async for chunk in request.stream():
            digest.update(chunk)
            size += len(chunk)
            valves.arrived = size
        return {"size": size, "sha256": digest.hexdigest()}

    @app.get("/download")
    def download(chunked: bool = False):
        whole = pattern(BIG)
        if chunked:
            return StreamingResponse(whole[at:at + 65_536] for at in range(0, len(whole), 65_536))
        return Response(whole, media_type="application/octet-stream")

    @app.get("/events")
    async def events():
        async def produce():
            for number in range(3):
                yield f"data: {number}\n\n"
                await valves.passed()
        return StreamingResponse(produce(), media_type="text/event-stream")

    @app.get("/endless")
    async def endless():
        async def produce():
            try:
                while True:
                    yield "data: again\n\n"
                    await asyncio.sleep(0.05)
            finally:
                valves.deserted = True
        return StreamingResponse(produce(), media_type="text/event-stream")

    @app.put("/items/{number}")
    def put(number: int):
        return {"number": number}

    @app.websocket("/ws")
    async def socket(socket: WebSocket):
        offered = [word.strip() for word in socket.headers.get("sec-websocket-protocol", "").split(",")]
        await socket.accept(subprotocol="chat" if "chat" in offered else None)
        with suppress(WebSocketDisconnect):
            await socket.send_json({"customer_id": socket.headers.getlist("x-customer-id"), "offered": offered})
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    valves.close_code = message.get("code")
                    return
                if message.get("text") == "leave":
                    return await socket.close(4001, "as you wish")
                await socket.send({"type": "websocket.send", **{kind: message[kind] for kind in ("text", "bytes")
                                                                if message.get(kind) is not None}})

    return app


class Valves:
    """Holds the service's streams until a check lets them go on, and says how far they are."""

    def __init__(self):
        self.arrived, self.deserted, self.close_code, self.open = 0, False, None, threading.Semaphore(0)

    async def passed(self):
        if not await asyncio.get_running_loop().run_in_executor(None, self.open.acquire, True, 10):
            raise TimeoutError("nobody has got what was sent")

    def release(self):
        self.open.release()


class Service:
    """The running service; as a context it is ended at the end."""

    def __init__(self):
        self.seen, self.valves = [], Valves()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        config = uvicorn.Config(Recorder(application(self.valves), self.seen), host="127.0.0.1", port=0,
                                log_level="critical", ws="websockets-sansio", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        if not until(lambda: self.server.started):
            raise RuntimeError("uvicorn does not start")
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(10)

    def saw(self, response):
        """The request that a response answers, if it reached the service."""
        wanted = response.header("x-request-id")
        return next((seen for seen in self.seen if wanted and wanted in seen.all("x-request-id")), None)
