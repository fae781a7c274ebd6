#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""read --follow: another process, no gap, no repeat, clean endings."""

import json
import signal
import subprocess

from support import ERROR, FINE, NOT_FOUND, UNAVAILABLE, Case, main


class Follow(Case):
    def test_catches_up_and_goes_on(self):
        for n in range(5):
            self.append("a.1.x", str(n))
        process = self.start("read", "--follow", "--json")
        self.assertEqual(list(range(5)), [json.loads(line)["data"] for line in self.read_lines(process, 5)])
        for n in range(5, 8):
            self.append("a.1.x", str(n))
            self.assertEqual([n], [json.loads(line)["data"] for line in self.read_lines(process, 1)])
        self.assertIsNone(process.poll())

    def test_no_gap_and_no_repeat_beside_a_busy_writer(self):
        self.append("a.1.x", "-1")
        followers = [self.start("read", "--follow", "--data", "--limit", "5001") for _ in range(3)]
        writer = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        writer.stdin.write(b"".join(b'{"subject":"a.1.x","data":%d}\n' % n for n in range(5000)))
        writer.stdin.close()
        writer.stdout.read()
        self.assertEqual(FINE, writer.wait(60))
        for follower in followers:
            self.assertEqual(list(range(-1, 5000)), [int(line) for line in self.read_lines(follower, 5001)])
            self.assertEqual(FINE, follower.wait(20))

    def test_filter_and_last(self):
        for n in range(6):
            self.append(f"a.{n % 2}.x", str(n))
        process = self.start("read", "a.1.>", "--follow", "--last", "2", "--data")
        self.assertEqual(["3", "5"], self.read_lines(process, 2))
        self.append("a.0.x", "6")
        self.append("a.1.x", "7")
        self.assertEqual(["7"], self.read_lines(process, 1))
        process = self.start("read", "--follow", "--last", "0", "--data", "--limit", "1")
        self.assertEqual([], self.read_lines(process, 1, timeout=0.5))
        self.append("a.0.x", "8")
        self.assertEqual(["8"], self.read_lines(process, 1))
        self.assertEqual(FINE, process.wait(20))

    def test_it_ends_when_its_stream_is_removed(self):
        self.append("a.1.x", "1")
        self.append("b.1.x", "2")
        process = self.start("read", "--stream", "A", "--follow", "--data")
        self.assertEqual(["1"], self.read_lines(process, 1))
        self.ok("stream", "rm", "A", "--force")
        self.assertEqual(NOT_FOUND, process.wait(20))
        self.assertIn(b"the stream 'A' was removed while it was followed", process.stderr.read())

    def test_signals_end_it_cleanly(self):
        self.append("a.1.x", "1")
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("read", "--follow", "--data")
            self.assertEqual(["1"], self.read_lines(process, 1))
            process.send_signal(number)
            self.assertEqual(FINE, process.wait(20))
            self.assertEqual(b"", process.stderr.read())

    def test_reader_of_the_pipe_goes_away(self):
        self.append("a.1.x", "1")
        process = self.start("read", "--follow", "--data")
        self.assertEqual(["1"], self.read_lines(process, 1))
        process.stdout.close()
        self.append("a.1.x", "2")
        self.assertEqual(ERROR, process.wait(20))
        self.assertEqual(b"", process.stderr.read())

    def test_readers_never_wait_and_a_second_writer_does(self):
        writer = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        writer.stdin.write(b'{"subject":"a.1.x"}\n')
        writer.stdin.flush()
        self.read_lines(writer, 1)
        self.assertEqual("1\n", self.ok("read", "--count", timeout=4).out)
        result = self.fails(UNAVAILABLE, "append", "a.1.x", "--wait", "300ms", "--json")
        self.assertEqual("ELOCKED", result.error()["error"])
        self.assertIn(str(writer.pid), result.error()["message"])
        second = self.start("append", "a.1.x", "--wait", "20s", "--json")
        writer.stdin.close()
        self.assertEqual(FINE, writer.wait(20))
        self.assertEqual(FINE, second.wait(30))
        self.assertEqual("2\n", self.ok("read", "--count").out)


class ManyWriters(Case):
    def test_all_wait_for_each_other_and_one_makes_the_store(self):
        writers = [self.start("append", f"a.{n % 3}.x", str(n), "--wait", "60s") for n in range(20)]
        said = b""
        for writer in writers:
            said += writer.communicate(timeout=90)[1]
            self.assertEqual(FINE, writer.returncode)
        self.assertEqual(1, said.count(b"created store"), said)
        self.assertEqual(1, said.count(b"created stream"), said)
        self.assertEqual(sorted(range(20)), sorted(event["data"] for event in self.events()))


if __name__ == "__main__":
    main()
