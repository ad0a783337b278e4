"""Starts, watches and ends processes, with figures from /proc.

Each process gets a session of its own, so that its children are found by the session's id and nothing else is ever signalled.
"""

import os
import random
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    """A free port below the range from which the kernel takes those of outgoing connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def raise_file_limit():
    """As many open files as this user may have; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pin(cpus):
    """A hook for Popen that keeps the process on `cpus` (None: anywhere)."""
    return (lambda: os.sched_setaffinity(0, cpus)) if cpus else None


def stolen():
    """Ticks that the hypervisor gave to others, and all ticks, since the machine started."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    return fields[7], sum(fields)


class Process:
    """A program with all its children."""

    def __init__(self, argv, log, cpus=None, env=None):
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=os.environ | (env or {}), start_new_session=True, preexec_fn=pin(cpus))

    def alive(self):
        """Whether the program itself still runs."""
        return self.popen.poll() is None

    def _members(self):
        """The process id, and the fields of `stat` after the name, of every living process of the session."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(fields[3]) == self.popen.pid and fields[0] != "Z":
                    yield int(entry), fields

    def cpu(self):
        """Seconds of processor time, in user code and in the kernel, of all threads and children."""
        return sum(int(fields[11]) + int(fields[12]) for _, fields in self._members()) / TICK

    def memory(self, field):
        """The sum in KiB of VmRSS or VmHWM (pages that several share count for each), or of Pss (they count once)."""
        name = "smaps_rollup" if field == "Pss" else "status"
        total = 0
        for pid, _ in self._members():
            try:
                lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
        return total

    def stop(self):
        """Ends it: asked first, then killed."""
        for sign, patience in ((signal.SIGTERM, 4), (signal.SIGKILL, 2)):
            pids = [pid for pid, _ in self._members()]
            asked = [self.popen.pid] if sign == signal.SIGTERM and self.alive() else pids
            for pid in asked:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + patience
            while time.monotonic() < end and any(self._members()):
                self.popen.poll()
                time.sleep(0.02)
        self.popen.poll()
