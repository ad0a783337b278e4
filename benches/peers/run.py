#!/usr/bin/env python3
"""Measures the gate beside other proxies on this machine, and prints tables and ratios. See README.md; `run` prepares Python.

Exit status: 0 when nothing went wrong and every "must" that was measured holds, 1 when not, 2 when something needed is missing.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

try:
    from keys import Keys
except ImportError:
    sys.exit("the Python package cryptography is missing: use benches/peers/run, or install it")
import report
from measure import Bench
from peers import OURS, WORKLOADS, versions
from process import raise_file_limit, stolen

ROOT = Path(__file__).resolve().parents[2]
NAMES = [workload.name for workload in WORKLOADS]
SMOKE = {"idle", "sat", "bad", "h2", "routes", "keep", "ws"}
PACKAGES = {"nginx": "nginx", "wrk": "wrk", "haproxy": "haproxy", "h2load": "nghttp2-client"}


def names(text):
    return set(text.split(","))


def added(text):
    name, _, command = text.partition("=")
    if not command:
        raise argparse.ArgumentTypeError("NAME=COMMAND")
    return name, command


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", default=ROOT / "target/release/sidegate", help="its program (default: target/release/sidegate)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--budget", type=float, default=600, help="seconds after which no run is begun")
    parser.add_argument("--workers", type=int, default=1, help="of each proxy; with more than 1 nothing is pinned")
    parser.add_argument("--workloads", type=names, default=set(NAMES), help=",".join(NAMES))
    parser.add_argument("--only", type=names, help="these targets only, with commas")
    parser.add_argument("--add", type=added, action="append", default=[], metavar="NAME=COMMAND", help="one more target")
    parser.add_argument("--idle", type=int, default=2000, help="connections of keep and ws")
    parser.add_argument("--keys", type=Path, default=ROOT / "target/peers/keys", help="folder of keys and tokens")
    parser.add_argument("--out", type=Path, help="JSON file for every run")
    parser.add_argument("--smoke", action="store_true", help="one short round, to see that everything works")
    args = parser.parse_args()
    if unknown := args.workloads - set(NAMES):
        parser.error(f"no workload {', '.join(unknown)}")
    if args.smoke:
        args.rounds, args.seconds, args.idle, args.workloads = 1, 1, 100, args.workloads & SMOKE
        args.only = args.only or {"nginx", "haproxy-jwt", "envoy-jwt-cache", OURS}
    args.gate = str(Path(args.gate).resolve())
    return args


def missing(args):
    """Tells what is not there, and leaves out what needs it; True when nothing can be measured."""
    absent = [tool for tool in PACKAGES if not shutil.which(tool)]
    if absent:
        print(f"not installed: {', '.join(absent)}; apt-get install -y --no-install-recommends "
              + " ".join(PACKAGES[tool] for tool in absent))
    if "h2load" in absent:
        args.workloads.discard("h2")
    if not shutil.which(args.gate):
        print(f"there is no {args.gate}: cargo build --release, or --gate")
    return not shutil.which(args.gate) or "nginx" in absent or "wrk" in absent


def measure(args):
    """Every run; the bench with its figures."""
    keys = Keys(args.keys)
    for workload in WORKLOADS:
        if workload.name in args.workloads:
            keys.tokens(workload.tokens, workload.bad)
    with tempfile.TemporaryDirectory(prefix="sidegate-peers-") as folder:
        os.chmod(folder, 0o755)    # the workers of an nginx that root starts are somebody else
        bench = Bench(args, keys, Path(folder))
        try:
            bench.everything()
        finally:
            bench.stop_all()
    return bench


def lacking(bench, args):
    """The workloads that have no figure of our gate, though it was to be measured."""
    if args.only and OURS not in args.only:
        return []
    measured = {run["workload"] for run in bench.runs if run["target"].startswith(OURS)}
    return [f"no figure of {OURS}: {name}" for name in NAMES if name in args.workloads - measured]


def conditions(args):
    """Prints, and gives back, where and with what the figures are made."""
    about = {"versions": versions(args.gate), "machine": platform.machine(), "kernel": platform.release(),
             "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
             "workers": args.workers, "seconds": args.seconds, "rounds": args.rounds}
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    alone = args.workers == 1 and about["cores"] > 1
    print(f"{about['cores']} cores ({about['machine']}), "
          + ("each proxy alone on one, load and service on the rest" if alone else "nothing pinned"))
    if about["load"] > 0.3:
        print(f"load average {about['load']:.1f}: other programs are busy here; trust cpu/req, not req/s and latencies")
    return about


def main():
    args = arguments()
    if missing(args):
        return 2
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: sys.exit(1))
    raise_file_limit()
    about = conditions(args)
    begun, (stolen_before, ticks_before) = time.monotonic(), stolen()
    bench = measure(args)
    stolen_after, ticks_after = stolen()
    about |= {"took": round(time.monotonic() - begun), "absent": bench.absent,
              "stolen": (stolen_after - stolen_before) / max(1, ticks_after - ticks_before)}
    report.tables(bench.runs)
    held, counted = report.bars(bench.runs, args.workloads)
    if args.workers != 1:
        print("the bars are meant for one worker")
    if bench.absent:
        print("left out, not installed:", ", ".join(bench.absent))
    bench.problems += lacking(bench, args)
    for problem in bench.problems:
        print("PROBLEM", problem)
    print(f"{about['took']} s; the hypervisor took {about['stolen']:.1%} of the machine's time for others")
    if args.out:
        args.out.write_text(json.dumps(about | {"problems": bench.problems, "runs": bench.runs}, indent=1))
    return 1 if bench.problems or (held < counted and not args.smoke) else 0


if __name__ == "__main__":
    sys.exit(main())
