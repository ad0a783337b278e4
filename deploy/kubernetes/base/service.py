"""The example service: it answers with what reached it, and knows nothing of authentication.

HOST and PORT say where it listens. Only the standard library is used.
"""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """Answers every request with its method, path and header fields as JSON."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = b""
        if length := int(self.headers.get("Content-Length") or 0):
            body = self.rfile.read(length)
        elif "Transfer-Encoding" in self.headers:
            self.close_connection = True  # chunked bodies are not read here
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body_bytes": len(body),
        }
        text = (json.dumps(seen, indent=2) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer

    def log_message(self, *_):
        """sidegate keeps the access log."""


def main():
    # Loopback unless told otherwise: in a pod nobody but sidegate may reach the service.
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
    server = ThreadingHTTPServer(address, Echo)
    server.daemon_threads = True

    # As process 1 it must handle SIGTERM itself; shutdown() would block if called in this thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
