#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""read and ls: every option, the fields and their order, and bytes that must not change."""

import csv
import io
import json

from support import ERROR, FINE, NOT_FOUND, USAGE, Case, main

ORDER = ("stream seq position aggregate version subject id type time recorded schema correlation causation actor tags "
         "headers data text data_base64").split()


class Read(Case):
    def setUp(self):
        super().setUp()
        lines = []
        for n in range(1, 13):
            lines.append(json.dumps({
                "subject": f"orders.{(n - 1) % 3 + 1}.{('placed', 'paid', 'shipped')[(n - 1) // 3 % 3]}", "id": f"e{n}",
                "data": {"n": n}, "tags": [f"n:{n}"] + (["even"] if n % 2 == 0 else []), "actor": "ann" if n < 7 else "bob",
                "correlation": f"c{n % 2}", "causation": f"e{n - 1}" if n > 1 else None,
                "time": f"2026-01-{n:02d}T00:00:00Z"}))
        self.ok("append", "--batch", "-", stdin="\n".join(lines))
        self.positions = [event["position"] for event in self.events()]

    def numbers(self, *arguments):
        return [event["data"]["n"] for event in self.events(*arguments)]

    def test_fields_are_in_the_order_of_the_contract(self):
        self.ok("append", "all.1.x", "{}", "--schema", "1", "--correlation", "c", "--causation", "k", "--actor", "a",
                "--tag", "t", "--header", "H:v")
        for event in self.events():
            self.assertEqual([name for name in ORDER if name in event], list(event))
        self.assertEqual(ORDER[:-2], list(event))

    def test_all_in_order_of_position(self):
        self.assertEqual(list(range(1, 13)), self.numbers())
        self.assertEqual(sorted(self.positions), self.positions)

    def test_filters(self):
        self.assertEqual([1, 4, 7, 10], self.numbers("orders.1.>"))
        self.assertEqual([4, 5, 6], self.numbers("orders.*.paid"))
        self.assertEqual([1, 4, 5, 6, 7, 10], self.numbers("orders.1.*", "orders.*.paid"))
        self.assertEqual([], self.numbers("orders.9.>"))
        self.assertEqual(list(range(1, 13)), self.numbers("--stream", "ORDERS"))
        self.fails(NOT_FOUND, "read", "--stream", "NONE")

    def test_bounds(self):
        at = self.positions
        self.assertEqual([3, 4, 5], self.numbers("--from", at[2], "--to", at[4]))
        self.assertEqual([11, 12], self.numbers("--after", at[9]))
        self.assertEqual([], self.numbers("--after", 2**64 - 1))
        self.assertEqual([], self.numbers("--to", 0))
        self.assertEqual([5, 6], self.numbers("--from-seq", 5, "--to-seq", 6, "--stream", "ORDERS"))
        self.assertEqual([4, 7], self.numbers("orders.1.>", "--from-version", 2, "--to-version", 3))
        self.assertEqual([2, 3], self.numbers("--time-since", "2026-01-02", "--time-until", "2026-01-04"))
        self.assertEqual(list(range(1, 13)), self.numbers("--since", "-1h", "--until", "+1h"))
        self.assertEqual([], self.numbers("--until", "-1h"))
        self.assertEqual([], self.numbers("--from", at[5], "--to", at[2]))

    def test_parts(self):
        self.assertEqual([4, 5, 6], self.numbers("--type", "paid"))
        self.assertEqual([4, 5, 6, 7, 8, 9], self.numbers("--type", "paid", "--type", "shipped"))
        self.assertEqual([4], self.numbers("--tag", "n:4"))
        self.assertEqual([4], self.numbers("--tag", "n:4", "--tag", "even"))
        self.assertEqual([], self.numbers("--tag", "n:3", "--tag", "even"))
        self.assertEqual([2, 4, 6, 8, 10, 12], self.numbers("--correlation", "c0"))
        self.assertEqual([8], self.numbers("--causation", "e7"))
        self.assertEqual([7, 8, 9, 10, 11, 12], self.numbers("--actor", "bob"))
        self.assertEqual([5], self.numbers("--id", "e5"))
        self.assertEqual([6], self.numbers("--type", "paid", "--correlation", "c0", "orders.3.>"))

    def test_order_and_amount(self):
        self.assertEqual(list(range(12, 0, -1)), self.numbers("--reverse"))
        self.assertEqual([1, 2], self.numbers("--limit", 2))
        self.assertEqual([], self.numbers("--limit", 0))
        self.assertEqual([10, 11, 12], self.numbers("--last", 3))
        self.assertEqual([12, 11, 10], self.numbers("--last", 3, "--reverse"))
        self.assertEqual([10, 11], self.numbers("--last", 3, "--limit", 2))
        self.assertEqual(list(range(1, 13)), self.numbers("--last", 100))
        self.assertEqual([], self.numbers("--last", 0))
        self.assertEqual([7, 10], self.numbers("orders.1.>", "--last", 2))
        self.assertEqual([4, 5, 6, 7, 8, 9, 10, 11, 12], self.numbers("--last-per-subject"))
        self.assertEqual([11, 12], self.numbers("--last-per-subject", "--last", 2))
        self.assertEqual([12, 11, 10, 9, 8, 7, 6, 5, 4], self.numbers("--last-per-subject", "--reverse"))
        self.assertEqual([10, 4], self.numbers("orders.1.placed", "orders.1.paid", "--last-per-subject", "--reverse"))
        self.assertEqual([1, 4], self.numbers("orders.1.*", "--last-per-subject", "--to", self.positions[5]))

    def test_count(self):
        self.assertEqual("12\n", self.ok("read", "--count").out)
        self.assertEqual("4\n", self.ok("read", "--count", "orders.1.>").out)
        self.assertEqual({"count": 2}, self.ok("read", "--count", "--json", "--limit", 2).object())
        self.assertEqual("3\n", self.ok("read", "--count", "--last", "3").out)
        self.assertEqual("0\n", self.ok("read", "--count", "--to", "0").out)
        self.assertEqual("9\n", self.ok("read", "--count", "--last-per-subject").out)

    def test_data(self):
        self.assertEqual('{"n": 1}\n{"n": 2}\n', self.ok("read", "--data", "--limit", 2).out)

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.ok("read", "--csv").out)))
        self.assertEqual([str(n) for n in range(1, 13)], [row["seq"] for row in rows])
        self.assertEqual('{"n": 2}', rows[1]["data"])
        self.assertEqual(["even", "n:2"], sorted(json.loads(rows[1]["tags"])))

    def test_for_people_one_line_per_event_and_no_colour_in_a_pipe(self):
        result = self.ok("read")
        self.assertEqual(12, len(result.lines()))
        self.assertNotIn("\x1b", result.out)

    def test_contradictions(self):
        for options in (["--follow", "--reverse"], ["--follow", "--count"], ["--data", "--json"], ["--csv", "--json"],
                        ["a..b"], ["a.>.b"], [">.a"], ["--limit", "-1"], ["--since", "yesterday"]):
            self.fails(USAGE, "read", *options)

    def test_ls(self):
        listed = self.ok("ls", "--json").objects()
        self.assertEqual(["orders.1", "orders.2", "orders.3"], sorted(entry["aggregate"] for entry in listed))
        entry = next(entry for entry in listed if entry["aggregate"] == "orders.1")
        self.assertEqual((4, "2026-01-10T00:00:00.000000000Z"), (entry["version"], entry["time"]))
        self.assertEqual(["orders.2"], [e["aggregate"] for e in self.ok("ls", "orders.2", "--json").objects()])
        self.assertEqual(["orders.2"], [e["aggregate"] for e in self.ok("ls", "orders.2.>", "--json").objects()])
        self.assertEqual({"placed": 6, "paid": 3, "shipped": 3},
                         {e["type"]: e["events"] for e in self.ok("ls", "--types", "--json").objects()})
        self.assertEqual(9, len(self.ok("ls", "--subjects", "--json").objects()))
        self.assertEqual(3, len(self.ok("ls", "--subjects", "orders.1.>", "--json").objects()))
        self.assertEqual("aggregate,version,events,stream,position,time", self.ok("ls", "--csv").lines()[0])
        self.assertEqual(4, len(self.ok("ls").lines()))
        self.fails(USAGE, "ls", "--types", "--subjects")
        self.fails(USAGE, "ls", "a..b")

    def test_internal_streams_only_when_named(self):
        self.ok("kv", "add", "settings")
        self.ok("kv", "put", "settings", "k", "1")
        self.assertEqual(12, len(self.events()))
        self.assertEqual(13, len(self.events("--all")))
        self.assertEqual(1, len(self.events("--stream", "KV_settings")))
        self.assertEqual(1, len(self.events("$KV.settings.>")))

    def test_no_store(self):
        self.fails(NOT_FOUND, "-s", "nowhere", "read", says="nowhere")
        self.fails(NOT_FOUND, "-s", "nowhere", "ls", "--json")


