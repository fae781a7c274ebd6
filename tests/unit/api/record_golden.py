#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a nats-server and writes down what it answered, for test_golden.c:

    record_golden.py /usr/sbin/nats-server golden/nats-server-2.9.txt

Run by hand where requests are added here or another version's answers are wanted; the tests need the files only. A line
is: subject, tab, request, tab, answer. Each version is asked what it knows; what changes from run to run (times, made
names, ids) the test takes from the answer.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time

API = "$JS.API."

# What "stream" means below: STREAM.CREATE of the config's own name.
STREAMS = [
    (209, {"name": "PLAIN"}),
    (209, {"name": "ORDERS", "subjects": ["orders.>", "refunds.*"], "description": "what was <ordered> & paid",
           "max_msgs": 1000, "max_bytes": 1000000, "max_age": 3600000000000, "max_msgs_per_subject": 5, "max_msg_size": 1024,
           "discard": "new", "storage": "memory", "num_replicas": 1, "duplicate_window": 60000000000}),
    (209, {"name": "WORK", "subjects": ["work.*"], "retention": "workqueue", "max_consumers": 3}),
    (209, {"name": "INTEREST", "subjects": ["interest.*"], "retention": "interest", "no_ack": True}),
    (209, {"name": "KV_B", "subjects": ["$KV.B.>"], "max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": True,
           "deny_delete": True, "allow_direct": True, "duplicate_window": 120000000000, "max_msgs": -1, "max_bytes": -1,
           "max_age": 0, "max_msg_size": -1, "num_replicas": 1, "retention": "limits", "storage": "file"}),
    (209, {"name": "AGE", "subjects": ["age.a"], "max_age": 1000000000}),
    (209, {"name": "DENY", "subjects": ["deny.a"], "deny_purge": True, "deny_delete": True, "discard": "new",
           "discard_new_per_subject": True, "max_msgs_per_subject": 1}),
    (209, {"name": "BAD_DIRECT", "subjects": ["b15"], "mirror_direct": True}),
    (209, {"name": "REPUB", "subjects": ["repub.in.>"], "republish": {"src": "repub.in.>", "dest": "repub.out.>", "headers_only": True}}),
    (209, {"name": "REPUB2", "subjects": ["repub2.in.*"], "republish": {"dest": "repub2.out.>"}}),
    (209, {"name": "NUMBERS", "subjects": ["numbers.a"], "max_msgs": 0, "max_bytes": 0, "max_msg_size": 0, "max_consumers": 0}),
    (210, {"name": "NEGATIVE", "subjects": ["negative.a"], "max_msgs": -5}),
    (209, {"NAME": "CASE", "Subjects": ["case.a"], "max_msgs": None}),
    (210, {"name": "META", "subjects": ["meta.a"], "metadata": {"z": "1", "_a": "2", "A": "3"}, "compression": "s2", "first_seq": 100,
           "consumer_limits": {"inactive_threshold": 60000000000, "max_ack_pending": 10}}),
    (210, {"name": "TRANSFORM", "subjects": ["t.in.*"], "subject_transform": {"src": "t.in.*", "dest": "t.done.{{wildcard(1)}}"}}),
    (210, {"name": "PLACED", "subjects": ["placed.a"], "placement": {}}),
    (211, {"name": "TTL", "subjects": ["ttl.a"], "allow_msg_ttl": True, "subject_delete_marker_ttl": 60000000000}),
    (211, {"name": "MARKED", "subjects": ["marked.a"], "subject_delete_marker_ttl": 60000000000}),
    (212, {"name": "ATOMIC", "subjects": ["atomic.a"], "allow_atomic": True}),
    (212, {"name": "ASYNC", "subjects": ["async.a"], "persist_mode": "async"}),
    (209, {"name": "BAD_AGE", "subjects": ["b1"], "max_age": 1000}),
    (212, {"name": "BAD_AGE2", "subjects": ["b1"], "max_age": -1}),
    (209, {"name": "BAD_WINDOW", "subjects": ["b2"], "max_age": 1000000000, "duplicate_window": 2000000000}),
    (209, {"name": "BAD_WINDOW2", "subjects": ["b2"], "duplicate_window": -1}),
    (209, {"name": "BAD_WINDOW3", "subjects": ["b2"], "duplicate_window": 1000}),
    (209, {"name": "BAD_ROLLUP", "subjects": ["b3"], "deny_purge": True, "allow_rollup_hdrs": True}),
    (209, {"name": "BAD_DISCARD", "subjects": ["b4"], "discard_new_per_subject": True}),
    (209, {"name": "BAD_DISCARD2", "subjects": ["b4"], "discard": "new", "discard_new_per_subject": True}),
    (209, {"name": "BAD_SUBJECT", "subjects": ["b5..x"]}),
    (209, {"name": "BAD_SUBJECT2", "subjects": ["b5", "b5"]}),
    (209, {"name": "BAD_SUBJECT3", "subjects": ["b5.*", "b5.x"]}),
    (210, {"name": "BAD_SUBJECT4", "subjects": [">"]}),
    (209, {"name": "BAD_SUBJECT5", "subjects": ["$JS.API.>"]}),
    (212, {"name": "BAD_SUBJECT6", "subjects": ["$SYS.x"]}),
    (209, {"name": "BAD_REPLICAS", "subjects": ["b6"], "num_replicas": 3}),
    (209, {"name": "BAD_REPLICAS2", "subjects": ["b6"], "num_replicas": 7}),
    (209, {"name": "BAD_REPLICAS3", "subjects": ["b6"], "num_replicas": -1}),
    (209, {"name": "BAD_REPUB", "subjects": ["b7.>"], "republish": {"src": "b7.>", "dest": "b7.x.>"}}),
    (209, {"name": "BAD_REPUB2", "subjects": ["b7.>"], "republish": {"src": "b7.>", "dest": "out"}}),
    (209, {"name": "BAD_DESCRIPTION", "subjects": ["b8"], "description": "x" * 4097}),
    (209, {"name": "BAD_SEALED", "subjects": ["b9"], "sealed": True}),
    (211, {"name": "BAD_TTL", "subjects": ["b10"], "subject_delete_marker_ttl": 1000}),
    (210, {"name": "BAD_TRANSFORM", "subjects": ["b11.*"], "subject_transform": {"src": "b11.*", "dest": "x.{{wildcard(2)}}"}}),
    (210, {"name": "BAD_TRANSFORM2", "subjects": ["b11.*"], "subject_transform": {"src": "b11..*", "dest": "x"}}),
    (210, {"name": "BAD_TRANSFORM3", "subjects": ["b11.*"], "subject_transform": {"src": "b11.*", "dest": "x.{{unknown(1)}}"}}),
    (210, {"name": "BAD_PLACED", "subjects": ["b13"], "placement": {"preferred": "x"}}),
    (212, {"name": "BAD_ASYNC", "subjects": ["b14"], "persist_mode": "async", "allow_atomic": True}),
]

