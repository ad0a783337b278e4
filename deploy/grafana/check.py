#!/usr/bin/env python3
"""The dashboard: every metric and label in it is one that sidegate has, every panel can be read, every expression is PromQL."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
METRICS = HERE.parents[1] / "docs/operations.md"
FAMILY = re.compile(r"^\| `(sidegate_[a-z_]+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
# What Prometheus adds, and what makes a histogram.
ADDED = {"job", "instance", "le"}


def families():
    """Each family with its labels; .ci/names.py holds that table against the source."""
    known = {}
    for name, kind, labels in FAMILY.findall(METRICS.read_text()):
        known[name] = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            known.update({f"{name}{suffix}": known[name] for suffix in ("_bucket", "_sum", "_count")})
    # The process has no labels of its own.
    known.update({name: set() for name in re.findall(r"`(process_[a-z_]+)`", METRICS.read_text())})
    return known


def expressions(dashboard):
    """Every expression, with the panel or variable that it stands in."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for note in dashboard["annotations"]["list"]:
        yield note["name"], note["expr"], ""


def complaints(dashboard, known):
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        yield "two panels have the same id"
    for panel in panels:
        if panel["type"] != "row" and not all(
                (panel.get("title"), panel.get("description"), panel["fieldConfig"]["defaults"].get("unit"))):
            yield f"{panel.get('title')}: a panel has a title, a description and a unit"
    places = [(p["gridPos"]["y"] + dy, p["gridPos"]["x"] + dx) for p in panels
              for dy in range(p["gridPos"]["h"]) for dx in range(p["gridPos"]["w"])]
    if len(places) != len(set(places)):
        yield "panels lie on each other"
    shown = set()
    for where, expression, legend in expressions(dashboard):
        named = re.findall(r"\b((?:sidegate|process)_[a-z_]+)(\{[^}]*\})?", expression)
        if not named:
            yield f"{where}: no metric of ours"
        allowed = set(ADDED)
        for name, selector in named:
            shown.add(re.sub("_(bucket|sum|count)$", "", name))
            if name not in known:
                yield f"{where}: there is no {name}"
                continue
            allowed |= known[name]
            for label in re.findall(r"(\w+)\s*[=!]~?", selector):
                if label not in known[name] | ADDED:
                    yield f"{where}: {name} has no label {label}"
        grouped = [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")]
        for label in map(str.strip, grouped + re.findall(r"\{\{(\w+)\}\}", legend)):
            if label not in allowed:
                yield f"{where}: nothing there has a label {label}"
    ours = {name for name in known if name.startswith("sidegate_")}
    unseen = {re.sub("_(bucket|sum|count)$", "", name) for name in ours} - shown - {"sidegate_jwks_keys_ignored"}
    if unseen:
        yield f"nothing shows {', '.join(sorted(unseen))}"


def unsound(dashboard):
    """What promtool says against the expressions, as rules."""
    rules = [{"record": f"r{number}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
             for number, (_, expression, _) in enumerate(expressions(dashboard))]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rules.yml")
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


MUTATIONS = [
    ("sidegate_tunnels", "sidegate_tunnel"),
    ("decision=\\\"deny\\\"", "verdict=\\\"deny\\\""),
    ("by (code)", "by (status)"),
    ("{{upstream}}", "{{service}}"),
    ('"id": 3,', '"id": 2,'),
    ('"unit": "reqps"', '"unit": ""'),
    ('"y": 1}', '"y": 0}'),
    ("sidegate_spans_total", "sidegate_build_info"),
    ("process_open_fds", "process_open_files"),
]


def main():
    text = (HERE / "sidegate.json").read_text()
    known = families()
    found = list(complaints(json.loads(text), known))
    if found:
        sys.exit("\n".join(found))
    compact = json.dumps(json.loads(text), ensure_ascii=False)
    for before, after in MUTATIONS:
        if before not in compact:
            sys.exit(f"the dashboard does not hold {before} any more: renew the mutation")
        if not list(complaints(json.loads(compact.replace(before, after)), known)):
            sys.exit(f"not noticed: {before} -> {after}")
    if not shutil.which("promtool"):
        sys.exit("promtool is missing: apt-get install prometheus")
    if wrong := unsound(json.loads(text)):
        sys.exit(wrong)
    if not unsound(json.loads(compact.replace("sum by (code)", "sum bye (code)"))):
        sys.exit("an expression that is no PromQL is not noticed")
    count = len(list(expressions(json.loads(text))))
    print(f"{count} expressions: their metrics and labels exist, they are PromQL; "
          f"{len(MUTATIONS)} ways to break the dashboard are noticed")


main()
