#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is a configuration and what is none: judged as nats-server judges it, where there is one to ask."""

import os
import shutil
import subprocess

from support import PROGRAM, UNAVAILABLE, Case, main

# Taken, or refused, by both.
TAKEN = [
    "port: 4222",
    "port=4222",
    "port 4222",
    "{\"port\": 4222}",
    "listen: 127.0.0.1:4222",
    "listen: \"[::1]:4222\"",
    "listen: 4222",
    "host: 0.0.0.0",
    "net: 0.0.0.0",
    "http: 8222",
    "http: \"127.0.0.1:-1\"",
    "http_port: -1",
    "monitor_port: 8222",
    "server_name: a",
    "server_tags: [a, \"b:c\"]",
    "server_tags: x",
    "max_payload: 1MB",
    "max_control_line: 4kb",
    "max_connections: 10",
    "max_subs: 10",
    "ping_interval: \"2m\"",
    "ping_interval: 2s",
    "ping_max: 3",
    "write_deadline: \"2s\"",
    "lame_duck_duration: \"30s\"",
    "debug: true",
    "trace: on",
    "logtime: no",
    "log_file: \"/tmp/x\"",
    "logfile: x",
    "log_size_limit: 10MB",
    "pid_file: x",
    "ports_file_dir: /tmp",
    "prof_port: 0",
    "X: 1\nport: $X",
    "authorization { user: a, password: b }",
    "authorization { user: a, pass: b, timeout: 2 }",
    "authorization { token: abc }",
    "authorization { users: [ {user: a, password: b} ] }",
    "authorization { users = [ {user: a, password: b}\n {user: c, password: d} ] }",
    "authorization { users: [ {user: a, password: b, permissions: { publish: \"a.>\", subscribe: [\"b\", \"c q\"] } } ] }",
    "authorization { users: [ {user: a, password: b, permissions: { publish: {allow: \"a.>\", deny: [x]}, subscribe: {deny: \">\"} } } ] }",
    "authorization { users: [ {user: a, password: b, permissions: { allow_responses: true } } ] }",
    "authorization { users: [ {user: a, password: b, permissions: { allow_responses: {max: 5, expires: \"1m\"} } } ] }",
    "authorization { users: [ {nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4} ] }",
    "authorization { users: [ {user: a, password: b, allowed_connection_types: [STANDARD, WEBSOCKET]} ] }",
    "authorization { default_permissions: { publish: a }, users: [ {user: a, password: b} ] }",
    "ADMIN = { publish = \">\" }\nauthorization { users: [ {user: a, password: b, permissions: $ADMIN} ] }",
    "authorization { user: $2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG, password: b }",
    "jetstream: true",
    "jetstream: enabled",
    "jetstream: \"disabled\"",
    "jetstream {}",
    "jetstream { store_dir: \"/tmp/x\", max_mem: 1GB, max_file: 10GB }",
    "jetstream { domain: hub }",
    "jetstream { limits { max_ack_pending: 10, duplicate_window: \"1m\" } }",
    "leafnodes { listen: \"127.0.0.1:-1\" }",
    "cluster { name: x, listen: 6222 }",
    "cluster { name: x }",
    "websocket { port: -1, no_tls: true }",
    "mqtt { port: 1883 }",
    "gateway { name: A, port: 7222 }",
    "accounts { A { users: [ {user: a, password: b} ], jetstream: enabled } }",
    "accounts { A { users: [ {user: a, password: b} ] }, SYS { users: [ {user: s, password: t} ] } }\nsystem_account: SYS",
    "accounts { $SYS { users: [ {user: s, password: t} ] } }",
    "server_tags: [a\n b\n c]",
    "port: 4222;",
    "port: 4222; host: 0.0.0.0",
    "port: 4222, host: 0.0.0.0",
    "authorization\n{\n user: a\n password: b\n}",
    "authorization {\n user:\n a\n password: b }",
    "# comment\nport: 4222 # more\n// x\nhost: \"0.0.0.0\" // y",
    "server_name: 'a\"b'",
    "{port: 4222}",
    "PORT: 4222",
    "Port: 4222",
    "include ./more.conf",
    "include more.conf",
    "allow_non_tls: true",
    "no_sys_acc: true",
    "disable_sublist_cache: true",
    "connect_error_reports: 5",
    "max_traced_msg_len: 5",
    "trace_verbose: true",
    "system_account: X",
    "ocsp: false",
    "port: -1",
    "port: 0",
    "client_advertise: \"a:1\"",
    "server_name: tru\\x65",
    "server_name: 1.2.3.4",
    "server_name: a\nserver_name: b",
]
REFUSED = [
    "port: \"4222\"",
    "listen: localhost",
    "max_payload: 1.5",
    "max_payload: \"1MB\"",
    "max_payload: 8GB",
    "max_sub_tokens: 300",
    "ping_interval: abc",
    "lame_duck_duration: \"10s\"",
    "lame_duck_grace_period: \"-1s\"",
    "debug: 1",
    "unknown: 1",
    "X: 1",
    "port: $NOPE",
    "authorization { token: abc, user: x }",
    "authorization { token: 123 }",
    "authorization { users: [ {user: a, password: b, permissions: { publish: \"a..b\" } } ] }",
    "authorization { users: [ {user: a, password: b, permissions: { foo: \"a\" } } ] }",
    "authorization { users: [ {password: b} ] }",
    "authorization { users: [ {nkey: UABC} ] }",
    "authorization { users: [ {user: a, password: b, allowed_connection_types: [FOO]} ] }",
    "authorization { foo: 1 }",
    "authorization: { user: a password: b }",
    "jetstream: foo",
    "jetstream { max_mem: \"1G\", max_file: \"10X\" }",
    "jetstream { foo: 1 }",
    "store_dir: /tmp/a\njetstream { store_dir: /tmp/b }",
    "leafnodes { listen: 7422, foo: 1 }",
    "websocket { port: 8080 no_tls: true }",
    "a: [1,2,,3]",
    "server_tags: [a b]",
    "port: 4222 host: 0.0.0.0",
    "port:\n4222",
    "server_name: \"a\\qb\"",
    "server_name: \"open",
    "authorization {",
    "include \"none.conf\"",
    "include: x",
    "tls { cert_file: a }",
    "tls { cert_file: none, key_file: none }",
    "tls { foo: 1 }",
    "operator: x",
    "http: \"127.0.0.1\"",
    "server_name: 12",
    "server_name: 2020",
]
# Judged otherwise on purpose: text, does nats-server 2.9 take it, why we judge otherwise.
OTHERWISE = [
    ("server_name: \"a b\"", True, "newer ones refuse blanks; this one starts and then fails"),
    ("ping_interval: 120", False, "taken for seconds, with a word in the log; it only fails the check there"),
    ("lame_duck_duration: 30", False, "the same"),
    ("no_auth_user: x", True, "no such user: refused at the start there"),
    ("mappings = { foo: bar }", True, "subjects are not mapped"),
    ("accounts { A { users: [ {user: a} ] }, B { users: [ {user: b} ] } }", True, "accounts are not kept apart"),
    ("}", True, "closes nothing"),
    ("port: 4222 }", True, "closes nothing"),
    ("{ port: 4222", True, "is not closed"),
    ("tls {}", True, "has no certificate"),
    ("max_pending: 1KB", True, "no message of max_payload would pass"),
    ("port: 99999", True, "no port: fails at the start there"),
    ("server_name: -", False, "a text is a text"),
    ("server_name: it's", False, "a text is a text"),
]


