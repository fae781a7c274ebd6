# SPDX-License-Identifier: Apache-2.0
"""Lay the JSON lines of bench_endurance out as a table as they come, or draw them: report.py [--svg FILE] < lines"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import chart  # noqa: E402

STATES = (("quiet", "nothing"), ("flush", "a flush"), ("merge", "a merge"), ("flush_and_merge", "both"))


def ms(microseconds):
    value = microseconds / 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def cells(row):
    append, load, follow = row["append"], row["load"], row["follow"]
    amplification = row["disk_mib"] / row["live_mib"] if row["live_mib"] > 0 else 0
    return (f"{row['events_per_second']:>9,.0f} {ms(append['p50']):>7} {ms(append['p99']):>7} {ms(append['p999']):>7} "
            f"{ms(append['max']):>7} {ms(load['p50']):>8} {ms(load['p999']):>7} {ms(follow['p99']):>8} "
            f"{row['memory_mib']:>7.0f} {row['disk_mib']:>7.0f} {amplification:>6.2f} {row['segments']:>5}")


HEAD = (f"{'s':>7} {'events/s':>9} {'append':>7} {'p99':>7} {'p99.9':>7} {'max':>7} {'load p50':>8} {'p99.9':>7} "
        f"{'follow99':>8} {'mem MiB':>7} {'disk':>7} {'/live':>6} {'segs':>5}")


def table(lines):
    print(HEAD, "  (latencies in ms)", flush=True)
    for line in lines:
        row = json.loads(line)
        print(f"{row['at']:>7.0f} {cells(row)}" if "at" in row else f"{'whole':>7} {cells(row)}", flush=True)
        if "whole" not in row:
            continue
        print("\nappends while in the background ran")
        for name, text in STATES:
            part = row[name]
            print(f"  {text:<8} {part['count']:>10,}  p50 {ms(part['p50']):>7}  p99 {ms(part['p99']):>7}  "
                  f"p99.9 {ms(part['p999']):>7}  max {ms(part['max']):>7}")
        print(f"\n{row['flushes']} flushes, {row['merges']} merges, {row['purged']:,} events purged; the longest append "
              f"took {ms(row['append']['max'])} ms")


def draw(lines, path):
    rows = [row for row in map(json.loads, lines) if "at" in row and row["append"]["count"] > 0]
    series = [(name, [(row["at"], max(row[kind][key], 1) / 1000) for row in rows if row[kind]["count"] > 0])
              for name, kind, key in (("append p50", "append", "p50"), ("append p99", "append", "p99"),
                                      ("append p99.9", "append", "p999"), ("append max", "append", "max"),
                                      ("load p50", "load", "p50"), ("load p99.9", "load", "p999"))]
    mean = sum(row["events_per_second"] for row in rows) / len(rows)
    last = rows[-1]
    note = (f"{mean:,.0f} events/s, followers, point loads and purges; at the end {last['memory_mib']:.0f} MiB of memory, "
            f"{last['disk_mib'] / max(last['live_mib'], 1):.2f} bytes on disk per live byte")
    chart.write(path, "Latency under mixed load", note, {"label": "seconds"}, {"label": "ms", "log": True}, series)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--svg":
        draw(sys.stdin, sys.argv[2])
    else:
        table(sys.stdin)


main()