# Version, subject, payload (text is sent as it is).
REQUESTS = [
    (209, "INFO", ""),
    *[(version, "STREAM.CREATE." + (config.get("name") or config["NAME"]), config) for version, config in STREAMS],
    (209, "STREAM.CREATE.MISMATCH", {"name": "OTHER", "subjects": ["m"]}),
    (209, "STREAM.CREATE.BROKEN", "{\"name\":"),
    (209, "STREAM.CREATE.BROKEN", {"name": "BROKEN", "max_msgs": "many"}),
    (209, "STREAM.CREATE.BROKEN", {"name": "BROKEN", "retention": "sometimes"}),
    (209, "STREAM.CREATE.BROKEN", {"name": "BROKEN", "max_msg_size": 3000000000}),
    (209, "STREAM.CREATE.BROKEN", {"name": "BROKEN", "max_msgs": 1.5}),
    (212, "STREAM.CREATE.BROKEN", {"name": "BROKEN", "colour": "red"}),
    (209, "STREAM.UPDATE.PLAIN", {"name": "PLAIN", "subjects": ["plain.a"], "max_msgs": 7}),
    (209, "STREAM.UPDATE.PLAIN", {"name": "PLAIN", "storage": "memory"}),
    (209, "STREAM.UPDATE.PLAIN", {"name": "PLAIN", "retention": "workqueue"}),
    (209, "STREAM.UPDATE.DENY", {"name": "DENY", "subjects": ["deny.a"], "deny_purge": True}),
    (209, "STREAM.UPDATE.DENY", {"name": "DENY", "subjects": ["deny.a"], "deny_delete": True}),
    (211, "STREAM.UPDATE.TTL", {"name": "TTL", "subjects": ["ttl.a"]}),
    (209, "STREAM.UPDATE.AGE", {"name": "AGE", "subjects": ["age.a"], "sealed": True}),
    (209, "STREAM.UPDATE.AGE", {"name": "AGE", "subjects": ["age.a"]}),
    (209, "publish:orders.1", "a"),
    (209, "publish:orders.1:Nats-Msg-Id: x", "b"),
    (209, "publish:orders.2:Nats-Msg-Id: x", "b"),
    (209, "publish:orders.3:Nats-Expected-Last-Sequence: 9", "c"),
    (209, "publish:orders.3:Nats-Expected-Last-Subject-Sequence: 9", "c"),
    (209, "publish:orders.3:Nats-Expected-Stream: NO", "c"),
    (209, "publish:orders.3:Nats-Expected-Last-Msg-Id: y", "c"),
    (209, "publish:orders.3:Nats-Rollup: sub", "c"),
    (209, "publish:orders.3", "x" * 1025),
    (209, "STREAM.INFO.ORDERS", ""),
    (209, "STREAM.INFO.ORDERS", {"subjects_filter": "orders.>", "deleted_details": True}),
    (209, "STREAM.INFO.NOT_THERE", ""),
    (209, "STREAM.MSG.GET.ORDERS", {"seq": 1}),
    (209, "STREAM.MSG.GET.ORDERS", {"last_by_subj": "orders.1"}),
    (209, "STREAM.MSG.GET.ORDERS", {"seq": 99}),
    (209, "STREAM.MSG.GET.ORDERS", ""),
    (209, "STREAM.NAMES", ""),
    (209, "STREAM.NAMES", {"subject": "orders.1"}),
    (209, "STREAM.NAMES", {"offset": 100}),
    (209, "STREAM.LIST", {"subject": "orders.1"}),
    (209, "CONSUMER.DURABLE.CREATE.ORDERS.legacy", {"stream_name": "ORDERS", "config": {"durable_name": "legacy", "ack_policy": "explicit"}}),
    (209, "CONSUMER.CREATE.ORDERS.named", {"stream_name": "ORDERS", "config": {"name": "named"}}),
    (209, "CONSUMER.CREATE.ORDERS.both", {"stream_name": "ORDERS", "config": {"name": "both", "durable_name": "both", "description": "d",
        "deliver_policy": "by_start_sequence", "opt_start_seq": 1, "ack_policy": "explicit", "ack_wait": 1000000000, "max_deliver": 5,
        "backoff": [1000000000, 2000000000], "filter_subject": "orders.1", "replay_policy": "original", "sample_freq": "30%",
        "max_waiting": 10, "max_ack_pending": 20, "headers_only": True, "max_batch": 5, "max_expires": 1000000000, "max_bytes": 1000,
        "inactive_threshold": 60000000000, "mem_storage": True, "num_replicas": 1}}),
    (209, "CONSUMER.CREATE.ORDERS", {"stream_name": "ORDERS", "config": {"ack_policy": "none", "deliver_subject": "to.me", "deliver_group": "g",
        "flow_control": True, "idle_heartbeat": 1000000000, "rate_limit_bps": 8000, "deliver_policy": "new"}}),
    (209, "CONSUMER.CREATE.ORDERS.timed", {"stream_name": "ORDERS", "config": {"name": "timed", "deliver_policy": "by_start_time",
        "opt_start_time": "2026-01-02T02:04:05.6789Z", "ack_policy": "all"}}),
    (209, "CONSUMER.CREATE.ORDERS.last", {"stream_name": "ORDERS", "config": {"name": "last", "deliver_policy": "last_per_subject", "filter_subject": "orders.*"}}),
    (210, "CONSUMER.CREATE.ORDERS.many", {"stream_name": "ORDERS", "config": {"name": "many", "filter_subjects": ["orders.1", "orders.2"], "metadata": {"a": "b"}}}),
    (210, "CONSUMER.CREATE.META.limited", {"stream_name": "META", "config": {"name": "limited", "ack_policy": "explicit"}}),
    (211, "CONSUMER.CREATE.ORDERS.group", {"stream_name": "ORDERS", "config": {"name": "group", "ack_policy": "explicit", "priority_groups": ["A"], "priority_policy": "pinned_client"}}),
    (211, "CONSUMER.CREATE.ORDERS.paused", {"stream_name": "ORDERS", "config": {"name": "paused", "pause_until": "2100-01-01T00:00:00Z"}}),
    (209, "CONSUMER.CREATE.ORDERS.b1", {"stream_name": "ORDERS", "config": {"name": "b1", "deliver_policy": "by_start_sequence"}}),
    (209, "CONSUMER.CREATE.ORDERS.b2", {"stream_name": "ORDERS", "config": {"name": "b2", "opt_start_seq": 5}}),
    (209, "CONSUMER.CREATE.ORDERS.b3", {"stream_name": "ORDERS", "config": {"name": "b3", "deliver_policy": "by_start_time"}}),
    (209, "CONSUMER.CREATE.ORDERS.b4", {"stream_name": "ORDERS", "config": {"name": "b4", "deliver_policy": "last_per_subject"}}),
    (209, "CONSUMER.CREATE.ORDERS.b5", {"stream_name": "ORDERS", "config": {"name": "b5", "flow_control": True}}),
    (209, "CONSUMER.CREATE.ORDERS.b6", {"stream_name": "ORDERS", "config": {"name": "b6", "idle_heartbeat": 1000000000}}),
    (209, "CONSUMER.CREATE.ORDERS.b7", {"stream_name": "ORDERS", "config": {"name": "b7", "deliver_subject": "d.*"}}),
    (209, "CONSUMER.CREATE.ORDERS.b8", {"stream_name": "ORDERS", "config": {"name": "b8", "deliver_subject": "orders.7"}}),
    (209, "CONSUMER.CREATE.ORDERS.b9", {"stream_name": "ORDERS", "config": {"name": "b9", "deliver_subject": "d", "idle_heartbeat": 1000}}),
    (209, "CONSUMER.CREATE.ORDERS.b10", {"stream_name": "ORDERS", "config": {"name": "b10", "deliver_subject": "d", "flow_control": True}}),
    (209, "CONSUMER.CREATE.ORDERS.b11", {"stream_name": "ORDERS", "config": {"name": "b11", "backoff": [1, 2, 3], "max_deliver": 2, "ack_policy": "explicit"}}),
    (209, "CONSUMER.CREATE.ORDERS.b12", {"stream_name": "ORDERS", "config": {"name": "b12", "num_replicas": 3}}),
    (209, "CONSUMER.CREATE.ORDERS.b13", {"stream_name": "ORDERS", "config": {"name": "b13", "sample_freq": "often"}}),
    (209, "CONSUMER.CREATE.ORDERS.b14", {"stream_name": "ORDERS", "config": {"name": "b14", "rate_limit_bps": 10}}),
    (209, "CONSUMER.CREATE.ORDERS.b15", {"stream_name": "ORDERS", "config": {"name": "b15", "filter_subject": "elsewhere"}}),
    (209, "CONSUMER.CREATE.ORDERS.b16", {"stream_name": "ORDERS", "config": {"name": "b16", "deliver_subject": "d", "max_waiting": 5}}),
    (209, "CONSUMER.CREATE.ORDERS.b17", {"stream_name": "ORDERS", "config": {"name": "b17", "max_expires": 1000}}),
    (209, "CONSUMER.CREATE.ORDERS.b18", {"stream_name": "ORDERS", "config": {"name": "b18", "description": "x" * 4097}}),
    (209, "CONSUMER.CREATE.WORK.w1", {"stream_name": "WORK", "config": {"name": "w1"}}),
    (209, "CONSUMER.CREATE.WORK.w2", {"stream_name": "WORK", "config": {"name": "w2", "ack_policy": "all"}}),
    (209, "CONSUMER.CREATE.WORK.w3", {"stream_name": "WORK", "config": {"name": "w3", "ack_policy": "explicit", "deliver_policy": "new"}}),
    (210, "CONSUMER.CREATE.ORDERS.b20", {"stream_name": "ORDERS", "config": {"name": "b20", "filter_subject": "orders.1", "filter_subjects": ["orders.2"]}}),
    (210, "CONSUMER.CREATE.ORDERS.b21", {"stream_name": "ORDERS", "config": {"name": "b21", "filter_subjects": ["orders.*", "orders.2"]}}),
    (210, "CONSUMER.CREATE.ORDERS.b22", {"stream_name": "ORDERS", "config": {"name": "b22", "filter_subjects": ["orders.1", ""]}}),
    (211, "CONSUMER.CREATE.ORDERS.b23", {"stream_name": "ORDERS", "config": {"name": "b23", "priority_policy": "overflow"}}),
    (212, "CONSUMER.CREATE.ORDERS.b24", {"stream_name": "ORDERS", "config": {"name": "b24", "priority_groups": ["A"]}}),
    (211, "CONSUMER.CREATE.ORDERS.b25", {"stream_name": "ORDERS", "config": {"name": "b25", "priority_policy": "overflow", "priority_groups": ["?"]}}),
    (212, "CONSUMER.CREATE.ORDERS.b26", {"stream_name": "ORDERS", "config": {"name": "b26", "backoff": [-1]}}),
    (212, "CONSUMER.CREATE.ORDERS.b27", {"stream_name": "ORDERS", "config": {"name": "b27", "ack_wait": -1}}),
    (209, "CONSUMER.DURABLE.CREATE.ORDERS.legacy", {"stream_name": "ORDERS", "config": {"durable_name": "legacy", "ack_policy": "explicit", "max_ack_pending": 5}}),
    (209, "CONSUMER.DURABLE.CREATE.ORDERS.legacy", {"stream_name": "ORDERS", "config": {"durable_name": "legacy", "ack_policy": "all"}}),
    (209, "CONSUMER.DURABLE.CREATE.ORDERS.legacy", {"stream_name": "ORDERS", "config": {"durable_name": "legacy", "ack_policy": "explicit", "deliver_policy": "new"}}),
    (209, "CONSUMER.DURABLE.CREATE.ORDERS.legacy", {"stream_name": "ORDERS", "config": {"durable_name": "legacy", "ack_policy": "explicit", "max_waiting": 7}}),
    (209, "CONSUMER.INFO.ORDERS.legacy", ""),
    (209, "CONSUMER.INFO.ORDERS.nobody", ""),
    (209, "CONSUMER.NAMES.ORDERS", ""),
    (209, "CONSUMER.LIST.WORK", ""),
    (209, "CONSUMER.LIST.ORDERS", ""),
    (209, "CONSUMER.NAMES.WORK", ""),
    (209, "CONSUMER.NAMES.NOT_THERE", ""),
    (209, "CONSUMER.LIST.NOT_THERE", ""),
    (209, "STREAM.LIST", {"offset": 100}),
    (209, "STREAM.PURGE.NOT_THERE", ""),
    (211, "CONSUMER.PAUSE.ORDERS.nobody", ""),
    (211, "CONSUMER.PAUSE.ORDERS.legacy", {"pause_until": "2100-01-01T00:00:00Z"}),
    (211, "CONSUMER.PAUSE.ORDERS.legacy", ""),
    (209, "CONSUMER.DELETE.ORDERS.legacy", ""),
    (209, "STREAM.MSG.DELETE.ORDERS", {"seq": 1}),
    (209, "STREAM.MSG.DELETE.ORDERS", {"seq": 1}),
    (209, "STREAM.INFO.ORDERS", {"deleted_details": True}),
    (209, "STREAM.PURGE.ORDERS", ""),
    (209, "STREAM.PURGE.ORDERS", {"seq": 1, "keep": 1}),
    (209, "STREAM.PURGE.DENY", ""),
    (209, "STREAM.INFO.ORDERS", ""),
    (209, "STREAM.DELETE.ORDERS", ""),
    (209, "STREAM.DELETE.ORDERS", ""),
    (209, "STREAM.NAMES", {"subject": "orders.1"}),
    (209, "STREAM.LIST", {"offset": "no"}),
]


