"""The load generators: wrk and h2load, each with its figures."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from process import pin

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6}


class NoFigure(Exception):
    """A run that says nothing, and why."""


def generate(argv, seconds, cpus):
    """What a load generator printed."""
    try:
        done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=seconds * 3 + 30,
                              preexec_fn=pin(cpus))
    except subprocess.TimeoutExpired:
        raise NoFigure(f"{argv[0]} did not end") from None
    if done.returncode:
        raise NoFigure(f"{argv[0]}: {done.stderr[-300:]}")
    return done.stdout


def wrk(port, workload, tokens, seconds, cpus, skip=0):
    """Requests over HTTP/1.1 with the tokens of a file in turn, after the first `skip` of them."""
    out = generate([shutil.which("wrk"), "-t1", f"-c{workload.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", SCRIPT,
                    f"http://127.0.0.1:{port}", "--", workload.path, tokens, skip], seconds, cpus)
    figures = json.loads(re.search(r"JSON (.*)", out)[1])
    figures["rps"] = figures["requests"] / (figures.pop("us") / 1e6)
    return figures


def h2load(port, token, seconds, cpus):
    """Requests over cleartext HTTP/2; it tells the mean of the latencies, but no percentiles."""
    out = generate([shutil.which("h2load"), "-t1", "-c8", "-m8", "-D", seconds, "-H", f"authorization: Bearer {token}",
                    f"http://127.0.0.1:{port}/"], seconds, cpus)
    counts = re.search(r"requests:.* (\d+) succeeded, (\d+) failed", out)
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", out)
    if not counts or not mean:
        raise NoFigure(f"h2load said: {out[-300:]}")
    return {"requests": int(counts[1]), "refused": int(counts[2]), "broken": 0, "rps": int(counts[1]) / seconds,
            "mean": float(mean[1]) * MICROSECONDS[mean[2]]}