def find_nats_server():
    named = os.environ.get("DAYBOOK_NATS_SERVER")
    return named or shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")


class Configuration(Case):
    def setUp(self):
        super().setUp()
        if self.run_program("serve", "--check").status == UNAVAILABLE:
            self.skipTest("SKIP: this build has no server")
        self.program = self.path("nats-server")
        os.symlink(os.path.abspath(shutil.which(PROGRAM) or PROGRAM), self.program)
        self.write("more.conf", "max_payload: 5\n")

    def takes(self, program, text):
        self.write("t.conf", text)
        done = subprocess.run([program, "-t", "-c", "t.conf"], cwd=self.directory, env=self.environment, capture_output=True,
                              timeout=60, check=False)
        self.assertIn(done.returncode, (0, 1), f"{text}: {done.stderr}")
        return done.returncode == 0

    def judge(self, program, judge_otherwise):
        for text in TAKEN:
            self.assertTrue(self.takes(program, text), text)
        for text in REFUSED:
            self.assertFalse(self.takes(program, text), text)
        for text, there, why in OTHERWISE:
            self.assertEqual(there != judge_otherwise, self.takes(program, text), f"{text}: {why}")

    def test_ours(self):
        self.judge(self.program, True)

    def test_nats_servers(self):
        real = find_nats_server()
        if real is None:
            self.skipTest("SKIP: there is no nats-server to ask")
        version = subprocess.run([real, "-v"], capture_output=True, timeout=60, check=True).stdout
        if b" v2.9." not in version:
            self.skipTest(f"SKIP: judged by a nats-server 2.9, this one is {version}")
        self.judge(real, False)


if __name__ == "__main__":
    main()
