"""A tiny HTTP/1.1 service with keep-alive, a large body at /large, and WebSockets that send back what they get.

It answers only after a pause. By then the gate has gone to sleep, so that it wakes once for every answer, whatever else
the machine does: how often a program wakes is a part of the instructions that it needs.
"""

import base64
import hashlib
import socket
import threading
import time

PAUSE = 0.004
SMALL = b'{"id":4711,"name":"an item"}'
LARGE = bytes(64 * 1024)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Reader:
    """Reads a connection up to a mark, or so many bytes."""

    def __init__(self, connection):
        self.connection, self.bytes = connection, b""

    def more(self):
        got = self.connection.recv(1 << 18)
        if not got:
            raise EOFError("the other side has closed the connection")
        self.bytes += got

    def head(self):
        """The head of a message, with the empty line."""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def exactly(self, count):
        while len(self.bytes) < count:
            self.more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def frame(self):
        """The payload of a WebSocket frame shorter than 64 KiB; a mask must be all zeros, which changes nothing."""
        first, length = self.exactly(2)
        masked, length = length & 0x80, length & 0x7F
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        if masked and any(self.exactly(4)):
            raise ValueError("only a mask of zeros is understood here")
        return first & 0x0F, self.exactly(length)


def field(head, name):
    """The value of a field of a head; none if it is not there."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def frame(payload, mask=b""):
    """A binary message in one frame, with this mask or none."""
    flag = 0x80 if mask else 0
    length = bytes([flag | 126]) + len(payload).to_bytes(2, "big") if len(payload) > 125 else bytes([flag | len(payload)])
    return b"\x82" + length + mask + payload


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def answer(connection):
    """Serves one connection to its end."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = Reader(connection)
    try:
        while True:
            head = reader.head()
            time.sleep(PAUSE)
            if key := field(head, b"sec-websocket-key"):
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                                   b"sec-websocket-accept: " + accept_key(key) + b"\r\n\r\n")
                return echo(connection, reader)
            body = LARGE if b" /large " in head.split(b"\r\n")[0] else SMALL
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                               + str(len(body)).encode() + b"\r\n\r\n" + body)
    except (EOFError, ConnectionError):
        return None
    finally:
        connection.close()


def echo(connection, reader):
    while True:
        kind, payload = reader.frame()
        if kind == 8:
            return
        time.sleep(PAUSE)
        connection.sendall(frame(payload))


def start():
    """Starts the service on a free port and returns that."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
