#!/usr/bin/env python3
"""Checks that the documents name every reason (with its status) and every metric, and none that does not exist.

Reasons stand in src/denial.rs, metrics in src/telemetry; both are public.
"""

import http
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r'^\s+\w+ = "([a-z_]+)", ([A-Z_]+), ', re.MULTILINE)
# What the Rust crate `http` calls differently from Python.
STATUSES = {"PAYLOAD_TOO_LARGE": 413, "REQUEST_HEADER_FIELDS_TOO_LARGE": 431}
METRIC = re.compile(r"\bsidegate_[a-z_]+[a-z]\b")
SERIES = re.compile(r"_(bucket|sum|count)$")


def reasons():
    """Each reason of the source and its status."""
    rows = ROW.findall((ROOT / "src/denial.rs").read_text())
    return {label: STATUSES.get(name) or int(http.HTTPStatus[name]) for label, name in rows}


def outcomes(page):
    """Each reason of the table under "Outcomes" and its status; None for one that is reserved."""
    section = re.search(r"^## Outcomes\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)[1]
    found = {}
    for line in section.splitlines():
        if line.startswith("| "):
            _, _, statuses, labels, *_ = (cell.strip() for cell in line.split("|"))
            statuses, labels = re.findall(r"\b\d{3}\b", statuses), re.findall(r"`([a-z_]+)`", labels)
            if len(statuses) == 1:
                statuses *= len(labels)
            found.update(zip(labels, map(int, statuses or [200] * len(labels)), strict=True))
    reserved = re.search(r"^These names are reserved.*?\n\n", section, re.MULTILINE | re.DOTALL)
    found.update(dict.fromkeys(re.findall(r"`([a-z_]+)`", reserved[0] if reserved else "")))
    return found


def differences(kind, source, page, where):
    yield from (f"{where} lacks the {kind} {name}" for name in sorted(source - page))
    yield from (f"{where} names the {kind} {name}, which does not exist" for name in sorted(page - source))


def main():
    known = reasons()
    told = outcomes((ROOT / "docs/judging.md").read_text())
    problems = list(differences("reason", set(known), set(told), "docs/judging.md"))
    problems += [f"docs/judging.md: {label} is answered with {known[label]}, not {status}"
                 for label, status in told.items() if status and label in known and known[label] != status]
    exported = set()
    for source in (ROOT / "src/telemetry").rglob("*.rs"):
        if "tests" not in source.stem:
            exported.update(re.findall(r'"(sidegate_[a-z_]+)"', source.read_text()))
    written = {SERIES.sub("", name) for name in METRIC.findall((ROOT / "docs/operations.md").read_text())}
    problems += differences("metric", exported, written, "docs/operations.md")
    for one in problems:
        print(f"FAIL {one}")
    print(f".ci/names.py: {len(known)} reasons, {len(exported)} metrics, {len(problems)} differences")
    return 1 if problems or not known or not exported else 0


if __name__ == "__main__":
    sys.exit(main())
