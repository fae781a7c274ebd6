#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""state, diff, why, trace, snapshot."""

from support import NOT_FOUND, USAGE, Case, main


class State(Case):
    def setUp(self):
        super().setUp()
        self.append("orders.1.placed", '{"status":"placed","total":42,"lines":{"a":1}}', "--time", "2026-01-01", "--id", "p",
                    "--correlation", "c")
        self.append("orders.1.paid", '{"status":"paid","lines":{"b":2}}', "--time", "2026-01-03", "--id", "q",
                    "--correlation", "c", "--causation", "p")
        self.append("orders.1.fixed", '{"total":null,"note":"é"}', "--time", "2026-01-02", "--id", "r",
                    "--correlation", "c", "--causation", "p")
        self.append("orders.1.odd", "no json", "--time", "2026-01-04", "--id", "s", "--correlation", "c", "--causation", "q")

    def state(self, *options):
        return self.ok("state", "orders.1", *options, "--json").object()

    def test_state_now(self):
        state = self.state()
        self.assertEqual(["aggregate", "version", "seq", "time", "state"], list(state))
        self.assertEqual({"status": "paid", "lines": {"a": 1, "b": 2}, "note": "é"}, state["state"])
        self.assertEqual(("orders.1", 4, 4), (state["aggregate"], state["version"], state["seq"]))

    def test_state_at_any_past(self):
        self.assertEqual({"status": "placed", "total": 42, "lines": {"a": 1}}, self.state("--at", "1")["state"])
        self.assertEqual((2, "2026-01-03T00:00:00.000000000Z"), (self.state("--at", 2)["version"], self.state("--at", 2)["time"]))
        self.assertEqual("paid", self.state("--at-seq", "2")["state"]["status"])
        # What had happened by the second: the third event, but not the second.
        self.assertEqual({"status": "placed", "lines": {"a": 1}, "note": "é"}, self.state("--at-time", "2026-01-02")["state"])
        self.assertEqual(4, self.state("--known-at", "+1m")["version"])
        self.fails(NOT_FOUND, "state", "orders.1", "--known-at", "-1d")
        self.fails(NOT_FOUND, "state", "orders.1", "--at-time", "2025-01-01")

    def test_not_found(self):
        self.fails(NOT_FOUND, "state", "orders.9")
        self.fails(NOT_FOUND, "state", "orders.1", "--at", "5")
        self.fails(NOT_FOUND, "state", "orders.1", "--at", "0")
        self.fails(NOT_FOUND, "diff", "orders.1", "1", "9")
        self.fails(NOT_FOUND, "why", "orders.1@9")
        self.fails(NOT_FOUND, "why", "nobody")
        self.fails(NOT_FOUND, "snapshot", "show", "orders.1")
        self.fails(NOT_FOUND, "snapshot", "take", "orders.9")
        self.fails(NOT_FOUND, "snapshot", "rm", "orders.1", "--force")

    def test_malformed(self):
        for words in (["state", "orders..1"], ["state", "orders.*"], ["state", "orders.1", "--at", "1", "--at-seq", "1"],
                      ["state", "orders.1", "--at", "-1"], ["state", "orders.1", "--at-time", "x"],
                      ["diff", "orders.1", "x", "1"], ["diff", "orders.1", "1", "-1"], ["diff", "orders.1", "1"],
                      ["why", ""], ["trace", ""], ["snapshot", "take", "orders.*"]):
            self.fails(USAGE, *words)

    def test_history_and_diff(self):
        history = self.ok("state", "orders.1", "--history", "--json").objects()
        self.assertEqual([1, 2, 3, 4], [entry["version"] for entry in history])
        changes = {change["path"]: change for change in history[1]["changes"]}
        self.assertEqual({"path": "/status", "from": "placed", "to": "paid"}, changes["/status"])
        self.assertNotIn("from", changes["/lines/b"])
        self.assertEqual([], history[3]["changes"])
        self.assertEqual(4, len(self.ok("state", "orders.1", "--history").lines()))
        diff = self.ok("diff", "orders.1", "1", "3", "--json").object()
        self.assertEqual({"/status", "/lines/b", "/total", "/note"}, {change["path"] for change in diff["changes"]})
        shown = self.ok("diff", "orders.1", "1", "3").out
        self.assertIn('~ /status "placed" -> "paid"', shown)
        self.assertIn("- /total 42", shown)
        self.assertIn('+ /note "é"', shown)
        self.assertEqual([], self.ok("diff", "orders.1", "2", "2", "--json").object()["changes"])
        self.assertEqual(3, len(self.ok("diff", "orders.1", "0", "1", "--json").object()["changes"]))

    def test_a_chain_longer_than_why_goes_is_told_of(self):
        lines = "".join('{"subject":"a.1.x","id":"e%d","causation":"e%d"}\n' % (i, i - 1) for i in range(1, 1002))
        self.ok("append", "--batch", "-", stdin=lines)
        result = self.ok("why", "e1001")
        self.assertEqual(1000, len(result.out.splitlines()))
        self.assertIn("stopped after 1,000 events: the cause of the last is 'e1'", result.err)
        self.assertEqual("", self.ok("why", "e999").err)

    def test_why_and_trace(self):
        chain = self.ok("why", "orders.1@4", "--json").objects()
        self.assertEqual([("s", 0), ("q", 1), ("p", 2)], [(event["id"], event["depth"]) for event in chain])
        self.assertEqual(chain, self.ok("why", "s", "--json").objects())
        tree = self.ok("trace", "c", "--json").objects()
        self.assertEqual([("p", 0), ("q", 1), ("s", 2), ("r", 1)], [(event["id"], event["depth"]) for event in tree])
        self.assertEqual(4, len(self.ok("trace", "c").lines()))

    def test_snapshots(self):
        taken = self.ok("snapshot", "take", "orders.1", "--json")
        self.assertEqual(4, taken.object()["version"])
        self.assertIn("KV_SNAPSHOTS", taken.err)
        shown = self.ok("snapshot", "show", "orders.1", "--json").object()
        self.assertEqual(self.state()["state"], shown["state"])
        self.assertEqual("2026-01-04T00:00:00.000000000Z", shown["time_max"])
        self.append("orders.1.more", '{"more":1}')
        self.assertEqual(1, self.state()["state"]["more"])
        self.assertEqual("paid", self.state("--at", "2")["state"]["status"])
        self.assertEqual([("orders.1", 4)], [(s["aggregate"], s["version"]) for s in self.ok("snapshot", "ls", "--json").objects()])
        self.assertIn("orders.1", self.ok("snapshot", "ls").out)
        self.assertEqual(5, len(self.events()))
        self.ok("snapshot", "rm", "orders.1", "--force")
        self.assertEqual([], self.ok("snapshot", "ls", "--json").objects())

    def test_snapshots_are_taken_anew_and_pruned(self):
        self.ok("snapshot", "take", "orders.1")
        self.ok("snapshot", "take", "orders.1", "--anew")
        self.assertEqual(2, len(self.ok("kv", "history", "SNAPSHOTS", "orders.1", "--json").objects()))
        self.fails(USAGE, "snapshot", "prune", says="--force")
        self.fails(USAGE, "snapshot", "prune", "a..b", "--force")
        self.assertEqual({"would_remove": 1}, self.ok("snapshot", "prune", "--dry-run", "--json").object())
        self.assertEqual("removed 1 snapshots\n", self.ok("snapshot", "prune", "orders.>", "--force").out)
        self.assertEqual({"removed": 0}, self.ok("snapshot", "prune", "--keep", "3", "--force", "--json").object())
        self.assertEqual({"removed": 1}, self.ok("snapshot", "prune", "--keep", "0", "--force", "--json").object())
        self.assertEqual([], self.ok("snapshot", "ls", "--json").objects())

    def test_purge_removes_the_snapshot_that_folded_it(self):
        self.ok("snapshot", "take", "orders.1")
        self.ok("stream", "delete", "ORDERS", "2", "--force")
        self.assertEqual([], self.ok("snapshot", "ls", "--json").objects())
        self.assertEqual("placed", self.state()["state"]["status"])

    def test_for_people(self):
        out = self.ok("state", "orders.1").out
        self.assertTrue(out.startswith("orders.1  version 4, seq 4, 2026-01-04"))
        self.assertIn('\n  "status": "paid"', out)

    def test_what_cannot_be_folded_is_said(self):
        self.append("orders.2.placed", '{"total":1}')
        self.append("orders.2.noted", "by phone")
        self.append("orders.2.priced", '{"total":1e400}')
        result = self.ok("state", "orders.2")
        self.assertIn("2 events were skipped: their data is no JSON object that can be folded", result.err)
        self.assertIn('"total": 1\n', result.out)


if __name__ == "__main__":
    main()
