#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics read as strictly as Prometheus's text format 0.0.4 is written down, names and units by its conventions, values
against what was done; and docs/reference/metrics.md tells of the same metrics, with the same types and words."""

import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from test_monitor_pages import Server  # noqa: E402

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Malformed(Exception):
    pass


def demand(condition, line):
    if not condition:
        raise Malformed(line)


def read_labels(text, line):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        demand(found and found.group(1) not in labels and not found.group(1).startswith("__"), line)
        labels[found.group(1)] = re.sub(r"\\.", lambda one: ESCAPES[one.group()], found.group(2))
        at = found.end()
        demand(found.group(3) == "" or at < len(text), line)
    return labels


def read_value(text, line):
    demand(re.fullmatch(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN", text), line)
    return float(text)


def parse(text):
    """{name: (type, help, {labels: value})}. Each family is one block: HELP, TYPE, samples; no series twice."""
    families, name = {}, None
    demand(text.endswith("\n"), "the last line has no end")
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            demand(re.fullmatch(NAME, name) and words and name not in families, line)
            line = next(lines, "")
            demand(line.startswith(f"# TYPE {name} "), line)
            kind = line.rsplit(" ", 1)[1]
            demand(kind in ("counter", "gauge", "histogram", "summary", "untyped"), line)
            families[name] = (kind, words, {})
            continue
        found = SAMPLE.fullmatch(line)
        demand(found and found.group(1) == name, line)
        labels = tuple(sorted(read_labels(found.group(2) or "", line).items()))
        demand(labels not in families[name][2], line)
        families[name][2][labels] = read_value(found.group(3), line)
    return families


def check_parser():
    """It refuses what it should."""
    good = '# HELP a_total b c\n# TYPE a_total counter\na_total{x="1\\n\\"",y=""} 1\n'
    assert parse(good)["a_total"][2] == {(("x", '1\n"'), ("y", "")): 1.0}
    for old, new in ((" 1\n", " 1"), ("# TYPE a_total", "# TYPE b"), ("counter", "thing"), ('x="1', "x=1"), ('""', '"'),
                     (',y=""', ',x=""'), ('y=""', 'y="",'), (" 1\n", " one\n"), (" 1\n", " 1\nb 2\n"), (" 1\n", " 1\n\n"),
                     (" b c", ""), ("\\n", "\\t")):
        try:
            parse(good.replace(old, new, 1))
        except Malformed:
            continue
        raise AssertionError(f"{old!r} as {new!r} was taken")


def check_conventions(families):
    for name, (kind, words, series) in families.items():
        assert name.startswith(("daybook_", "process_")), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert words.endswith("."), words
        assert series, f"{name} has no series"
        for value in series.values():
            assert math.isfinite(value) and value >= 0, (name, value)


def check_documentation(families):
    path = HERE.parents[1] / "docs" / "reference" / "metrics.md"
    rows = re.findall(r"^\| `((?:daybook|process)_\w+)`([^|]*)\| (\w+) \| (.*?) \|$", path.read_text(encoding="utf-8"), re.M)
    documented = {name: (kind, words) for name, _, kind, words in rows}
    assert len(documented) == len(rows), "a row is there twice"
    told = {name: (kind, words) for name, (kind, words, _) in families.items()}
    for name in sorted({*documented, *told}):
        assert documented.get(name) == told.get(name), f"{name}: documented {documented.get(name)}, is {told.get(name)}"
    for name, labels, _, _ in rows:
        known = sorted({label for series in families[name][2] for label, _ in series})
        assert sorted(re.findall(r"`(\w+)`", labels)) == known, f"{name}: its labels are {known}"


def work(server):
    """What the numbers below must tell of."""
    client, other = server.client(name="a"), server.client(name="b")
    client.say("SUB x 1\r\n")
    client.sync()
    other.say("PUB x 5\r\nhello\r\n")
    other.sync()
    for subject, body in (
            ("$JS.API.STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["orders.>"]}),
            ("$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail",
             {"stream_name": "ORDERS", "config": {"durable_name": "mail", "ack_policy": "explicit"}})):
        assert '"error"' not in client.ask(subject, body)
    for _ in range(3):
        client.ask("orders.new")
    client.say("SUB in.fetch f\r\n")
    for _ in range(2):
        client.say("PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.mail in.fetch 0\r\n\r\n")
    replies = []
    while len(replies) < 2:
        line = client.line().split()
        if line[0] in (b"MSG", b"HMSG"):
            client.file.read(int(line[-1]) + 2)
            if line[2] == b"f":
                replies.append(line[3].decode())
    assert client.ask(replies[0], "") == "\r\n"  # acknowledged
    client.ask("$JS.API.STREAM.INFO.NONE")


NAMED = 'it"s\\n'  # to be escaped

EXPECTED = {
    "daybook_connections": 2, "daybook_connections_accepted_total": 2, "daybook_slow_consumers_total": 0,
    "daybook_jetstream_streams": 1, "daybook_jetstream_consumers": 1, "daybook_jetstream_messages": 3,
    "daybook_jetstream_api_requests_total": 3, "daybook_jetstream_api_errors_total": 1, "daybook_jetstream_acks_total": 1,
    "daybook_store_poisoned": 0, "daybook_lame_duck": 0,
}
OF_STREAM = {"daybook_stream_messages": 3, "daybook_stream_first_sequence": 1, "daybook_stream_last_sequence": 3}
OF_CONSUMER = {
    "daybook_consumer_pending_messages": 1, "daybook_consumer_ack_pending_messages": 1, "daybook_consumer_deliveries_total": 2,
    "daybook_consumer_ack_floor_sequence": 1, "daybook_consumer_redelivered_messages": 0, "daybook_consumer_given_up_total": 0,
}
AT_LEAST = {
    "daybook_received_messages_total": 8, "daybook_sent_messages_total": 8, "daybook_received_bytes_total": 5,
    "daybook_sent_bytes_total": 5, "daybook_subscriptions": 1, "daybook_store_commits_total": 3, "daybook_store_syncs_total": 1,
    "daybook_store_events": 3, "daybook_store_memory_bytes": 1, "daybook_store_journal_bytes": 1,
    "process_resident_memory_bytes": 1 << 20, "process_start_time_seconds": 1.5e9,
}


def check_values(families):
    def value(name, labels=()):
        return families[name][2][tuple(sorted(labels))]
    stream = (("stream", "ORDERS"),)
    consumer = (*stream, ("consumer", "mail"))
    for expected, labels in ((EXPECTED, ()), (OF_STREAM, stream), (OF_CONSUMER, consumer)):
        for name, number in expected.items():
            assert value(name, labels) == number, (name, value(name, labels), number)
    assert dict(next(iter(families["daybook_server_info"][2])))["server_name"] == NAMED
    for name, number in AT_LEAST.items():
        assert value(name) >= number, (name, value(name), number)


def main():
    program = pathlib.Path(os.environ["DAYBOOK"]).resolve()
    if "serve" not in subprocess.run([program, "help"], capture_output=True, text=True, check=True).stdout:
        print("SKIP: built without the server")
        return 77
    check_parser()
    with tempfile.TemporaryDirectory() as directory:
        link = pathlib.Path(directory) / "nats-server"
        link.symlink_to(program)
        server = Server([str(link), "-js", "-sd", f"{directory}/store", "-n", NAMED], directory, "daybook")
        try:
            work(server)
            status, kind, text = server.fetch("GET /metrics")
            assert (status, kind) == (200, "text/plain"), (status, kind)
            families = parse(text)
            check_conventions(families)
            check_values(families)
            check_documentation(families)
            again = parse(server.fetch("GET /metrics")[2])
            for name, (of, _, series) in families.items():
                for labels, number in series.items():
                    assert of != "counter" or again[name][2][labels] >= number, name
        finally:
            server.stop()
    print(f"{len(families)} metrics")
    return 0


if __name__ == "__main__":
    sys.exit(main())
