#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""append: one event, conditions, duplicates, atomic batches, and what creates a store or a stream."""

import json
import re

from support import CONFLICT, ERROR, FINE, NOT_FOUND, USAGE, Case, main


class OneEvent(Case):
    def test_receipt_has_the_fields_of_the_contract_in_order(self):
        result = self.ok("append", "orders.1.placed", '{"a":1}', "--json")
        self.assertEqual(["stream", "seq", "position", "version", "id", "duplicate"], list(result.object()))
        receipt = result.object()
        self.assertEqual(("ORDERS", 1, 1, False),
                         (receipt["stream"], receipt["seq"], receipt["version"], receipt["duplicate"]))
        self.assertRegex(receipt["id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")

    def test_store_and_stream_created_are_said_on_stderr(self):
        result = self.ok("append", "orders.1.placed", "--quiet")
        self.assertRegex(result.err, r"created store \./daybook-store")
        self.assertRegex(result.err, r"created stream ORDERS")
        self.assertEqual("", self.ok("append", "orders.1.paid").err)

    def test_streams_created_are_said_when_the_append_is_refused_too(self):
        self.append("orders.1.placed")
        result = self.fails(CONFLICT, "append", "seats.1.taken", "--expect-seq", "3")
        self.assertIn("created stream SEATS", result.err)
        batch = '{"subject":"rooms.1.taken","id":"i"}\n{"subject":"rooms.2.taken","id":"i"}\n{"subject":"halls.1.x"}\n'
        result = self.fails(CONFLICT, "append", "--batch", "-", "--json", stdin=batch)
        self.assertEqual(["created stream ROOMS", "created stream HALLS"],
                         [json.loads(line)["note"] for line in result.err.splitlines()[:2]])
        self.assertEqual("", self.ok("append", "seats.1.taken").err)

    def test_the_name_of_an_automatic_stream_may_be_taken(self):
        self.append("orders.1.placed")
        self.fails(NOT_FOUND, "append", "Orders.1.placed",
                   says="no stream captures 'Orders.1.placed', and none is made for it: stream ORDERS exists")
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_every_field_comes_back(self):
        self.append("orders.1.placed", '{"a":1}', "--id", "e-1", "--type", "t y", "--schema", "1.2.0", "--tag", "x:1",
                    "--tag", "y:2", "--header", "Nats-Thing: v:w", "--time", "2026-01-02 03:04:05.5+01:00",
                    "--correlation", "c", "--causation", "k", "--actor", "ann")
        event = self.events()[0]
        recorded = event.pop("recorded")
        self.assertRegex(recorded, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
        position = event.pop("position")
        self.assertGreaterEqual(position, 1)
        self.assertEqual({
            "stream": "ORDERS", "seq": 1, "aggregate": "orders.1", "version": 1, "subject": "orders.1.placed",
            "id": "e-1", "type": "t y", "time": "2026-01-02T02:04:05.500000000Z", "schema": "1.2.0",
            "correlation": "c", "causation": "k", "actor": "ann", "tags": ["x:1", "y:2"],
            "headers": {"Nats-Thing": "v:w"}, "data": {"a": 1}}, event)

    def test_data_from_stdin_absent_and_dash_digit(self):
        self.ok("append", "a.1.x", "-", stdin=b"\x00\xff bytes")
        self.ok("append", "a.1.x")
        self.ok("append", "a.1.x", "-5")
        self.ok("append", "--", "a.1.x", "--not-an-option")
        data, empty, number, text = self.events()
        self.assertEqual("AP8gYnl0ZXM=", data["data_base64"])
        self.assertEqual("", empty["text"])
        self.assertEqual(-5, number["data"])
        self.assertEqual("--not-an-option", text["text"])
        for event in (data, empty, number, text):
            self.assertEqual(1, len({"data", "text", "data_base64"} & set(event)))

    def test_store_is_chosen_by_option_on_either_side_and_by_environment(self):
        self.ok("-s", "one", "append", "a.1.x")
        self.ok("append", "a.1.x", "-s", "one")
        self.ok("append", "a.1.x", "--store=one")
        environment = dict(self.environment, DAYBOOK_STORE=self.path("one"))
        self.ok("append", "a.1.x", environment=environment)
        self.assertEqual("4\n", self.ok("-s", "one", "read", "--count").out)

    def test_same_id_again_is_a_duplicate(self):
        first = self.append("a.1.x", "{}", "--id", "i")
        again = self.append("a.1.x", "{}", "--id", "i")
        self.assertEqual(dict(first, duplicate=True), again)
        other = self.append("a.1.x", "[]", "--id", "i")
        self.assertTrue(other["duplicate"])
        self.assertTrue(other["differs"])
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_no_create_refuses_store_and_stream(self):
        self.fails(NOT_FOUND, "append", "a.1.x", "--no-create", says="no store")
        self.ok("append", "a.1.x")
        self.fails(NOT_FOUND, "append", "b.1.x", "--no-create")
        self.assertEqual(["A"], [stream["stream"] for stream in self.ok("stream", "ls", "--json").objects()])

    def test_read_only_refuses(self):
        self.fails(ERROR, "append", "a.1.x", "--read-only")
        self.ok("append", "a.1.x")
        self.fails(ERROR, "append", "a.1.x", "--read-only", "--json")
        self.assertEqual("1\n", self.ok("--read-only", "read", "--count").out)


class Conditions(Case):
    def setUp(self):
        super().setUp()
        for name in ("placed", "paid", "shipped"):
            self.append(f"orders.1.{name}", json.dumps({"n": name}), "--tag", "order:1")
        self.append("orders.2.placed", "{}")

    def test_version(self):
        result = self.fails(CONFLICT, "append", "orders.1.x", "--expect-version", "1", "--json")
        error = result.error()
        self.assertEqual(("ECONFLICT", 1, 3), (error["error"], error["expected"], error["actual"]))
        self.assertEqual([2, 3], [event["version"] for event in error["missed"]])
        self.assertEqual("paid", error["missed"][0]["data"]["n"])
        self.assertEqual(4, self.append("orders.1.x", "{}", "--expect-version", "3")["version"])

    def test_version_from_the_future_and_of_a_new_aggregate(self):
        error = self.fails(CONFLICT, "append", "orders.1.x", "--expect-version", "9", "--json").error()
        self.assertEqual((9, 3, []), (error["expected"], error["actual"], error["missed"]))
        error = self.fails(CONFLICT, "append", "orders.1.x", "--expect-version", str(2**64 - 1), "--json").error()
        self.assertEqual(2**64 - 1, error["expected"])
        self.append("orders.3.placed", "{}", "--expect-version", "0")
        self.fails(CONFLICT, "append", "orders.3.placed", "--expect-version", "0")

    def test_stream_seq(self):
        error = self.fails(CONFLICT, "append", "orders.1.x", "--expect-seq", "2", "--json").error()
        self.assertEqual((2, 4), (error["expected"], error["actual"]))
        self.assertEqual([3, 4], [event["seq"] for event in error["missed"]])
        self.append("orders.1.x", "{}", "--expect-seq", "4")

    def test_subject_seq_of_the_subject_and_of_a_filter(self):
        self.append("orders.1.placed", "{}", "--expect-subject-seq", "1")
        error = self.fails(CONFLICT, "append", "orders.1.placed", "--expect-subject-seq", "1", "--json").error()
        self.assertEqual((1, 5, [5]), (error["expected"], error["actual"], [event["seq"] for event in error["missed"]]))
        error = self.fails(CONFLICT, "append", "orders.9.x", "--expect-subject-seq", "orders.1.>=2", "--json").error()
        self.assertEqual([3, 5], [event["seq"] for event in error["missed"]])
        self.append("orders.9.x", "{}", "--expect-subject-seq", "orders.1.*=5", "--expect-subject-seq", "orders.77.>=0")

    def test_fail_if(self):
        error = self.fails(CONFLICT, "append", "orders.1.x", "--fail-if", "type=paid,shipped tag=order:1", "--after", "1",
                           "--json").error()
        self.assertEqual(["paid", "shipped"], [event["type"] for event in error["missed"]])
        last = error["missed"][-1]["position"]
        self.assertEqual((1, last), (error["expected"], error["actual"]))
        self.append("orders.1.x", "{}", "--fail-if", "type=paid,shipped tag=order:1", "--after", str(last))
        self.fails(CONFLICT, "append", "orders.1.x", "--fail-if", "type=nothing; subject=orders.2.>")
        self.append("orders.1.x", "{}", "--fail-if", "type=placed tag=other:7")
        self.fails(CONFLICT, "append", "orders.1.x", "--fail-if", 'type="placed" tag="order:1"')

    def test_people_see_what_they_missed(self):
        result = self.fails(CONFLICT, "append", "orders.1.x", "--expect-version", "2")
        self.assertIn("version 3, expected 2", result.err)
        self.assertIn("orders.1.shipped", result.err)
        self.assertNotIn("orders.1.paid", result.err)

    def test_nothing_is_written_when_a_condition_fails(self):
        self.fails(CONFLICT, "append", "new.1.x", "--expect-version", "3")
        self.assertEqual("4\n", self.ok("read", "--count").out)

    def test_malformed_conditions(self):
        for options in (["--expect-version", "-1"], ["--expect-version", "x"], ["--expect-seq", "1.5"],
                        ["--expect-seq", "18446744073709551616"], ["--expect-subject-seq", "a.>"],
                        ["--expect-subject-seq", "a..b=3"], ["--expect-subject-seq", "=-1"], ["--fail-if", ""],
                        ["--fail-if", "kind=x"], ["--fail-if", "type=a;"], ["--fail-if", 'type="a'],
                        ["--fail-if", "subject=a..b"], ["--fail-if", "type="], ["--after", "3"]):
            self.fails(USAGE, "append", "orders.1.x", *options)

    def test_values_with_blanks_stand_in_quotes(self):
        self.append("orders.1.x", None, "--tag", "group:Group 3", "--type", "a, \"b\"; c")
        self.fails(USAGE, "append", "orders.1.y", "--fail-if", "tag=group:Group 3",
                   says="values with blanks in double quotes")
        self.fails(CONFLICT, "append", "orders.1.y", "--fail-if", 'tag="group:Group 3" type=z,"a, \\"b\\"; c"')
        self.ok("append", "orders.1.y", "--fail-if", 'tag="group:Group 3" type="a"')


class Batch(Case):
    def test_one_atomic_batch_over_streams(self):
        lines = ['{"subject":"a.1.x","data":{"n":1},"id":"one"}', "",
                 '{"subject":"b.1.x","text":"plain","tags":["t"],"headers":{"H":["1","2"]}}',
                 '{"subject":"a.1.x","data_base64":"/wA=","time":"2026-01-01","unknown":{"deep":[1]},"seq":99}']
        result = self.ok("append", "--batch", self.write("b", "\n".join(lines)), "--json")
        self.assertEqual([("A", 1), ("B", 1), ("A", 2)], [(r["stream"], r["seq"]) for r in result.objects()])
        events = self.events()
        self.assertEqual({"n": 1}, events[0]["data"])
        self.assertEqual({"H": ["1", "2"]}, events[1]["headers"])
        self.assertEqual("plain", events[1]["text"])
        self.assertEqual("/wA=", events[2]["data_base64"])
        self.assertEqual("2026-01-01T00:00:00.000000000Z", events[2]["time"])

    def test_what_read_prints_can_be_appended(self):
        self.append("a.1.x", '{"n": 1.50}', "--tag", "t", "--header", "H:v", "--actor", "ann", "--time", "2026-01-01")
        self.append("a.1.x", "text")
        printed = self.ok("read", "--json").out
        self.ok("-s", "copy", "append", "--batch", "-", stdin=printed)
        copied = self.ok("-s", "copy", "read", "--json").out
        without = lambda text: re.sub(r'"(recorded|position)":("[^"]*"|\d+),', "", text)
        self.assertEqual(without(printed), without(copied))

    def test_malformed_line_writes_nothing_and_is_named(self):
        for line, column, why in (('{"subject":"a.1.x","data":}', 27, "JSON"), ("nonsense", 1, "object"),
                                  ('{"data":1}', 1, "subject"), ('{"subject":"a.*.x"}', 12, "wildcards"),
                                  ('{"subject":"a..x"}', 12, "subject"), ('{"subject":5}', 12, "string"),
                                  ('{"subject":"a.1.x","time":"soon"}', 27, "time"),
                                  ('{"subject":"a.1.x","data":1,"text":"x"}', 1, "more than one"),
                                  ('{"subject":"a.1.x","data_base64":"A"}', 34, "base64"),
                                  ('{"subject":"a.1.x","tags":"t"}', 27, "tags"),
                                  ('{"subject":"a.1.x","headers":[]}', 30, "headers"),
                                  ('{"subject":"a.1.x","text":"\\ud800"}', 27, "surrogate"),
                                  ('{"subject":"a.1.x"} x', 21, "behind"),
                                  ('{"subject":"a.1.x","subject":"a.1.y"}', 20, "twice")):
            batch = '{"subject":"a.1.x"}\n' + line + "\n"
            result = self.fails(ERROR, "append", "--batch", "-", "--json", stdin=batch, says="line 2")
            self.assertEqual((2, column), (result.error()["line"], result.error()["column"]), line)
            self.assertIn(why, result.error()["message"])
        self.fails(NOT_FOUND, "read")  # not even a store was made

    def test_invalid_utf8_and_control_characters(self):
        self.fails(ERROR, "append", "--batch", "-", stdin=b'{"subject":"a.1.x","text":"\xff"}\n', says="UTF-8")
        self.fails(ERROR, "append", "--batch", "-", stdin=b'{"subject":"a.1.x","text":"\x01"}\n', says="control")

    def test_ids_mixed(self):
        self.append("a.1.x", "{}", "--id", "old")
        mixed = '{"subject":"a.1.x","id":"old","data":{}}\n{"subject":"a.1.x","id":"new"}\n'
        self.fails(CONFLICT, "append", "--batch", "-", stdin=mixed)
        twice = '{"subject":"a.1.x","id":"n"}\n{"subject":"a.1.x","id":"n"}\n'
        self.assertEqual("EMIXED", self.fails(CONFLICT, "append", "--batch", "-", "--json", stdin=twice).error()["error"])
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_batch_all_stored_is_a_duplicate(self):
        batch = '{"subject":"a.1.x","id":"1"}\n{"subject":"a.1.x","id":"2"}\n'
        first = self.ok("append", "--batch", "-", "--json", stdin=batch).objects()
        again = self.ok("append", "--batch", "-", "--json", stdin=batch).objects()
        self.assertEqual([dict(receipt, duplicate=True) for receipt in first], again)

    def test_condition_of_a_batch(self):
        self.append("a.1.x")
        self.fails(CONFLICT, "append", "--batch", "-", "--expect-version", "0", stdin='{"subject":"a.1.y"}\n')
        self.ok("append", "--batch", "-", "--expect-version", "1", stdin='{"subject":"a.1.y"}\n{"subject":"a.1.z"}\n')

    def test_too_many_events(self):
        self.fails(ERROR, "append", "--batch", "-", stdin='{"subject":"a.1.x"}\n' * 65536, says="65535")

    def test_options_of_an_event_do_not_go_with_a_batch(self):
        self.fails(USAGE, "append", "--batch", "-", "--id", "x")
        self.fails(USAGE, "append", "a.1.x", "--batch", "-")
        self.fails(USAGE, "append", "--batch", "-", "--each", "--expect-version", "1")
        self.fails(USAGE, "append", "a.1.x", "--each")
        self.fails(USAGE, "append")
        self.fails(ERROR, "append", "--batch", "missing-file", says="missing-file")

    def test_empty_batch(self):
        self.assertEqual("", self.ok("append", "--batch", "-", stdin="\n\n").out)


if __name__ == "__main__":
    main()
