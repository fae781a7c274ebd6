#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""daybook under the name nats-server gives the answers of JetStream's API that nats-server gave, byte by byte.

The requests and nats-server's answers are those of tests/unit/api (record_golden.py); times, sizes as stored and made names
are masked. What differs on purpose or is not done yet stands in KNOWN.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
API = HERE.parent / "unit" / "api"
sys.path.insert(0, str(API))
import record_golden  # noqa: E402

# Subject, beginning of the version: why ours is another.
KNOWN = {
    ("CONSUMER.CREATE.ORDERS", ""): "a made name is told in the configuration, too",
    ("CONSUMER.NAMES.ORDERS", ""): "made names differ",
    ("CONSUMER.LIST.ORDERS", ""): "made names differ",
    ("STREAM.CREATE.TTL", ""): "no TTL of messages",
    ("STREAM.CREATE.MARKED", ""): "no TTL of messages",
    ("STREAM.UPDATE.TTL", ""): "no TTL of messages",
    ("STREAM.NAMES", "2.12"): "the refused ones are missing",
    ("STREAM.LIST", "2.12"): "the refused ones are missing",
}
MASKS = [
    (re.compile(r'"20\d\d-\d\d-\d\dT[0-9:.]+Z"'), '"TIME"'),
    (re.compile(r'"pause_remaining":\d+'), '"pause_remaining":0'),
    (re.compile(r'"bytes":\d+'), '"bytes":0'),
    (re.compile(r'"consumer_count":\d+'), '"consumer_count":0'),  # the refused one is not counted
    (re.compile(r'"leader":"\w+"'), '"leader":""'),
    (re.compile(r'^(\{"stream":"\w+"), '), r"\1,"),  # before 2.12
]


def masked(text):
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def read_answers(path):
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    return lines[0][2:], [line.split("\t") for line in lines[1:]]


def ask(program, version, work):
    """The answers of daybook that says it is `version`."""
    configuration = work / "announced.conf"
    configuration.write_text(f'announced_version: "{version}"\n', encoding="utf-8")
    link = work / "nats-server"
    if not link.exists():
        link.symlink_to(program)
    answers = work / f"{version}.txt"
    record_golden.record([str(link), "-c", str(configuration)], answers)
    return read_answers(answers)


def is_known(subject, version):
    return any(subject == known and (not of or version.startswith(of)) for known, of in KNOWN)


def compare(program, golden, work):
    version, wanted = read_answers(golden)
    announced, had = ask(program, version, work)
    assert announced == version, announced
    assert len(had) == len(wanted), (len(had), len(wanted))
    wrong = 0
    for (subject, request, want), (our_subject, our_request, have) in zip(wanted, had):
        assert (subject, request) == (our_subject, our_request)
        if masked(want) != masked(have) and not is_known(subject, version):
            wrong += 1
            print(f"{version}: {subject} {request[:200]}\n  want {want}\n  have {have}")
    print(f"{version}: {len(wanted)} answers, {wrong} wrong")
    return wrong


def main():
    program = pathlib.Path(os.environ["DAYBOOK"]).resolve()
    if "serve" not in subprocess.run([program, "help"], capture_output=True, text=True, check=True).stdout:
        print("SKIP: built without the server")
        return 77
    with tempfile.TemporaryDirectory() as work:
        wrong = sum(compare(program, golden, pathlib.Path(work)) for golden in sorted((API / "golden").glob("*.txt")))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
