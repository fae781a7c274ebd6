#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py BUILD: runs gcovr over an instrumented build and prints line and branch coverage by module."""

import collections
import json
import pathlib
import subprocess
import sys


def main() -> int:
    build = pathlib.Path(sys.argv[1])
    root = pathlib.Path(__file__).resolve().parent.parent
    summary = build / "coverage.json"
    subprocess.run(["gcovr", "--root", str(root), "--filter", "src/", "--exclude-unreachable-branches",
                    "--exclude-throw-branches", "--json", str(summary), "--html-details", str(build / "index.html"),
                    str(build)], cwd=root, check=True)
    modules = collections.defaultdict(lambda: [0, 0, 0, 0])
    for file in json.loads(summary.read_text(encoding="utf-8"))["files"]:
        module = modules[pathlib.PurePath(file["file"]).parts[1]]
        for line in file["lines"]:
            if line.get("gcovr/noncode"):
                continue
            module[0] += line["count"] > 0
            module[1] += 1
            for branch in line.get("branches", []):
                module[2] += branch["count"] > 0
                module[3] += 1
    print(f"{'module':<10} {'lines':>14} {'':>7} {'branches':>14}")
    total = [0, 0, 0, 0]
    for name in sorted(modules) + ["all"]:
        hit_lines, lines, hit_branches, branches = modules[name] if name != "all" else total
        if name != "all":
            total = [a + b for a, b in zip(total, modules[name])]
        print(f"{name:<10} {hit_lines:>6}/{lines:<7} {percent(hit_lines, lines)} "
              f"{hit_branches:>6}/{branches:<7} {percent(hit_branches, branches)}")
    print(f"Line by line: {build / 'index.html'}")
    return 0


def percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:6.1f} %" if whole else "     - "


if __name__ == "__main__":
    sys.exit(main())
