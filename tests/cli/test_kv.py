#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kv: buckets, revisions, markers, watching."""

import json
import signal
import time

from support import CONFLICT, FINE, NOT_FOUND, USAGE, Case, main


class Bucket(Case):
    def setUp(self):
        super().setUp()
        self.ok("append", "a.1.x")
        self.ok("kv", "add", "b", "--history", "3")

    def put(self, key, value, verb="put", *rest):
        return self.ok("kv", verb, "b", key, value, *rest, "--json").object()["revision"]

    def test_put_get(self):
        self.assertEqual(1, self.put("k", "one"))
        self.assertEqual(2, self.put("k", '{"n": 2}'))
        self.assertEqual('{"n": 2}\n', self.ok("kv", "get", "b", "k").out)
        self.assertEqual('{"n": 2}', self.ok("kv", "get", "b", "k", "--raw").out)
        self.assertEqual("one\n", self.ok("kv", "get", "b", "k", "--revision", "1").out)
        entry = self.ok("kv", "get", "b", "k", "--json").object()
        self.assertEqual(("b", "k", 2, "put", {"n": 2}),
                         tuple(entry[name] for name in ("bucket", "key", "revision", "operation", "data")))
        self.ok("kv", "put", "b", "bytes", "-", stdin=b"\xff\x00")
        self.assertEqual(b"\xff\x00", self.ok("kv", "get", "b", "bytes", "--raw").out_bytes)
        self.ok("kv", "put", "b", "empty")
        self.assertEqual("\n", self.ok("kv", "get", "b", "empty").out)

    def test_create_and_update(self):
        revision = self.put("k", "1", "create")
        self.fails(CONFLICT, "kv", "create", "b", "k", "2")
        error = self.fails(CONFLICT, "kv", "update", "b", "k", "2", "77", "--json").error()
        self.assertEqual((77, revision, []), (error["expected"], error["actual"], error["missed"]))
        error = self.fails(CONFLICT, "kv", "create", "b", "k", "2", "--json").error()
        self.assertEqual([revision], [event["seq"] for event in error["missed"]])
        revision = self.put("k", "2", "update", str(revision))
        self.fails(USAGE, "kv", "update", "b", "k", "3", "-1")
        self.fails(USAGE, "kv", "update", "b", "k", "3")
        self.ok("kv", "del", "b", "k")
        self.put("k", "3", "create")

    def test_del_and_purge(self):
        self.put("k", "1")
        self.put("k", "2")
        self.fails(CONFLICT, "kv", "del", "b", "k", "--revision", "1")
        self.ok("kv", "del", "b", "k", "--revision", "2")
        self.fails(NOT_FOUND, "kv", "get", "b", "k")
        self.assertEqual("1\n", self.ok("kv", "get", "b", "k", "--revision", "1").out)
        operations = [entry["operation"] for entry in self.ok("kv", "history", "b", "k", "--json").objects()]
        self.assertEqual(["put", "put", "delete"], operations)
        self.put("k", "3")
        self.ok("kv", "purge", "b", "k", "--force")
        self.assertEqual(["purge"], [entry["operation"] for entry in self.ok("kv", "history", "b", "k", "--json").objects()])
        self.fails(NOT_FOUND, "kv", "get", "b", "k")

    def test_history_is_bounded(self):
        for n in range(5):
            self.put("k", str(n))
        self.assertEqual([2, 3, 4], [entry["data"] for entry in self.ok("kv", "history", "b", "k", "--json").objects()])
        self.assertEqual(3, len(self.ok("kv", "history", "b", "k").lines()))
        self.fails(NOT_FOUND, "kv", "history", "b", "other")

    def test_values_live_as_long_as_the_bucket_says(self):
        self.ok("kv", "add", "short", "--ttl", "1s")
        self.ok("kv", "put", "short", "k", "1")
        time.sleep(1.1)
        self.fails(NOT_FOUND, "kv", "get", "short", "k")
        self.assertEqual("", self.ok("kv", "keys", "short").out)
        self.ok("kv", "create", "short", "k", "2")

    def test_keys(self):
        for key in ("x.1", "x.2", "y", "gone"):
            self.put(key, "v")
        self.ok("kv", "del", "b", "gone")
        self.assertEqual(["x.1", "x.2", "y"], sorted(self.ok("kv", "keys", "b").lines()))
        self.assertEqual(["x.1", "x.2"], sorted(self.ok("kv", "keys", "b", "x.*").lines()))
        self.assertEqual({"key": "y", "revision": 3}, self.ok("kv", "keys", "b", "y", "--json").object())
        self.assertEqual("key,revision,created", self.ok("kv", "keys", "b", "--csv").lines()[0])

    def test_ls_rm(self):
        self.assertEqual(["b"], [bucket["bucket"] for bucket in self.ok("kv", "ls", "--json").objects()])
        self.assertIn("b", self.ok("kv", "ls").out)
        self.ok("kv", "rm", "b", "--force")
        self.assertEqual([], self.ok("kv", "ls", "--json").objects())
        self.fails(NOT_FOUND, "kv", "get", "b", "k")
        self.fails(NOT_FOUND, "kv", "put", "b", "k", "v")

    def test_refused(self):
        self.fails(NOT_FOUND, "kv", "get", "b", "none")
        self.fails(NOT_FOUND, "kv", "get", "none", "k")
        self.fails(NOT_FOUND, "kv", "rm", "none", "--force")
        self.fails(USAGE, "kv", "add", "bad bucket")
        self.fails(USAGE, "kv", "add", "c", "--history", "65")
        self.fails(USAGE, "kv", "add", "c", "--history", "0")
        self.fails(USAGE, "kv", "put", "b", "k.*", "v")
        self.fails(USAGE, "kv", "put", "b", "", "v")
        self.fails(USAGE, "kv", "history", "b", "k.*")
        self.fails(NOT_FOUND, "-s", "nowhere", "kv", "add", "b")

    def test_watch(self):
        self.put("k", "1")
        self.put("other", "1")
        process = self.start("kv", "watch", "b", "--json")
        self.assertEqual(["k", "other"], sorted(json.loads(line)["key"] for line in self.read_lines(process, 2)))
        self.put("k", "2")
        self.assertEqual(2, json.loads(self.read_lines(process, 1)[0])["data"])
        self.ok("kv", "del", "b", "k")
        self.assertEqual("delete", json.loads(self.read_lines(process, 1)[0])["operation"])
        process.send_signal(signal.SIGINT)
        self.assertEqual(FINE, process.wait(20))

    def test_watch_limit_and_updates_only(self):
        self.put("k", "1")
        self.assertEqual(1, len(self.ok("kv", "watch", "b", "--limit", "1").lines()))
        process = self.start("kv", "watch", "b", "k", "--updates-only", "--limit", "1", "--json")
        self.assertEqual([], self.read_lines(process, 1, timeout=0.5))
        self.put("other", "1")
        self.put("k", "2")
        self.assertEqual(2, json.loads(self.read_lines(process, 1)[0])["data"])
        self.assertEqual(FINE, process.wait(20))


if __name__ == "__main__":
    main()