class Bytes(Case):
    def printed(self, data):
        """The member of the printed line that holds the data, as it stands."""
        self.ok("append", "b.1.x", "-", stdin=data)
        line = self.ok("read", "--last", "1", "--json").out_bytes.rstrip(b"\n")
        for name in (b'"data":', b'"text":', b'"data_base64":'):
            at = line.rfind(b"," + name)
            if at >= 0:
                return line[at + 1:-1]
        self.fail(line)

    def test_json_is_verbatim_but_for_white_space_between_tokens(self):
        for data, expected in (
                (b'{"a" : [1 , 2] }', b'{"a":[1,2]}'), (b' \r\n\t{"a":"x y"}\n', b'{"a":"x y"}'),
                (b"1.0", b"1.0"), (b"-0", b"-0"), (b"1E+400", b"1E+400"), (b"12345678901234567890123", None),
                (b"0.1000000000000000055511151231257827", None), (b'"\\u00e9\\/\\ud800"', None),
                ('"\u00e9\u4e2d\U0001f600"'.encode(), None), (b'{"a":1,"a":2}', None), (b'{"":{}}', None), (b"[]", None),
                (b"null", None), (b"true", None), (b'"\x7f"', None), (b'["\\"\\\\ , :"]', None),
                (b"[" * 4096 + b"]" * 4096, None)):
            self.assertEqual(b'"data":' + (expected or data), self.printed(data))

    def test_other_text_is_text(self):
        for data in ("plain", "", "{", "{'a':1}", "01", "1.", "[1,]", "nul", '{"a":1} x', '"a\nb"', "\ufeff{}", "\0",
                     '"\\x"', "NaN", "é", "[" * 4097 + "]" * 4097, "+1", ".5", '{"a"}', "\x7f\u2028"):
            self.assertEqual(data, json.loads(b"{" + self.printed(data.encode()) + b"}")["text"])

    def test_the_rest_is_base64(self):
        import base64
        for data in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b'"\xff"', bytes(range(256)), b"\xf4\x90\x80\x80", b"ab\xe2\x82"):
            self.assertEqual(data, base64.b64decode(json.loads(b"{" + self.printed(data) + b"}")["data_base64"]))

    def test_large_data(self):
        text = ("x" * 99 + "\n") * 20000
        self.assertEqual(text, json.loads(b"{" + self.printed(text.encode()) + b"}")["text"])
        array = "[" + ",".join(str(n) for n in range(300000)) + "]"
        self.assertEqual(b'"data":' + array.encode(), self.printed(array.encode()))

    def test_control_characters_do_not_reach_the_terminal(self):
        self.ok("append", "b.1.x", "-", stdin=b"\x1b[31mred\x07\xc2\x9b31m")
        out = self.ok("read").out
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\x9b", out)
        self.assertIn("\\x1b", out)

    def test_batch_keeps_the_bytes_of_data(self):
        data = b'{"z": 1.10,  "a": [ 1e5, "\\u00e9" ] }'
        self.ok("append", "--batch", "-", stdin=b'{"subject":"b.1.x","data":' + data + b"}\n")
        self.assertEqual(data + b"\n", self.ok("read", "--data").out_bytes)


class ClosedOutput(Case):
    def test_closed_pipe_ends_quietly_with_an_error(self):
        import subprocess
        from support import PROGRAM
        self.ok("append", "--batch", "-", stdin=('{"subject":"a.1.x","text":"' + "x" * 900 + '"}\n') * 3000)
        process = self.start("read", "--json")
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(ERROR, process.wait(20))
        self.assertEqual(b"", process.stderr.read())
        shell = subprocess.run(f"'{PROGRAM}' read >&-", shell=True, cwd=self.directory, capture_output=True, check=False)
        self.assertEqual(ERROR, shell.returncode)
        self.assertIn(b"cannot write the output", shell.stderr)
        shell = subprocess.run(f"'{PROGRAM}' read > /dev/full", shell=True, cwd=self.directory, capture_output=True, check=False)
        self.assertEqual(ERROR, shell.returncode)
        self.assertIn(b"No space left", shell.stderr)
        self.assertEqual("3000\n", self.ok("read", "--count").out)


if __name__ == "__main__":
    main()
