"""A GiB up and a GiB down, over sockets of their own: whole, and without memory."""

import re
import socket
import threading
from pathlib import Path

from gate import Gate

SIZE = 1 << 30
PIECE = bytes(range(256)) * 1024
# More than this the gate must not grow by while a GiB passes, in KiB.
MOST = 4096
CONFIGURATION = """
[upstreams.app]
url = "http://127.0.0.1:{port}"

[policy]
access = "public"

[server.limits]
body_bytes = "2GiB"
"""


class Sink:
    """A service that reads bodies, and answers with as many bytes as the path says."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with stream, stream.makefile("rb") as lines:
            while request := lines.readline():
                length = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                while length:
                    piece = lines.read1(min(length, 1 << 18))
                    if not piece:
                        return
                    length -= len(piece)
                    self.received += len(piece)
                answer = int(request.split(b"/")[1].split(b" ")[0])
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % answer)
                send(stream, answer)


def send(stream, length):
    for _ in range(length // len(PIECE)):
        stream.sendall(PIECE)


def resident(gate):
    status = Path(f"/proc/{gate.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def exchange(gate, up, down):
    """Sends so many bytes, and says how many of the right ones came back."""
    with socket.create_connection(("127.0.0.1", gate.port), timeout=60) as stream:
        head = f"POST /{down} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {up}\r\n\r\n"
        sending = threading.Thread(target=lambda: (stream.sendall(head.encode()), send(stream, up)))
        sending.start()
        right = 0
        with stream.makefile("rb") as lines:
            while lines.readline() not in (b"\r\n", b""):
                pass
            while piece := lines.read1(1 << 18):
                place = right % len(PIECE)
                if not (PIECE + PIECE)[place:].startswith(piece):
                    break
                right += len(piece)
        sending.join()
        return right


def run(report, world):
    sink = Sink()
    with Gate(world.gate, world.folder, CONFIGURATION.format(port=sink.port)) as gate:
        exchange(gate, len(PIECE), len(PIECE))
        sink.received, before = 0, resident(gate)
        report.check("a GiB up arrives", (exchange(gate, SIZE, 0), sink.received), (0, SIZE))
        report.check("and takes no memory", resident(gate) - before < MOST, True)
        report.check("a GiB down arrives as it was sent", exchange(gate, 0, SIZE), SIZE)
        report.check("and takes no memory", resident(gate) - before < MOST, True)
