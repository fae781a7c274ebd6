#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""machine check, draw, state, history, move."""

import json

from support import CONFLICT, ERROR, NOT_FOUND, USAGE, Case, main

ISSUE = {"machine": "issue", "category": "issues", "initial": "open",
         "transitions": [{"from": "open", "to": "in_progress"}, {"from": "open", "to": "rejected"},
                         {"from": "in_progress", "to": "closed", "guard": "is_tested"}]}


class Machine(Case):
    def setUp(self):
        super().setUp()
        self.file = self.write("issue.json", json.dumps(ISSUE))

    def test_a_machine_is_checked_and_drawn_without_a_store(self):
        self.assertEqual({"machine": "issue", "states": 4, "transitions": 3}, self.ok("machine", "check", self.file, "--json").object())
        self.assertEqual("machine issue: 4 states, 3 transitions\n", self.ok("machine", "check", self.file).out)
        drawn = self.ok("machine", "draw", self.file).out
        self.assertTrue(drawn.startswith("stateDiagram-v2\n"))
        self.assertIn("s0 --> s1: issue.state.changed", drawn)
        self.assertEqual(drawn, self.ok("machine", "draw", self.file, "--json").object()["drawing"])
        self.assertIn("peripheries=2", self.ok("machine", "draw", self.file, "--format", "dot").out)
        self.fails(USAGE, "machine", "draw", self.file, "--format", "png")

    def test_what_is_wrong_in_a_file_is_said(self):
        self.fails(NOT_FOUND, "machine", "check", "nowhere.json", says="nowhere.json")
        self.fails(ERROR, "machine", "check", self.write("bad.json", "{\n x"), says="line 2, column 2")
        self.fails(ERROR, "machine", "check", self.write("odd.json", '{"machine":7}'), says="no text")
        lost = dict(ISSUE, states=["open", "in_progress", "rejected", "closed", "lost"])
        self.assertIn("warning: state 'lost' cannot be reached", self.ok("machine", "check", self.write("l.json", json.dumps(lost))).out)

    def test_moves(self):
        self.append("issues.7.created", '{"title":"x"}')
        self.assertEqual({"aggregate": "issues.7", "version": 1, "state": "open"},
                         self.ok("machine", "state", self.file, "7", "--json").object())
        moved = self.ok("machine", "move", self.file, "7", "in_progress", "--from", "open", "--actor", "alice", "--reason", "mine",
                        "--correlation", "c", "--data", '{"hours":2}', "--json").object()
        self.assertEqual({"aggregate": "issues.7", "version": 2, "state": "in_progress"}, moved)
        self.fails(CONFLICT, "machine", "move", self.file, "7", "rejected", "--from", "open", says="is in 'in_progress', not in 'open'")
        self.fails(CONFLICT, "machine", "move", self.file, "7", "rejected", says="only to 'closed'")
        self.fails(USAGE, "machine", "move", self.file, "7", "nowhere", says="no state")
        self.fails(USAGE, "machine", "move", self.file, "7", "closed", says="guard 'is_tested'")
        refused = self.run_program("machine", "move", self.file, "7", "open", "--json")
        self.assertEqual((CONFLICT, "EREFUSED"), (refused.status, refused.error()["error"]))
        self.ok("machine", "move", self.file, "7", "closed", "--skip-guards")
        self.assertEqual("open", self.ok("machine", "state", self.file, "7", "--at", "1", "--json").object()["state"])
        history = self.ok("machine", "history", self.file, "7", "--json").objects()
        self.assertEqual([("open", "in_progress"), ("in_progress", "closed")], [(move["from"], move["to"]) for move in history])
        self.assertEqual(("alice", "mine", "c", True),
                         tuple(history[0][name] for name in ("actor", "reason", "correlation", "declared")))
        self.assertEqual(["version,time,from,to,actor,reason,", ], self.ok("machine", "history", self.file, "7", "--csv").lines()[:1])
        self.assertEqual(2, self.ok("state", "issues.7", "--json").object()["state"]["hours"])
        self.assertEqual("issues.7.issue.state.changed", self.ok("read", "--last", "1", "--json").object()["subject"])

    def test_not_found(self):
        self.append("issues.7.created", "{}")
        self.fails(NOT_FOUND, "machine", "state", self.file, "8")
        self.fails(NOT_FOUND, "machine", "history", self.file, "8")
        self.fails(USAGE, "machine", "state", self.file, "7.8")
        self.assertEqual([], self.ok("machine", "history", self.file, "7", "--json").objects())


if __name__ == "__main__":
    main()
