"""What is sent through the gate: one request (or message) after another on one connection, always the same bytes."""

import time

import keys
from service import LARGE, PAUSE, SMALL, Reader, accept_key, field, frame

# 1 KiB, as a chat or a game would send it.
MESSAGE = b"m" * 1024
ITEM = b"/items/4711?fields=all"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Client:
    """One keep-alive connection to the gate."""

    def __init__(self, gate):
        self.connection = gate.connect()
        self.reader = Reader(self.connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, data):
        # The gate has done all that the last request has left to do, and sleeps.
        time.sleep(PAUSE)
        self.connection.sendall(data)

    def ask(self, path, token, more=b""):
        """Sends a request with the eight fields of a usual GET, and returns the head of the answer."""
        self.send(b"GET " + path + b" HTTP/1.1\r\n"
                  b"host: api.example\r\n"
                  b"user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0\r\n"
                  b"accept: application/json, text/plain, */*\r\n"
                  b"accept-language: en-GB,en;q=0.5\r\n"
                  b"accept-encoding: gzip, deflate, br, zstd\r\n"
                  b"authorization: Bearer " + token.encode() + b"\r\n"
                  b"cookie: theme=dark; locale=en_GB\r\n" + (more or b"connection: keep-alive\r\n") + b"\r\n")
        return self.reader.head()

    def answered(self, head, status, body=None):
        """Fails unless this is what the answer says."""
        if head.split(b" ", 2)[1] != status:
            raise SystemExit(f"expected {status.decode()}, got:\n{head.decode()}")
        length = field(head, b"content-length")
        got = self.reader.exactly(int(length)) if length is not None else None
        if body is not None and got != body:
            raise SystemExit("the body is not the one that the service has sent")


class Workloads:
    """Each method returns what is done over and over on that connection."""

    def __init__(self, issuer, tokens):
        self.known, *self.others = (issuer.token(number) for number in range(tokens + 1))
        self.bad = keys.spoiled(self.known)

    def token_known(self, client):
        return lambda: client.answered(client.ask(ITEM, self.known), b"200", SMALL)

    def token_new(self, client):
        tokens = iter(self.others)
        return lambda: client.answered(client.ask(ITEM, next(tokens)), b"200", SMALL)

    def bad_signature(self, client):
        return lambda: client.answered(client.ask(ITEM, self.bad), b"401")

    def body_64k(self, client):
        return lambda: client.answered(client.ask(b"/large", self.known), b"200", LARGE)

    def websocket_echo(self, client):
        head = client.ask(b"/ws", self.known, b"connection: Upgrade\r\nupgrade: websocket\r\n"
                          b"sec-websocket-version: 13\r\nsec-websocket-key: " + KEY + b"\r\n")
        client.answered(head, b"101")
        if field(head, b"sec-websocket-accept") != accept_key(KEY):
            raise SystemExit("the handshake has not reached the service")

        def once():
            client.send(frame(MESSAGE, mask=bytes(4)))
            if client.reader.frame() != (2, MESSAGE):
                raise SystemExit("the message has not come back")

        return once
