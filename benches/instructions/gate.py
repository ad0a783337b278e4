"""The gate as a process, by itself or under valgrind."""

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import keys

TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)

CONFIGURATION = """
[server]
listen = "127.0.0.1:0"
workers = 1

[server.shutdown]
delay = "0s"
grace = "2s"

[admin]
listen = "127.0.0.1:0"

[upstreams.app]
url = "http://127.0.0.1:{service}"

[authenticators.bench]
kind = "jwt"
issuer = "{issuer}"
audience = "{audience}"
jwks_file = "jwks.json"
algorithms = ["RS256"]
claims.customer_id = "sub"

[identity.headers]
x-customer-id = "customer_id"

[policy]
require.any_role = ["admin", "editor"]

[log]
level = "info"
access = false
"""


def configure(folder, service, issuer):
    """Writes configuration and keys, and returns the path of the configuration."""
    (folder / "jwks.json").write_text(issuer.key_set())
    path = folder / "sidegate.toml"
    path.write_text(CONFIGURATION.format(service=service, issuer=keys.ISSUER, audience=keys.AUDIENCE))
    return path


class Gate:
    """A running gate; as a context it is ended at the end."""

    def __init__(self, binary, configuration, valgrind=()):
        self.begun = time.perf_counter()
        self.process = subprocess.Popen([*valgrind, binary, "run", "--config", configuration], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.port, self.admin = self.addresses()

    def addresses(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event.get("message") == "listening":
                return int(event["server"].rsplit(":", 1)[1]), int(event["admin"].rsplit(":", 1)[1])
        raise SystemExit(f"the gate has not started:\n{self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ready_after(self):
        """Seconds from its start to its being ready."""
        while True:
            with socket.create_connection(("127.0.0.1", self.admin), timeout=60) as probe:
                probe.sendall(b"GET /readyz HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")
                if b" 200 " in probe.recv(4096).split(b"\r\n")[0]:
                    return time.perf_counter() - self.begun

    def resident(self):
        """Bytes of memory that it occupies."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) << 10

    def end(self):
        """Ends it in order."""
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=60)[1]
        if self.process.returncode != 0:
            raise SystemExit(f"the gate has ended with {self.process.returncode}:\n{said}")


class CountedGate(Gate):
    """A gate under callgrind, which counts when it is told to: what happens before and between does not matter."""

    def __init__(self, binary, configuration, folder):
        self.folder, self.counts = folder, 0
        # Told what to do through a pipe in that folder, at which valgrind looks every so many basic blocks: often enough for
        # a gate that does next to nothing, where valgrind may not be woken by ptrace.
        self.prefix = f"--vgdb-prefix={folder}/vgdb"
        super().__init__(binary, configuration, ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--vgdb-poll=50",
                                                 self.prefix, f"--callgrind-out-file={folder}/callgrind"])

    def tell(self, *words):
        subprocess.run(["vgdb", self.prefix, f"--pid={self.process.pid}", *words], check=True, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def counted(self, name, work, times):
        """The instructions that the whole process needs while something is done, and how many seconds that took.

        The profile is left in the folder.
        """
        self.tell("zero")
        begun = time.perf_counter()
        for _ in range(times):
            work()
        self.tell("dump")
        seconds = time.perf_counter() - begun
        self.counts += 1
        profile = self.folder / f"callgrind.{self.counts}"
        count = int(TOTALS.search(profile.read_text())[1])
        profile.rename(self.folder / f"{name}.callgrind")
        return count, seconds
