#!/usr/bin/env python3
"""Checks the gate between peers that know nothing of it. `run` installs them and calls this.

    run                          all groups, with target/release/sidegate
    run --gate PROGRAM           another build
    run provider tokens          only these groups

Ends with 1 if a check fails.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

import check_bodies
import check_grpc
import check_keys
import check_opaque
import check_provider
import check_service
import check_tokens
from report import Report
from service import Service

ROOT = Path(__file__).resolve().parent.parent.parent
GROUPS = {
    "tokens": check_tokens.run,
    "provider": check_provider.run,
    "opaque": check_opaque.run,
    "keys": check_keys.run,
    "service": check_service.run,
    "grpc": check_grpc.run,
    "bodies": check_bodies.run,
}


class World:
    """What a group of checks finds: the program, the service, a folder of its own, and Node if there is one."""

    def __init__(self, gate, service, node, folder):
        self.gate, self.service, self.node, self.folder = gate, service, node, folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT / "target/release/sidegate"
    parser.add_argument("--gate", type=lambda path: Path(path).resolve(), default=default, help="the program")
    parser.add_argument("--node", type=Path, help="the folder with the peers that run on Node; `run` gives it")
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; default: all")
    arguments = parser.parse_args()
    if not arguments.gate.exists():
        parser.error(f"there is no {arguments.gate}: cargo build --release")
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}; there are: {', '.join(GROUPS)}")

    report = Report()
    with Service() as service:
        for name in arguments.groups or GROUPS:
            report.group(name)
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    GROUPS[name](report, World(arguments.gate, service, arguments.node, Path(folder)))
                except Exception:
                    report.broken(traceback.format_exc())
            print(f"-- {name}: {time.perf_counter() - begun:.1f}s")
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
