#!/usr/bin/env python3
"""Checks that every place which names the version of sidegate, or of Rust, names the same one as Cargo.toml."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
VERSION, RUST = PACKAGE["version"], PACKAGE["rust-version"]

# file, what must be found there (one group: the version), what it must equal
SAME = [
    ("Cargo.lock", r'name = "sidegate"\nversion = "([^"]+)"', VERSION),
    ("CHANGELOG.md", r"^## \[(\d[^\]]*)\]", VERSION),
    ("Dockerfile", r"^ARG VERSION=(\S+)$", VERSION),
    ("deploy/docker-compose.yml", r"image: sidegate:(\S+)", VERSION),
    ("deploy/kubernetes/base/deployment.yaml", r"image: sidegate:(\S+)", VERSION),
    ("deploy/kubernetes/base/kustomization.yaml", r"newTag: (\S+)", VERSION),
    ("deploy/helm/sidegate/Chart.yaml", r"^version: (\S+)", VERSION),
    ("deploy/helm/sidegate/Chart.yaml", r"appVersion: (\S+)", VERSION),
    ("deploy/kubernetes/overlays/production/kustomization.yaml", r"newTag: (\S+)", VERSION),
    ("README.md", r"\bRust (\d+\.\d+)\b", RUST),
    ("CONTRIBUTING.md", r"\bRust (\d+\.\d+)\b", RUST),
]


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def main():
    problems = []
    for name, pattern, wanted in SAME:
        found = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
        if not found:
            problems.append(f"{name}: names no version (looked for {pattern})")
        elif found[1] != wanted:
            problems.append(f"{name}: {found[1]}, but Cargo.toml says {wanted}")
    builder = re.search(r"^FROM rust:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if not builder or numbers(builder[1]) < numbers(RUST):
        problems.append(f"Dockerfile: the builder must be rust:{RUST} or newer")
    for one in problems:
        print(f"FAIL {one}")
    print(f".ci/versions.py: sidegate {VERSION}, Rust {RUST} or newer: {len(SAME) + 1} places, {len(problems)} differ")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