class Client:
    """As much of the protocol as asking takes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(10)
        self.input = self.socket.makefile("rb")
        self.info = json.loads(self.input.readline()[5:])
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB inbox 1\r\nPING\r\n')

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, subject, headers, payload):
        if headers:
            block = ("NATS/1.0\r\n" + headers + "\r\n\r\n").encode()
            self.send(f"HPUB {subject} inbox {len(block)} {len(block) + len(payload)}\r\n".encode() + block + payload + b"\r\n")
        else:
            self.send(f"PUB {subject} inbox {len(payload)}\r\n".encode() + payload + b"\r\n")
        while True:
            words = self.input.readline().decode().split()
            if words[0] in ("MSG", "HMSG"):
                data = self.input.read(int(words[-1]) + 2)[:-2]
                return data[int(words[-2]) if words[0] == "HMSG" else 0:].decode()
            if words[0] == "PING":
                self.send(b"PONG\r\n")
            elif words[0] == "-ERR":
                raise SystemExit(" ".join(words))


def wait_for(port):
    for _ in range(100):
        try:
            return Client(port)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not begin")


def text_of(payload):
    return payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def record(command, path):
    """Ask the server that `command` begins and write its answers into `path`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as store:
        server = subprocess.Popen([*command, "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port), "-n", "golden"],
                                  stderr=subprocess.DEVNULL)
        try:
            client = wait_for(port)
            major, minor = re.match(r"(\d+)\.(\d+)\.", client.info["version"]).groups()
            version = int(major) * 100 + int(minor)
            lines = ["# " + client.info["version"]]
            for since, subject, payload in REQUESTS:
                if version < since:
                    continue
                text = text_of(payload)
                kind, _, rest = subject.partition(":")
                to, _, headers = rest.partition(":") if kind == "publish" else (API + subject, "", "")
                answer = client.ask(to, headers, text.encode())
                lines.append(f"{subject}\t{text}\t{answer}")
        finally:
            server.terminate()
            server.wait()
    with open(path, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    return lines[0][2:], len(lines) - 1


if __name__ == "__main__":
    said, answered = record([sys.argv[1]], sys.argv[2])
    print(f"{sys.argv[2]}: {answered} answers of {said}")
