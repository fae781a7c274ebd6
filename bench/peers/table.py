# SPDX-License-Identifier: Apache-2.0
"""Lay the JSON lines of the harness out as a Markdown table, a line per peer."""
import json
import sys


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def main():
    peers = {}
    columns = []
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            name = f"{row['peer']} {row['version']} ({row['settings']})"
            column = (row["row"], row["clients"], row["unit"])
            if column not in columns:
                columns.append(column)
            peers.setdefault(name, {})[column] = row
    heads = []
    for row, clients, unit in columns:
        heads.append({"append": f"append, {clients} client{'s' if clients > 1 else ''}: {unit}, p50 / p99 µs",
                      "load": "load 10 events: p50 / p99 µs"}.get(row, f"{row}: {unit}"))
    print("| store | " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * len(heads))
    for name, rows in peers.items():
        cells = []
        for column in columns:
            row = rows.get(column)
            if row is None:
                cells.append("-")
            elif column[0] == "load":
                cells.append(f"{short(row['p50_us'])} / {short(row['p99_us'])}")
            elif column[0] == "append":
                cells.append(f"{short(row['value'])} ({short(row['p50_us'])} / {short(row['p99_us'])})")
            else:
                cells.append(short(row["value"]))
        print(f"| {name} | " + " | ".join(cells) + " |")


main()
