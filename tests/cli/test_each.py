#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""append --batch FILE --each: acknowledgements in order, at once, and none lost when a line fails."""

import json
import subprocess
import time

from support import ERROR, FINE, USAGE, Case, main


class Each(Case):
    def test_one_acknowledgement_per_line_in_order(self):
        lines = "".join(f'{{"subject":"a.{n % 7}.x","data":{n}}}\n' for n in range(5000))
        result = self.ok("append", "--batch", "-", "--each", "--json", stdin=lines)
        self.assertEqual(list(range(1, 5001)), [receipt["seq"] for receipt in result.objects()])
        self.assertEqual(list(range(5000)), [event["data"] for event in self.events()])

    def test_acknowledged_as_soon_as_durable_without_further_input(self):
        process = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        for n in range(20):
            begin = time.monotonic()
            process.stdin.write(b'{"subject":"a.1.x"}\n')
            process.stdin.flush()
            line, = self.read_lines(process, 1)
            self.assertEqual(n + 1, json.loads(line)["seq"])
            self.assertLess(time.monotonic() - begin, 5)
        # A line without its newline is not yet one.
        process.stdin.write(b'{"subject":"a.1.x"}')
        process.stdin.flush()
        self.assertEqual([], self.read_lines(process, 1, timeout=0.3))
        process.stdin.close()
        self.assertEqual(21, json.loads(self.read_lines(process, 1)[0])["seq"])
        self.assertEqual(FINE, process.wait(20))

    def test_malformed_line_keeps_what_was_acknowledged(self):
        lines = '{"subject":"a.1.x"}\n' * 300 + "not json\n" + '{"subject":"a.1.x"}\n' * 300
        result = self.fails(ERROR, "append", "--batch", "-", "--each", "--json", stdin=lines, says="line 301")
        self.assertEqual(301, result.error()["line"])
        self.assertIn("300 lines before it are stored", result.error()["message"])
        self.assertEqual(list(range(1, 301)), [receipt["seq"] for receipt in result.objects()])
        self.assertEqual("300\n", self.ok("read", "--count").out)

    def test_refused_line_ends_it_while_more_input_may_come(self):
        self.ok("append", "a.1.x")
        self.ok("stream", "edit", "A", "--max-msg-size", "100", "--force")
        process = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        process.stdin.write(b'{"subject":"a.1.x"}\n')
        process.stdin.flush()
        self.assertEqual(1, len(self.read_lines(process, 1)))
        process.stdin.write(b'{"subject":"a.1.x","text":"' + b"x" * 200 + b'"}\n')
        process.stdin.flush()
        self.assertEqual(ERROR, process.wait(20))  # stdin is still open
        error = json.loads(process.stderr.read().splitlines()[-1])
        self.assertEqual("ELIMIT", error["error"])
        self.assertIn("line 2", error["message"])
        self.assertEqual("2\n", self.ok("read", "--count").out)

    def test_nothing_behind_a_refused_line_is_stored(self):
        self.ok("append", "b.1.x")
        self.ok("stream", "add", "A", "--subjects", "a.>", "--max-msgs-per-subject", "1", "--discard", "new",
                "--discard-new-per-subject")
        lines = [f'{{"subject":"a.{n}.x"}}' for n in range(200)] + ['{"subject":"a.7.x"}']
        lines += [f'{{"subject":"a.{n}.x"}}' for n in range(200, 600)]
        result = self.fails(ERROR, "append", "--batch", "-", "--each", "--json", stdin="\n".join(lines) + "\n",
                            says="line 201")
        self.assertEqual(list(range(1, 201)), [receipt["seq"] for receipt in result.objects()])
        self.assertEqual("200\n", self.ok("read", "a.>", "--count").out)

    def test_duplicates_are_skipped_per_event(self):
        self.append("a.1.x", "{}", "--id", "2")
        lines = "".join(f'{{"subject":"a.1.x","id":"{n}","data":{{}}}}\n' for n in range(1, 4))
        result = self.ok("append", "--batch", "-", "--each", "--json", stdin=lines)
        self.assertEqual([False, True, False], [receipt["duplicate"] for receipt in result.objects()])
        self.assertEqual(["1", "2", "3"], [receipt["id"] for receipt in result.objects()])
        self.assertEqual("3\n", self.ok("read", "--count").out)

    def test_stream_created_is_said_once(self):
        result = self.ok("append", "--batch", "-", "--each", stdin='{"subject":"n.1.x"}\n' * 50)
        self.assertEqual(1, result.err.count("created stream N"))
        self.assertEqual(50, len(result.lines()))

    def test_from_a_file_and_without_events(self):
        path = self.write("lines", '{"subject":"a.1.x"}\n{"subject":"a.1.y"}')
        self.assertEqual(2, len(self.ok("append", "--batch", path, "--each").lines()))
        self.assertEqual("", self.ok("append", "--batch", "-", "--each", stdin="").out)
        self.fails(USAGE, "append", "--each")

    def test_killed_in_the_middle_loses_nothing_acknowledged(self):
        process = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        process.stdin.write(b"".join(b'{"subject":"a.1.x","data":%d}\n' % n for n in range(200)))
        process.stdin.flush()
        acknowledged = self.read_lines(process, 50)
        process.kill()
        rest = process.stdout.read().decode().splitlines()
        process.wait()
        count = len(acknowledged) + len([line for line in rest if line.endswith("}")])
        stored = [event["data"] for event in self.events()]
        self.assertGreaterEqual(len(stored), count)
        self.assertEqual(list(range(len(stored))), stored)


if __name__ == "__main__":
    main()
