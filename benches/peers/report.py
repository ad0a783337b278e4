"""What the figures come to: medians by workload, and the ratios that the gate must reach."""

from dataclasses import dataclass
from statistics import median

from peers import FEW, MANY, OURS, WORKLOADS

KIB = 1024


@dataclass(frozen=True)
class Bar:
    """One figure of ours, as a ratio to a peer's or (peer None) by itself, with what it must and what it should be."""
    label: str
    workload: str
    figure: str
    peer: str | None
    must: float
    aim: float
    ours: str = OURS
    scale: float = 1
    more: bool = False             # the higher the better

    def reached(self, value, bar):
        return value >= bar if self.more else value <= bar


BARS = [
    Bar("token seen before: cpu/req against nginx without auth", "sat", "cpu_us", "nginx", 1.15, 0.95),
    Bar("token seen before: cpu/req against HAProxy JWT", "sat", "cpu_us", "haproxy-jwt", 0.42, 0.33),
    Bar("token seen before: cpu/req against Envoy JWT with cache", "sat", "cpu_us", "envoy-jwt-cache", 0.50, 0.40),
    Bar("token never seen before: cpu/req against HAProxy JWT", "cold", "cpu_us", "haproxy-jwt", 0.85, 0.70),
    Bar("token never seen before, 2 workers: req/s against HAProxy JWT", "cold2", "rps", "haproxy-jwt", 1.15, 1.3, more=True),
    Bar("100 000 tokens in turn: cpu/req against HAProxy JWT", "tok100k", "cpu_us", "haproxy-jwt", 0.75, 0.45),
    Bar("bad signature: cpu/req against HAProxy JWT", "bad", "cpu_us", "haproxy-jwt", 0.95, 0.80),
    Bar("h2c: cpu/req against HAProxy JWT", "h2", "cpu_us", "haproxy-jwt", 0.45, 0.36),
    Bar("64 KiB body: cpu/req against nginx without auth", "body64k", "cpu_us", "nginx", 1.0, 0.85),
    Bar("p99 at 8 connections against HAProxy JWT", "lat", "p99", "haproxy-jwt", 1.0, 0.7),
    Bar("10 000 routes instead of 10: cpu/req", "routes", "cpu_us", f"{OURS}-{FEW}", 1.03, 1.00, ours=f"{OURS}-{MANY}"),
    Bar("idle RSS, MiB", "idle", "rss_kib", None, 13, 10, scale=KIB),
    Bar("peak RSS with 64 connections, MiB", "sat", "peak_kib", None, 20, 14, scale=KIB),
    Bar("RSS with 100 000 tokens, MiB", "tok100k", "rss_kib", None, 48, 32, scale=KIB),
    Bar("bytes by idle proxied WebSocket", "ws", "idle_bytes", None, 5000, 3200),
    Bar("bytes by idle keep-alive connection", "keep", "idle_bytes", None, 16000, 2000),
]

# Figure, heading, format; with a spread where that tells something.
COLUMNS = [
    ("cpu_us", "cpu us/req", "{:.1f}", True), ("rps", "req/s", "{:.0f}", True), ("p50", "p50 us", "{:.0f}", False),
    ("p99", "p99 us", "{:.0f}", True), ("mean", "mean us", "{:.0f}", False), ("busy", "cores busy", "{:.2f}", False),
    ("rss_kib", "RSS KiB", "{:.0f}", False), ("pss_kib", "PSS KiB", "{:.0f}", False), ("peak_kib", "peak KiB", "{:.0f}", False),
    ("idle_bytes", "bytes by idle connection", "{:.0f}", False), ("used_bytes", "after a message of 1 KiB", "{:.0f}", False),
]


def values(runs, workload, target, figure):
    """The figure of each round."""
    return {run["round"]: run[figure] for run in runs
            if run["workload"] == workload and run["target"] == target and figure in run}


def spread(numbers):
    """How far the rounds lie apart: (max - min) / median."""
    return f"{(max(numbers) - min(numbers)) / (median(numbers) or 1):.0%}"


def print_row(cells):
    print("| " + " | ".join(cells) + " |")


def tables(runs):
    """Prints one table for each workload: medians over the rounds."""
    for workload in WORKLOADS:
        part = [run for run in runs if run["workload"] == workload.name]
        if not part:
            continue
        columns = [column for column in COLUMNS if any(column[0] in run for run in part)]
        rounds = max(run["round"] for run in part)
        print(f"\n{workload.name}: {workload.meaning}\n")
        heads = [head for figure, head, _, spreads in columns
                 for head in ([head, "spread"] if spreads and rounds > 1 else [head])]
        print_row(["target", *heads])
        print("|---" + "|---:" * len(heads) + "|")
        for target in dict.fromkeys(run["target"] for run in sorted(part, key=lambda run: run["target"])):
            cells = [target]
            for figure, _, shape, spreads in columns:
                numbers = list(values(runs, workload.name, target, figure).values())
                cells.append(shape.format(median(numbers)) if numbers else "-")
                if spreads and rounds > 1:
                    cells.append(spread(numbers) if numbers else "-")
            print_row(cells)


def judge(runs, bar):
    """Median, lowest and highest of the ratio by round; None where the peer was not measured, () where ours was not."""
    ours = values(runs, bar.workload, bar.ours, bar.figure)
    if bar.peer is None:
        ratios = [value / bar.scale for value in ours.values()]
    else:
        peer = values(runs, bar.workload, bar.peer, bar.figure)
        if not peer:
            return None
        ratios = [ours[round_] / peer[round_] for round_ in ours if peer.get(round_)]
    return (median(ratios), min(ratios), max(ratios)) if ratios else ()


def bars(runs, workloads):
    """Prints the ratios beside what they must and should be; gives back how many hold, and of how many."""
    print("\nratio: the median over the rounds, each round by itself (lowest - highest)\n")
    print_row(["", "ratio", "range", "must", "aim", "verdict"])
    print("|---|---:|---:|---:|---:|---|")
    held, counted, left_out = 0, 0, []
    for bar in BARS:
        if bar.workload not in workloads:
            continue
        found = judge(runs, bar)
        if found is None:
            left_out.append(bar.label)
            continue
        counted += 1
        verdict, ratio, span = "NO FIGURE", "-", "-"
        if found:
            middle, low, high = found
            digits = 3 if middle < 10 else 1 if middle < 1000 else 0
            ratio, span = f"{middle:.{digits}f}", f"{low:.{digits}f} - {high:.{digits}f}"
            verdict = "aim" if bar.reached(middle, bar.aim) else "must" if bar.reached(middle, bar.must) else "SHORT"
            held += bar.reached(middle, bar.must)
        sign = ">=" if bar.more else "<="
        print_row([bar.label, ratio, span, f"{sign} {bar.must:g}", f"{sign} {bar.aim:g}", verdict])
    print()
    for label in left_out:
        print(f"no peer to compare with: {label}")
    print(f"{held} of {counted} 'must' hold")
    return held, counted
