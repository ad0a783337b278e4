#!/usr/bin/env python3
"""Counts the instructions that the gate needs for a request, and compares them with recorded.json.

    check.py                     fails if one of the figures is more than 5 % above the recorded one
    check.py --record            measures three times and records the figures
    check.py --profile FOLDER    leaves callgrind's profiles there, one for each workload, for callgrind_annotate

Needs valgrind and a release build. README.md says what is counted and how.
"""

import argparse
import datetime
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import service
from gate import CountedGate, Gate, configure
from keys import Issuer
from workloads import Client, Workloads

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded.json"
# How often each workload is done and counted.
TIMES = {"token_known": 300, "token_new": 100, "bad_signature": 100, "websocket_echo": 600, "body_64k": 100}
# How often it is done before: connections are open, buffers have grown.
WARM = 30
SLACK = 0.05
STARTS = 10
# Ready within 50 ms is what is promised; the bound is one that a busy machine keeps as well.
READY_PROMISE_MS, READY_BOUND_MS = 50, 500


def measured(arguments, configuration, workloads):
    """The instructions of each workload, by request or message."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        with CountedGate(arguments.gate, configuration, arguments.profile or Path(folder)) as gate:
            # What only the first request of all needs would take long to count.
            with Client(gate) as client:
                workloads.token_known(client)()
            gate.tell("instrumentation", "on")
            # Timers tick while nothing happens; a slow machine must not count more of them.
            idle, seconds = gate.counted("idle", lambda: time.sleep(2), 1)
            for name, times in TIMES.items():
                with Client(gate) as client:
                    once = getattr(workloads, name)(client)
                    for _ in range(WARM):
                        once()
                    count, took = gate.counted(name, once, times)
                figures[name] = round((count - idle * took / seconds) / times)
            gate.end()
    return figures


def several(arguments, configuration, workloads):
    """The median of some rounds of each figure; prints how far they lie apart."""
    rounds = [measured(arguments, configuration, workloads) for _ in range(arguments.rounds)]
    figures = {name: round(statistics.median(one[name] for one in rounds)) for name in TIMES}
    if len(rounds) > 1:
        values = {name: [one[name] for one in rounds] for name in TIMES}
        spread = (f"{name} {(max(values[name]) - min(values[name])) / figures[name]:.2%}" for name in TIMES)
        print(f"{len(rounds)} rounds, spread: {', '.join(spread)}")
    return figures


def startup(arguments, configuration, workloads):
    """How long until the gate is ready, what its first request takes longer than the second, and the memory resident between.

    Each is the least of some starts: what is more is the machine's doing.
    """
    starts = []
    for _ in range(STARTS):
        with Gate(arguments.gate, configuration) as gate:
            ready, resident = gate.ready_after(), gate.resident()
            with Client(gate) as client:
                once, times = workloads.token_known(client), [time.perf_counter()]
                for _ in range(2):
                    once()
                    times.append(time.perf_counter())
            gate.end()
        begun, first, second = times
        starts.append((ready * 1000, (2 * first - begun - second) * 1000, resident))
    ready, first, resident = map(min, zip(*starts))
    return {"ready_ms": round(ready, 1), "first_request_ms": round(first, 1), "idle_bytes": resident,
            "binary_bytes": arguments.gate.stat().st_size}


def output(*command):
    """The first line that a command says; that there is no such command, if so."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return f"no {command[0]}"


def surroundings():
    """What the figures depend on besides the source."""
    flags = Path("/proc/cpuinfo").read_text().split() if platform.machine() == "x86_64" else []
    return {
        "architecture": platform.machine(),
        "avx2": "avx2" in flags,
        "valgrind": output("valgrind", "--version"),
        "rustc": output("rustc", "--version"),
        "libc": " ".join(platform.libc_ver()),
    }


