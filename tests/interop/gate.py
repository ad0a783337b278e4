"""The program under test as a child process, and what its access log says of a request."""

import json
import os

from children import Child, until
from client import Client

FRAME = """
[server]
listen = "127.0.0.1:0"
workers = 1
[server.shutdown]
delay = "0s"
grace = "1s"
[admin]
listen = "127.0.0.1:0"
"""


def parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return {}


class Gate(Child):
    """A running gate, ready unless it is told not to wait for that."""

    def __init__(self, program, folder, configuration, environment=None, ready=True):
        path = folder / "sidegate.toml"
        path.write_text(FRAME + configuration)
        super().__init__(program, "run", "--config", path, environment={**os.environ, **(environment or {})})
        try:
            addresses = self.said(lambda line: (event := parsed(line)).get("message") == "listening" and event)
            self.port, self.admin = (int(addresses[name].rsplit(":", 1)[1]) for name in ("server", "admin"))
            if ready and not until(lambda: self.probe().get("/readyz").status == 200):
                raise RuntimeError(f"the gate is never ready:\n{''.join(self.lines[-20:])}")
        except BaseException:
            self.end()
            raise

    def client(self):
        return Client(self.port)

    def probe(self):
        """A client of the admin listener."""
        return Client(self.admin)

    def line(self, response):
        """The access log's line of a request, once it is there."""
        wanted = response.header("x-request-id")
        def look():
            return next((event for line in reversed(list(self.lines))
                         if wanted in line and (event := parsed(line)).get("request_id") == wanted), None)
        return until(look) or {} if wanted else {}

    def reason(self, response):
        return self.line(response).get("reason")
