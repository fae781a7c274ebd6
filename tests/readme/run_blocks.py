#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the shell blocks of documents and compares what they print.

    run_blocks.py [--write] PROGRAM DOCUMENT...

A block fenced as ```console holds commands, `$ ` before each, `> ` before each further line of it, and what they print
(standard output and error as they come). All blocks of a document run in order in one fresh folder, each block in one shell,
with PROGRAM's folder first in PATH. Blocks fenced otherwise are not run.

Where the document says one of these, the program may say another of its kind: a UUID, a time with its zone, a duration or rate
(number and unit). `…` stands for anything within a line, a line of only `…` for any lines.

--write puts what was printed into the document, keeping every expected output that matches.
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile

MARK = "\x02block-mark\x03"
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
MEASURE = re.compile(r"\b\d[\d,.]* ?(?:ns|us|µs|ms|s|min|events/s|commits/s|[KMG]iB|[KMG]i?B/s|[kMG]B/s)(?![\w/])")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def parse(block):
    """[(command, [expected line])] of a block."""
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append(([line[2:]], []))
        elif line.startswith("> ") and steps and not steps[-1][1]:
            steps[-1][0].append(line[2:])
        elif steps:
            steps[-1][1].append(line)
        elif line.strip():
            raise ValueError(f"output before the first command: {line!r}")
    return [("\n".join(command), expected) for command, expected in steps]


def run(steps, folder, environment):
    """What each command printed, as lists of lines."""
    script = "mark() { local status=$?; printf '%s\\n' '" + MARK + "'; return $status; }\n"
    script += "".join(f"{command}\nmark\n" for command, _ in steps)
    done = subprocess.run(["bash", "-c", "exec 2>&1\n" + script], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, timeout=120, check=False)
    text = done.stdout.decode("utf-8", errors="replace")
    parts = text.split(MARK + "\n")
    outputs = [part.splitlines() for part in parts[: len(steps)]]
    return outputs + [["(the shell ended before this command)"]] * (len(steps) - len(outputs))


def normalise(line):
    for pattern, name in ((UUID, "<id>"), (TIME, "<time>"), (MEASURE, "<measure>")):
        line = pattern.sub(name, line)
    return line.rstrip()


def line_matches(expected, actual):
    parts = [re.escape(part) for part in normalise(expected).split("…")]
    return re.fullmatch(".*".join(parts), normalise(actual)) is not None


def matches(expected, actual):
    """Whether the lines are as expected; lines of only `…` swallow any number."""
    if not expected:
        return not actual
    if expected[0].strip() == "…":
        return any(matches(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    return bool(actual) and line_matches(expected[0], actual[0]) and matches(expected[1:], actual[1:])


def check_document(path, environment, write):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    failures = 0
    count = 0
    pieces = []
    at = 0
    with tempfile.TemporaryDirectory(prefix="daybook-readme-") as folder:
        for block in BLOCK.finditer(text):
            steps = parse(block.group(1))
            line = text.count("\n", 0, block.start()) + 2
            lines = []
            for (command, expected), actual in zip(steps, run(steps, folder, environment)):
                count += 1
                lines += ["$ " + command.replace("\n", "\n> ")]
                while expected and not expected[-1].strip() and not (actual and not actual[-1].strip()):
                    expected = expected[:-1]
                if matches(expected, actual):
                    lines += expected
                    continue
                failures += 1
                lines += actual
                if not write:
                    print(f"{path}:{line}: $ {command}")
                    print("\n".join(difflib.unified_diff(expected, actual, "document", "program", lineterm="")))
            pieces += [text[at : block.start()], "```console\n", "\n".join(lines), "\n```"]
            at = block.end()
    if write:
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(pieces) + text[at:])
    print(f"{path}: {count} commands, {failures} {'rewritten' if write else 'print something else'}")
    return failures if not write else 0


def main(arguments):
    write = "--write" in arguments
    program, *documents = [argument for argument in arguments if argument != "--write"]
    environment = dict(os.environ, PATH=os.path.dirname(os.path.abspath(program)) + ":" + os.environ["PATH"], TZ="UTC",
                       LC_ALL="C.UTF-8", COLUMNS="100", NO_COLOR="1")
    environment.pop("DAYBOOK_STORE", None)
    return 1 if sum([check_document(path, environment, write) for path in documents]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
