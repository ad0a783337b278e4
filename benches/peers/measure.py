"""Starts the targets in turn, checks that each does its job, and measures it."""

import http.client
import os
import sys
import time

import load
from crowd import Crowd
from keys import SUBJECT, claims, sign, spoil
from load import NoFigure
from peers import HERE, TOKENS, WORKLOADS, Site
from process import Process


def get(port, path="/", token=None, **headers):
    """Status and body of one request; status 0 when there was no answer."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        conn.request("GET", path, headers=headers)
        reply = conn.getresponse()
        return reply.status, reply.read().decode("latin-1")
    except (OSError, http.client.HTTPException) as why:
        return 0, str(why)
    finally:
        conn.close()


def mistakes(target, keys):
    """What the target answers wrongly."""
    good = keys.first()
    status, body = get(target.port, "/whoami", good, **{"X-Customer-Id": "evil"})
    if status != 200 or body != f"id={SUBJECT}":
        yield f"another identity: {status} {body[:60]!r}"
    if target.kind == "plain":
        return
    tokens = {
        "no token": None,
        "a bad signature": spoil(good),
        "an expired token": sign(keys.rsa, claims(exp=int(time.time()) - 3600)),
        "a foreign issuer": sign(keys.rsa, claims(iss="https://other.test/")),
        "a foreign audience": sign(keys.rsa, claims(aud="other")),
    }
    for name, token in tokens.items():
        status, _ = get(target.port, "/", token)
        if status not in (401, 403):
            yield f"{name}: {status}"


class Bench:
    """One run over all targets. `runs` are the figures, `problems` what went wrong."""

    def __init__(self, args, keys, folder):
        self.args, self.keys, self.folder = args, keys, folder
        self.site = Site(folder, keys, args)
        self.runs, self.problems, self.absent, self.out = [], [], [], set()
        self.started = time.monotonic()
        self.running = []
        cores = os.sched_getaffinity(0)
        self.first_core = {min(cores)} if len(cores) > 1 else None
        self.other_cores = cores - self.first_core if self.first_core else None

    def start(self, argv, name, cpus, env=None):
        """A process that ends with this run at the latest."""
        process = Process(argv, self.folder / f"{name}.log", cpus, env)
        self.running.append(process)
        return process

    def stop(self, process):
        process.stop()
        self.running.remove(process)

    def stop_all(self):
        while self.running:
            self.stop(self.running[-1])

    def problem(self, text):
        self.problems.append(text)
        print(f"  PROBLEM {text}", flush=True)

    def over(self):
        """Whether the time is spent."""
        return time.monotonic() - self.started > self.args.budget

    def serve(self, target, workers):
        """A fresh process of the target that has answered one request, on its core if it is alone; None if it does not start."""
        process = self.start(target.argv, target.name, self.first_core if workers == 1 else None, target.env)
        end = time.monotonic() + 10
        while time.monotonic() < end and process.alive():
            if get(target.port, token=self.keys.first())[0] == 200:
                return process
            time.sleep(0.05)
        log = (self.folder / f"{target.name}.log").read_text()
        self.problem(f"{target.name} does not start: {log[-400:]}")
        self.stop(process)
        return None

    def everything(self):
        """All workloads, interleaved: so a disturbance of some seconds meets all targets of one round, not one target's rounds."""
        self.start(self.site.upstream_argv(), "upstream", self.other_cores)
        self.start([sys.executable, HERE / "crowd.py", self.site.echo_port], "echo", self.other_cores)
        found = {workers: self.site.targets(workers) for workers in
                 {workload.workers or self.args.workers for workload in WORKLOADS}}
        self.absent = found[self.args.workers][1]
        self.check_all(found[self.args.workers][0])
        plan = [(round_, workload) for round_ in range(1, self.args.rounds + 1) for workload in WORKLOADS
                if workload.name in self.args.workloads and round_ <= (workload.rounds or self.args.rounds)]
        for round_, workload in plan:
            if self.over():
                print(f"  the time is spent: round {round_} ends before {workload.name}")
                break
            self.one_round(workload, found[workload.workers or self.args.workers][0], round_)

    def check_all(self, targets):
        """Waits for the service, leaves out whoever does not start, and tells what the others do wrong."""
        while get(self.site.upstream_port)[0] != 200 and not self.over():
            time.sleep(0.05)
        for target in targets:
            process = self.serve(target, self.args.workers)
            if not process:
                self.out.add(target.name)
                continue
            for mistake in mistakes(target, self.keys):
                self.problem(f"{target.name} is WRONG about {mistake}")
            self.stop(process)

    def one_round(self, workload, targets, round_):
        """Every target once, another one first in each round."""
        fit = [target for target in targets if target.kind in workload.kinds and target.name not in self.out]
        turn = round_ % len(fit) if fit else 0
        for target in fit[turn:] + fit[:turn]:
            workers = workload.workers or self.args.workers
            try:
                figures = self.fresh(target, workload, workers)
            except (NoFigure, OSError, ValueError) as why:
                self.problem(f"{target.name} {workload.name}: no figure: {why}")
                continue
            self.runs.append({"workload": workload.name, "target": target.name, "round": round_, "workers": workers} | figures)
            told = {"rps": "{:.0f} req/s", "cpu_us": "{:.1f} us cpu/req", "p99": "p99 {:.0f} us", "rss_kib": "RSS {} KiB",
                    "idle_bytes": "{:.0f} bytes by connection"}
            print(f"  {workload.name:8} {target.name:16}", "  ".join(
                text.format(figures[name]) for name, text in told.items() if name in figures), flush=True)

    def fresh(self, target, workload, workers):
        """The figures of one workload, from a process that has done nothing else."""
        seconds = min(2, self.args.seconds) if workload.once else self.args.seconds
        while True:
            process = self.serve(target, workers)
            if not process:
                raise NoFigure("it did not start")
            try:
                figures = self.figures(process, target, workload, seconds)
            finally:
                self.stop(process)
            if not workload.once or figures["requests"] + workload.connections <= TOKENS:
                return figures
            if seconds == 1:
                raise NoFigure(f"this machine uses up {TOKENS} tokens within a second")
            seconds = 1

    def figures(self, process, target, workload, seconds):
        """What the workload's tool and the process's own counters say."""
        if workload.tool == "idle":
            time.sleep(0.5)
            return {"rss_kib": process.memory("VmRSS"), "pss_kib": process.memory("Pss")}
        if workload.tool == "crowd":
            return self.crowd(process, target, workload)
        if workload.filled and target.caches:
            self.fill(target, workload)
        before, begun = process.cpu(), time.monotonic()
        if workload.tool == "h2load":
            figures = load.h2load(target.h2_port, self.keys.first(), seconds, self.other_cores)
        else:
            figures = load.wrk(target.port, workload, self.tokens(workload), seconds, self.other_cores)
        used, wall = process.cpu() - before, min(time.monotonic() - begun, seconds)
        requests, refused = figures["requests"], figures["refused"]
        if not requests or figures["broken"] > requests / 1000:
            raise NoFigure(f"{figures['broken']} errors in {requests} requests")
        if refused < requests if workload.bad else refused > requests / 1000:
            raise NoFigure(f"{refused} of {requests} refused")
        return figures | {"cpu_us": used * 1e6 / requests, "busy": used / wall, "rss_kib": process.memory("VmRSS"),
                          "peak_kib": process.memory("VmHWM")}

    def tokens(self, workload):
        return self.keys.tokens(workload.tokens, workload.bad)

    def fill(self, target, workload):
        """Shows the target every token of the workload once."""
        seen = 0
        while seen < workload.tokens:
            seen += load.wrk(target.port, workload, self.tokens(workload), 2, self.other_cores, seen)["requests"]

    def crowd(self, process, target, workload):
        """How much memory each of many idle connections takes, and (WebSockets) after one message of 1 KiB each."""
        before, count, crowd = process.memory("VmRSS"), self.args.idle, None

        def grown():
            time.sleep(0.5)
            return (process.memory("VmRSS") - before) * 1024 / count

        try:
            crowd = Crowd(target.port, self.keys.first(), count, workload.name == "ws")
            figures = {"idle_bytes": grown()}
            if workload.name == "ws":
                crowd.echo()
                figures["used_bytes"] = grown()
            return figures
        finally:
            if crowd:
                crowd.close()
