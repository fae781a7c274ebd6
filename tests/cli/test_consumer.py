#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""consumer add, ls, info, next, ack, edit, pause, resume, rm: what one run leaves the next one finds."""

from support import ERROR, NOT_FOUND, SERVED, USAGE, Case, main


class Consumer(Case):
    def setUp(self):
        super().setUp()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.{n % 2}.x","data":{n}}}\n' for n in range(1, 7)))

    def add(self, *words, name="c"):
        self.ok("consumer", "add", "A", name, *words)

    def info(self, name="c"):
        return self.ok("consumer", "info", "A", name, "--json").object()

    def next(self, *words, name="c"):
        return [message["data"] for message in self.ok("consumer", "next", "A", name, "--json", *words).objects()]

    def test_add_info_ls(self):
        self.add("--filter", "a.0.>", "--filter", "a.1.x", "--ack-wait", "1m", "--max-deliver", "5", "--backoff", "1s",
                 "--backoff", "1m", "--max-ack-pending", "7", "--in-order", "--headers-only", "--description", "who asks")
        info = self.info()
        self.assertEqual((["a.0.>", "a.1.x"], "1m", 5, ["1s", "1m"], 7, True, True, "who asks", "explicit", "all", 6, 0),
                         tuple(info[name] for name in ("filters ack_wait max_deliver backoff max_ack_pending in_order "
                                                       "headers_only description ack deliver pending delivered").split()))
        self.add(name="b")
        self.assertEqual(["b", "c"], [one["consumer"] for one in self.ok("consumer", "ls", "--json").objects()])
        self.assertEqual(["b", "c"], [one["consumer"] for one in self.ok("consumer", "ls", "A", "--json").objects()])
        self.assertEqual(3, len(self.ok("consumer", "ls", "--csv").lines()))
        self.assertIn("who asks", self.ok("consumer", "info", "A", "c").out)
        self.assertIn("kept per aggregate", self.ok("consumer", "info", "A", "c").out)

    def test_next_acknowledges(self):
        self.add()
        self.assertEqual([1, 2], self.next("--batch", "2"))
        self.assertEqual([3], self.next())
        self.assertEqual(["4"], self.ok("consumer", "next", "A", "c", "--data").lines())
        info = self.info()
        self.assertEqual((4, 4, 0, 2), (info["delivered"], info["floor_seq"], info["ack_pending"], info["pending"]))
        self.assertEqual([5, 6], self.next("--batch", "10"))
        self.assertEqual([], self.next("--timeout", "20ms"))
        message = self.ok("append", "a.9.x", "7", "--json").object()
        found = self.ok("consumer", "next", "A", "c", "--json").object()
        self.assertEqual((message["seq"], 1, 7, 0), (found["seq"], found["delivery_count"], found["delivery"], found["pending"]))

    def test_next_without_a_name(self):
        def data(*words):
            return [message["data"] for message in self.ok("consumer", "next", "A", "--json", *words).objects()]
        self.assertEqual([1, 2], data("--batch", "2"))
        self.assertEqual([1, 2], data("--batch", "2"))
        self.assertEqual([5, 6], data("--batch", "9", "--start-seq", "5"))
        self.assertEqual([5, 6], data("--batch", "9", "--deliver", "last-per-subject"))
        self.assertEqual([2, 4, 6], data("--batch", "9", "--filter", "a.0.x"))
        self.assertEqual([], data("--deliver", "new"))
        self.assertEqual([], self.ok("consumer", "ls", "--json").objects())
        self.fails(USAGE, "consumer", "next", "A", "--nak", says="name one")
        self.add()
        self.fails(USAGE, "consumer", "next", "A", "c", "--deliver", "new", says="leave out")
        self.fails(NOT_FOUND, "consumer", "next", "B")

    def test_answers(self):
        self.add("--ack-wait", "1h")
        self.assertEqual([1, 2, 3, 4], self.next("--batch", "4", "--no-ack"))
        self.assertEqual(4, self.info()["ack_pending"])
        self.ok("consumer", "ack", "A", "c", "1", "3")
        self.fails(NOT_FOUND, "consumer", "ack", "A", "c", "3", says="not pending")
        self.ok("consumer", "ack", "A", "c", "2", "--nak")
        self.ok("consumer", "ack", "A", "c", "4", "--term", "--reason", "no such address")
        self.assertEqual([2, 5, 6], self.next("--batch", "9", "--no-ack"))
        self.ok("consumer", "ack", "A", "c", "5", "--progress")
        self.ok("consumer", "ack", "A", "c", "6", "--nak", "--delay", "1h")
        self.assertEqual([], self.next("--batch", "9"))
        if SERVED:
            return  # a server tells its clients instead of keeping it
        advisory = self.ok("read", "--stream", "$ADVISORIES", "--json").object()
        self.assertEqual(("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.A.c", 4, "no such address"),
                         (advisory["subject"], advisory["data"]["stream_seq"], advisory["data"]["reason"]))

    def test_policies(self):
        self.add("--deliver", "last", name="last")
        self.add("--deliver", "new", name="new")
        self.add("--deliver", "last-per-subject", name="subject")
        self.add("--start-seq", "5", name="seq")
        self.add("--start-time", "-1h", name="time")
        self.ok("append", "a.0.x", "7")
        for name, expected in (("last", [6, 7]), ("new", [7]), ("subject", [5, 6, 7]), ("seq", [5, 6, 7]), ("time", [1, 2, 3, 4, 5, 6, 7])):
            self.assertEqual(len(expected), self.info(name)["pending"])
            self.assertEqual(expected, self.next("--batch", "9", name=name))

    def test_reset(self):
        self.add()
        self.assertEqual([1, 2], self.next("--batch", "2"))
        self.ok("consumer", "reset", "A", "c")
        self.assertEqual([3], self.next("--batch", "1"))  # they were acknowledged
        self.ok("consumer", "reset", "A", "c", "--seq", "1")
        self.assertEqual([1, 2, 3], self.next("--batch", "3"))
        self.assertIn("seq 5", self.ok("consumer", "reset", "A", "c", "--seq", "5").err)
        self.assertEqual([5, 6], self.next("--batch", "9"))
        self.fails(NOT_FOUND, "consumer", "reset", "A", "nobody")

    def test_edit_pause_rm(self):
        self.add()
        self.ok("consumer", "edit", "A", "c", "--filter", "a.1.>", "--max-deliver", "3")
        self.assertEqual((["a.1.>"], 3, 3), tuple(self.info()[name] for name in ("filters", "max_deliver", "pending")))
        self.ok("consumer", "edit", "A", "c", "--no-filter")
        self.assertEqual(6, self.info()["pending"])
        self.ok("consumer", "pause", "A", "c", "+1h")
        self.assertEqual((True, []), (self.info()["paused"], self.next()))
        self.ok("consumer", "resume", "A", "c")
        self.assertEqual((False, [1]), (self.info()["paused"], self.next()))
        self.fails(USAGE, "consumer", "rm", "A", "c")
        self.ok("consumer", "rm", "A", "c", "--dry-run")
        self.ok("consumer", "rm", "A", "c", "--force")
        self.fails(NOT_FOUND, "consumer", "info", "A", "c")
        self.add("--ack", "none", name="c")
        self.assertEqual([1, 2], self.next("--batch", "2"))
        self.ok("stream", "rm", "A", "--force")
        self.assertEqual([], self.ok("consumer", "ls", "--json").objects())

    def test_retention(self):
        self.ok("stream", "add", "JOBS", "jobs.>", "--retention", "workqueue")
        self.assertEqual("workqueue", self.ok("stream", "info", "JOBS", "--json").object()["retention"])
        self.assertIn("workqueue", self.ok("stream", "info", "JOBS").out)
        self.assertEqual("limits", self.ok("stream", "info", "A", "--json").object()["retention"])
        for n in range(3):
            self.ok("append", f"jobs.{n}.asked", str(n))
        self.ok("consumer", "add", "JOBS", "c")
        self.fails(USAGE, "consumer", "add", "JOBS", "d")
        self.ok("consumer", "next", "JOBS", "c", "--batch", "2")
        self.assertEqual([2], [event["data"] for event in self.ok("read", "--stream", "JOBS", "--json").objects()])

    def test_refused(self):
        self.fails(NOT_FOUND, "consumer", "add", "B", "c")
        self.fails(USAGE, "consumer", "add", "A", "c.d")
        self.fails(USAGE, "consumer", "add", "A", "c", "--filter", "b.>", says="b.>")
        self.fails(USAGE, "consumer", "add", "A", "c", "--filter", "a.>", "--filter", "a.1.x")
        self.fails(USAGE, "consumer", "add", "A", "c", "--deliver", "new", "--start-seq", "3")
        self.fails(USAGE, "consumer", "add", "A", "c", "--backoff", "soon")
        self.fails(USAGE, "consumer", "add", "A", "c", "--in-order", "--ack", "none")
        self.fails(USAGE, "consumer", "add", "A", "c", "--max-deliver", "1", "--backoff", "1s", "--backoff", "2s")
        self.fails(NOT_FOUND, "consumer", "next", "A", "c")
        self.add()
        self.fails(ERROR, "consumer", "add", "A", "c", "--ack-wait", "5s", says="another configuration")
        self.fails(USAGE, "consumer", "next", "A", "c", "--batch", "0")
        self.fails(USAGE, "consumer", "next", "A", "c", "--nak", "--term")
        self.fails(USAGE, "consumer", "next", "A", "c", "--delay", "1s")
        self.fails(USAGE, "consumer", "ack", "A", "c", "one")
        self.fails(USAGE, "consumer", "pause", "A", "c", "-1h")
        self.fails(USAGE, "consumer", "ack", "A", "c")


if __name__ == "__main__":
    main()
