#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads ctest's LastTest.log and prints `test: reason` for every line `SKIP: reason` a test printed."""

import re
import sys

TEST = re.compile(r"^\d+/\d+ Test(?:ing)?: (.*)$")
SKIP = re.compile(r"^(?:\[\s*SKIPPED\s*\]|SKIP:)\s*(.*)$")


def main() -> int:
    name = "?"
    seen = set()
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        for line in log:
            if match := TEST.match(line):
                name = match.group(1).strip()
            elif match := SKIP.match(line.strip()):
                reason = match.group(1)
                if (name, reason) in seen or reason.endswith("listed below:"):
                    continue
                seen.add((name, reason))
                print(f"{name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
