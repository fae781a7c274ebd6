#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stream ls, add, info, edit, rm, purge, delete, and what limits do to appends."""

import json
import time

from support import ERROR, NOT_FOUND, USAGE, Case, main, unserved


class Stream(Case):
    def setUp(self):
        super().setUp()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.{n % 2}.x","data":{n}}}\n' for n in range(1, 11)))

    def info(self, name):
        return self.ok("stream", "info", name, "--json").object()

    def test_add_info_ls(self):
        self.ok("stream", "add", "VISITS", "visits.>", "doors.*.opened", "--max-age", "30d", "--max-msgs", "1000", "--max-bytes",
                "64MiB", "--max-msgs-per-subject", "5", "--max-msg-size", "10k", "--discard", "new", "--aggregate", "1",
                "--duplicate-window", "1h", "--allow-rollup", "--deny-delete", "--description", "who came")
        info = self.info("VISITS")
        self.assertEqual((["visits.>", "doors.*.opened"], "30d", 1000, 64 << 20, 5, 10240, "new", 1, "1h", True, True, False, "who came"),
                         tuple(info[name] for name in ("subjects max_age max_msgs max_bytes max_msgs_per_subject max_msg_size "
                                                       "discard aggregate duplicate_window allow_rollup deny_delete deny_purge "
                                                       "description").split()))
        self.assertEqual(["A", "VISITS"], sorted(stream["stream"] for stream in self.ok("stream", "ls", "--json").objects()))
        self.assertEqual(3, len(self.ok("stream", "ls", "--csv").lines()))
        self.assertIn("who came", self.ok("stream", "info", "VISITS").out)
        self.assertEqual("visits", self.aggregate_of("visits.7.came"))

    def aggregate_of(self, subject):
        self.ok("append", subject)
        return self.events(subject)[0].get("aggregate")

    def test_times_to_live(self):
        self.ok("stream", "add", "T", "t.>", "--allow-ttl", "--marker-ttl", "90s")
        self.assertEqual((True, "1m30s"), (self.info("T")["allow_ttl"], self.info("T")["marker_ttl"]))
        self.assertIn("allow-ttl", self.ok("stream", "info", "T").out)
        self.assertNotIn("allow_ttl", self.info("A"))
        self.ok("append", "t.1", "x", "--ttl", "1h")
        self.ok("append", "t.2", "x", "--ttl", "1s")
        self.assertEqual(2, len(self.events("t.>")))
        time.sleep(1.1)
        # A writer that is there, such as a server, leaves a marker in its place.
        self.assertEqual(["t.1"], [event["subject"] for event in self.events("t.>") if event.get("text") == "x"])
        self.fails(USAGE, "append", "a.1.x", "x", "--ttl", "1s")
        self.fails(USAGE, "append", "t.1", "x", "--ttl", "1ms")

    def test_aggregate_tokens(self):
        self.ok("stream", "add", "THREE", "--subjects", "three.>,drei.>", "--aggregate", "3")
        self.ok("stream", "add", "NONE", "none.>", "--aggregate", "0")
        self.assertEqual("three.v1.7", self.aggregate_of("three.v1.7.a.b"))
        self.assertEqual("a.b", self.events("three.>")[0]["type"])
        self.assertIsNone(self.aggregate_of("none.v1.7.a"))
        self.assertEqual("a", self.events("none.>")[0]["type"])
        self.assertIsNone(self.aggregate_of("three.v1.7"))

    def test_refused(self):
        self.fails(ERROR, "stream", "add", "A", "other.>")
        self.fails(ERROR, "stream", "add", "B", "a.1.>", says="A")
        self.fails(USAGE, "stream", "add", "B")
        self.fails(USAGE, "stream", "add", "B", "b..c")
        self.fails(USAGE, "stream", "add", "B.C", "b.>")
        self.fails(USAGE, "stream", "add", "", "b.>")
        self.fails(USAGE, "stream", "add", "x" * 256, "b.>")
        self.fails(USAGE, "stream", "add", "B", "b.>", "--storage", "tape")
        self.fails(USAGE, "stream", "add", "B", "b.>", "--max-age", "-1d")
        self.fails(USAGE, "stream", "add", "B", "b.>", "--max-bytes", "1XB")
        self.fails(NOT_FOUND, "-s", "nowhere", "stream", "add", "B", "b.>")
        for words in (["info", "B"], ["edit", "B", "--force"], ["rm", "B", "--force"], ["purge", "B", "--force"],
                      ["delete", "B", "1", "--force"], ["delete", "A", "99", "--force"], ["delete", "A", "0", "--force"]):
            self.fails(NOT_FOUND, "stream", *words)
        self.fails(USAGE, "stream", "delete", "A", "x", "--force")
        self.fails(USAGE, "stream", "purge", "A", "--seq", "2", "--keep", "1", "--force")

    def test_edit_keeps_what_is_not_given(self):
        self.ok("stream", "edit", "A", "--max-msgs", "4", "--description", "d", "--deny-purge", "--force")
        info = self.info("A")
        self.assertEqual((4, 4, "d", True), (info["messages"], info["max_msgs"], info["description"], info["deny_purge"]))
        self.assertEqual([7, 8, 9, 10], [event["data"] for event in self.events()])
        self.ok("stream", "edit", "A", "--max-msgs", "0", "--no-deny-purge", "--force")
        info = self.info("A")
        self.assertEqual((0, "d", False), (info["max_msgs"], info["description"], info["deny_purge"]))

    def test_dry_run_changes_nothing(self):
        before = self.ok("stream", "info", "A", "--json").out
        self.assertEqual({"would_remove": 10}, self.ok("stream", "purge", "A", "--dry-run", "--json").object())
        self.assertEqual({"would_remove": 3}, self.ok("stream", "purge", "A", "--seq", "4", "--dry-run", "--json").object())
        self.assertEqual({"would_remove": 4},
                         self.ok("stream", "purge", "A", "--subject", "a.1.>", "--keep", "1", "-n", "--json").object())
        self.ok("stream", "delete", "A", "3", "--dry-run")
        self.fails(NOT_FOUND, "stream", "delete", "A", "33", "--dry-run")
        self.ok("stream", "rm", "A", "--dry-run")
        self.ok("stream", "edit", "A", "--max-msgs", "1", "--dry-run")
        self.assertEqual(before, self.ok("stream", "info", "A", "--json").out)

    def test_purge(self):
        self.assertEqual({"removed": 3}, self.ok("stream", "purge", "A", "--seq", "4", "--force", "--json").object())
        self.assertEqual(4, self.info("A")["first_seq"])
        self.assertEqual({"removed": 3}, self.ok("stream", "purge", "A", "--subject", "a.1.>", "--keep", "0", "--force", "--json").object())
        self.assertEqual([4, 6, 8, 10], [event["data"] for event in self.events()])
        self.assertEqual({"removed": 2}, self.ok("stream", "purge", "A", "--keep", "2", "--force", "--json").object())
        self.assertEqual({"removed": 0}, self.ok("stream", "purge", "A", "--seq", "0", "--force", "--json").object())
        self.assertEqual([8, 10], [event["data"] for event in self.events()])
        self.ok("stream", "purge", "A", "--force")
        self.assertEqual((0, 10, 11), tuple(self.info("A")[name] for name in ("messages", "last_seq", "first_seq")))
        receipt = self.append("a.1.x", "{}")
        self.assertEqual((11, 6), (receipt["seq"], receipt["version"]))

    def test_delete_and_erase(self):
        secret = "secret-" + "z" * 40
        receipt = self.append("a.1.x", json.dumps(secret))
        self.ok("stream", "delete", "A", str(receipt["seq"]), "--erase", "--force")
        self.assertEqual([], self.events("--from-seq", receipt["seq"]))
        self.fails(NOT_FOUND, "stream", "delete", "A", str(receipt["seq"]), "--force")
        import os
        for folder, _, files in os.walk(self.path("daybook-store")):
            for name in set(files) - {"commands"}:  # the socket of a server
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(secret.encode(), file.read(), name)

    def test_denied(self):
        self.ok("stream", "edit", "A", "--deny-delete", "--deny-purge", "--force")
        self.assertNotEqual(0, self.run_program("stream", "delete", "A", "1", "--force").status)
        self.assertNotEqual(0, self.run_program("stream", "purge", "A", "--force").status)
        self.assertEqual("10\n", self.ok("read", "--count").out)

    def test_what_consumers_and_copies_go_by_stays(self):
        self.ok("consumer", "add", "A", "worker")
        for name in ("$CONSUMERS", "$sources"):
            for words in (["rm", name], ["purge", name], ["delete", name, "1"], ["edit", name, "--max-msgs", "1"], ["rm", name, "--dry-run"]):
                self.fails(USAGE, "stream", *words, "--force", says="consumers and copies of streams go by it")
        self.assertEqual(["worker"], [consumer["consumer"] for consumer in self.ok("consumer", "ls", "A", "--json").objects()])

    def test_rm_and_made_anew_never_meets_the_predecessor(self):
        self.ok("stream", "rm", "A", "--force")
        self.assertEqual([], self.ok("stream", "ls", "--json").objects())
        self.assertEqual("0\n", self.ok("read", "--count").out)
        receipt = self.append("a.1.x", "{}")
        self.assertEqual((1, 1), (receipt["seq"], receipt["version"]))
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_limits(self):
        self.ok("stream", "add", "L", "l.>", "--max-msg-size", "100", "--max-msgs", "3", "--discard", "new")
        self.fails(ERROR, "append", "l.1.x", "x" * 200)
        for _ in range(3):
            self.ok("append", "l.1.x")
        self.assertEqual("ELIMIT", self.fails(ERROR, "append", "l.1.x", "--json").error()["error"])
        self.ok("stream", "add", "M", "m.>", "--max-msgs-per-subject", "1")
        for n in range(3):
            self.ok("append", "m.1.x", str(n))
        self.assertEqual([2], [event["data"] for event in self.events("m.>")])
        self.assertEqual(3, self.events("m.>")[0]["version"])

    def test_what_aged_is_gone_though_nobody_wrote(self):
        self.ok("stream", "add", "L", "l.>", "--max-age", "1s")
        self.ok("append", "l.1.x", "1")
        time.sleep(1.1)
        self.assertEqual([], self.events("l.>"))
        self.assertEqual("0\n", self.ok("read", "l.>", "--count").out)
        self.assertEqual([], self.events("l.>", "--last-per-subject"))
        self.assertEqual(2, self.ok("append", "l.1.x", "2", "--expect-subject-seq", "0", "--json").object()["version"])
        self.assertEqual([2], [event["data"] for event in self.events("l.>")])

    def test_rollup(self):
        self.ok("stream", "add", "R", "r.>", "--allow-rollup")
        for n in range(3):
            self.ok("append", "r.1.x", str(n))
        self.ok("append", "r.2.x", "9")
        self.ok("append", "r.1.x", "3", "--header", "Nats-Rollup:sub")
        self.assertEqual([9, 3], [event["data"] for event in self.events("r.>")])
        self.ok("append", "r.3.x", "4", "--header", "Nats-Rollup:all")
        self.assertEqual([4], [event["data"] for event in self.events("r.>")])

    @unserved("a server removes what is too old itself, when its time comes")
    def test_counts_of_a_reader_leave_out_what_reads_hide(self):
        """What is older than max_age waits for a writer to remove it, but nobody is told of it any more."""
        self.ok("stream", "add", "S", "s.>", "--max-age", "1500ms")
        self.ok("stream", "add", "T", "t.>")
        for subject in ("s.1.x", "s.2.x", "t.1.x"):
            self.append(subject, "1")
        self.assertEqual(2, self.info("S")["messages"])
        self.assertEqual([1, 1], [row["events"] for row in self.ok("ls", "s.>", "--json").objects()])
        events = self.ok("info", "--json").object()["events"]
        time.sleep(1.6)
        self.assertEqual([], self.events("s.>"))
        info = self.info("S")
        self.assertEqual((0, 0, 3, 2), tuple(info[name] for name in ("messages", "bytes", "first_seq", "last_seq")))
        listed = {row["stream"]: row["messages"] for row in self.ok("stream", "ls", "--json").objects()}
        self.assertEqual((0, 1), (listed["S"], listed["T"]))
        self.assertEqual(events - 2, self.ok("info", "--json").object()["events"])
        self.assertEqual([], self.ok("ls", "s.>", "--json").objects())
        self.assertEqual([], self.ok("ls", "s.>", "--subjects", "--json").objects())
        self.append("s.3.x", "1")
        self.assertEqual(1, self.info("S")["messages"])

    def test_sync_interval_is_visible(self):
        self.ok("stream", "add", "S", "s.>", "--sync-interval", "1s")
        self.assertEqual("1s", self.info("S")["sync_interval"])
        self.assertEqual(1, self.ok("info", "--json").object()["sync_interval_streams"])
        self.assertIn("BEFORE the sync", self.ok("info").out)


if __name__ == "__main__":
    main()
