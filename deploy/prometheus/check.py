#!/usr/bin/env python3
"""The alerts: every metric they name exists in the source, the rules are sound, their tests pass, and fail when a rule is broken."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
METRICS = HERE.parents[1] / "src/telemetry/metrics"
SUFFIXES = ("_bucket", "_sum", "_count")


def unknown(text):
    sources = [METRICS.with_suffix(".rs"), *METRICS.glob("*.rs")]
    known = {name for path in sources for name in re.findall(r'"(sidegate_[a-z_]+)"', path.read_text())}
    named = {re.sub("|".join(f"{s}$" for s in SUFFIXES), "", name) for name in re.findall(r"\bsidegate_[a-z_]+", text)}
    return sorted(named - known)


def promtool(folder):
    check = subprocess.run(["promtool", "check", "rules", folder / "alerts.yml"], capture_output=True, text=True)
    test = subprocess.run(["promtool", "test", "rules", folder / "alerts_test.yml"], capture_output=True, text=True)
    return check.returncode == 0 and test.returncode == 0, check.stdout + check.stderr + test.stdout + test.stderr


def main():
    rules = (HERE / "alerts.yml").read_text()
    if names := unknown(rules):
        sys.exit(f"alerts.yml names metrics that there are not: {', '.join(names)}")
    if not unknown(rules.replace("sidegate_redis_up", "sidegate_redis_upp")):
        sys.exit("a misspelt metric is not noticed")
    if not shutil.which("promtool"):
        sys.exit("promtool is missing: apt-get install prometheus")
    good, output = promtool(HERE)
    if not good:
        sys.exit(output)
    alerts = re.findall(r"alert: (\w+)", rules)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(HERE / "alerts_test.yml", folder)
        for alert in alerts:
            # A rule that never fires must not pass its test.
            broken = re.sub(rf"(alert: {alert}\n\s+expr: )(>-\n\s+)?", r"\1\2vector(0) > 1 and on() ", rules)
            (folder / "alerts.yml").write_text(broken)
            if promtool(folder)[0]:
                sys.exit(f"{alert} is broken, and no test fails")
    print(f"{len(alerts)} alerts: their metrics exist, their tests pass, and fail when a rule is broken")


main()
