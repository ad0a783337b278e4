"""Many idle connections: the client that holds them, and (`crowd.py PORT`) the WebSocket echo server behind the proxies."""

import base64
import hashlib
import os
import select
import socket
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ECHOED = 1024
# A masked text frame; the mask is zero, so that the payload reads as it is. And the same unmasked, as a server sends it.
MESSAGE = bytes([0x81, 0x80 | 126]) + ECHOED.to_bytes(2, "big") + bytes(4) + b"m" * ECHOED
REPLY = bytes([0x81, 126]) + ECHOED.to_bytes(2, "big") + b"m" * ECHOED


def accept_key(key):
    """What a server answers to `Sec-WebSocket-Key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def read(sock, enough):
    """What arrives until `enough` of it says that it is all."""
    data = b""
    while not enough(data):
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionResetError(f"closed after {data[:60]!r}")
        data += chunk
    return data


class Crowd:
    """`count` connections to one port: WebSockets, or HTTP/1.1 after one request each."""

    def __init__(self, port, token, count, websockets):
        self.socks = []
        key = base64.b64encode(os.urandom(16))
        head = [f"GET {'/ws' if websockets else '/'} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}"]
        if websockets:
            head += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                     f"Sec-WebSocket-Key: {key.decode()}"]
        hello = "\r\n".join([*head, "", ""]).encode()
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            self.socks.append(sock)
            sock.sendall(hello)
            answer = read(sock, lambda data: b"\r\n\r\n" in data)
            wanted = (b" 101 ", accept_key(key)) if websockets else (b" 200 ",)
            if not all(part in answer for part in wanted):
                raise ConnectionError(answer.split(b"\r\n")[0].decode("latin-1"))

    def echo(self):
        """One message of 1 KiB, there and back, on every connection."""
        for sock in self.socks:
            sock.sendall(MESSAGE)
            if read(sock, lambda data: len(data) >= len(REPLY)) != REPLY:
                raise ConnectionError("another message came back")

    def close(self):
        for sock in self.socks:
            sock.close()


class Echo:
    """One connection of the server. It understands MESSAGE and nothing else."""

    def __init__(self, sock):
        self.sock, self.upgraded, self.data = sock, False, b""

    def serve(self):
        """Answers what has arrived."""
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionResetError
        self.data += chunk
        if self.upgraded:
            while self.data.startswith(MESSAGE):
                self.data = self.data[len(MESSAGE):]
                self.sock.sendall(REPLY)
        elif b"\r\n\r\n" in self.data:
            head, self.data = self.data.split(b"\r\n\r\n", 1)
            fields = {name.lower(): value.strip() for name, _, value in
                      (line.partition(b":") for line in head.split(b"\r\n")[1:])}
            self.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              b"Sec-WebSocket-Accept: " + accept_key(fields[b"sec-websocket-key"]) + b"\r\n\r\n")
            self.upgraded = True


def serve(port):
    """The echo server, until it is ended."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll, open_ = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                open_[sock.fileno()] = Echo(sock)
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                open_[number].serve()
            except (OSError, KeyError):
                poll.unregister(number)
                open_.pop(number).sock.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