def incomparable(recorded):
    """Why figures from here cannot be compared with the recorded ones; None if they can."""
    here = surroundings()
    for key in ("architecture", "avx2"):
        if here[key] != recorded[key]:
            return f"recorded with {key} = {recorded[key]}, this machine has {here[key]}"
    for key in ("valgrind", "rustc", "libc"):
        if here[key] != recorded[key]:
            print(f"note: recorded with {recorded[key]}, here is {here[key]}; that alone may change a figure by some percent")
    return None


def compare(figures, recorded):
    """Prints figure by figure; returns the names of those that are too high, and of those that should be recorded."""
    high, low = [], []
    print(f"{'instructions':<16} {'here':>10} {'recorded':>10}")
    for name, value in figures.items():
        before = recorded.get(name)
        if before is None:
            low.append(name)
            print(f"{name:<16} {value:>10} {'-':>10}")
            continue
        change = value / before - 1
        if abs(change) > SLACK:
            (high if change > 0 else low).append(name)
        print(f"{name:<16} {value:>10} {before:>10} {change:>+8.1%}")
    return high, low


def verdict(figures, recorded):
    """Compares, says what to do about it, and returns whether all is well."""
    high, low = compare(figures, recorded["instructions"])
    if high:
        print(f"FAIL: {', '.join(high)}: more than {SLACK:.0%} above what is recorded. --profile FOLDER and callgrind_annotate "
              "tell where; if it is worth its price, record it and say so in the commit: benches/instructions/check.py --record")
    if low:
        print(f"{', '.join(low)}: more than {SLACK:.0%} below what is recorded, or new. Record it, so that it stays so: "
              "benches/instructions/check.py --record")
    return not high


def instructions(arguments, configuration, workloads, start):
    """Counts, and compares or records; returns whether all is well."""
    if not shutil.which("valgrind") or not shutil.which("vgdb"):
        print("SKIPPED: valgrind is not installed, so no instructions were counted")
        return not arguments.record
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"instructions": {}}
    if arguments.record:
        figures = several(arguments, configuration, workloads)
        compare(figures, recorded["instructions"])
        today = datetime.date.today().isoformat()
        RECORDED.write_text(json.dumps({"date": today, **surroundings(), **start, "instructions": figures}, indent=2) + "\n")
        return True
    if recorded["instructions"] and (why := incomparable(recorded)):
        print(f"SKIPPED: {why}; the figures cannot be compared")
        return True
    return verdict(several(arguments, configuration, workloads), recorded)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = HERE.parent.parent / "target/release/sidegate"
    parser.add_argument("--gate", type=lambda path: Path(path).resolve(), default=default, help="the binary")
    parser.add_argument("--rounds", type=int, help="how often to count; 1, or 3 with --record")
    parser.add_argument("--record", action="store_true", help="write the figures to recorded.json")
    parser.add_argument("--profile", type=Path, help="a folder for callgrind's profiles")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (3 if arguments.record else 1)
    if not arguments.gate.exists():
        parser.error(f"there is no {arguments.gate}: cargo build --release")
    if arguments.profile:
        arguments.profile = arguments.profile.resolve()
        arguments.profile.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder:
        issuer = Issuer()
        configuration = configure(Path(folder), service.start(), issuer)
        workloads = Workloads(issuer, WARM + TIMES["token_new"])
        start = startup(arguments, configuration, workloads)
        print(f"best of {STARTS} starts: ready after {start['ready_ms']} ms, first request {start['first_request_ms']} ms slower than "
              f"the second, {start['idle_bytes'] >> 10} KiB resident; binary: {start['binary_bytes']} bytes")
        well = instructions(arguments, configuration, workloads, start)
    if start["ready_ms"] > READY_BOUND_MS:
        print(f"FAIL: never ready within {READY_BOUND_MS} ms")
        return 1
    if start["ready_ms"] > READY_PROMISE_MS:
        print(f"not ready within the {READY_PROMISE_MS} ms that are promised; on an idle machine that would be a fault")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
