#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores of every format there was (tests/golden/<format>), made once by tools/make-golden: each is opened, read,
verified and appended to, and gives the events it held when it was made. Then, on the newest: damage on real files, as
the command line tells of it."""

import json
import os
import random
import shutil
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from support import DAMAGED, ERROR, FINE, Case, main

FORMATS = sorted((name for name in os.listdir(HERE) if name.isdigit()), key=int)
HINTS = {"LOCK", "live", "reserve"}


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Store(Case):
    def unpack(self, number, name):
        with tarfile.open(os.path.join(HERE, number, "store.tar.gz")) as archive:
            archive.extractall(self.path())
        os.rename(self.path("store"), self.path(name))
        return self.path(name)

    def expected(self, number):
        return content(os.path.join(HERE, number, "export.ndjson"))


def is_still_said(old, new):
    """What was said then is said now; there may be more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_still_said(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_still_said, old, new))
    return old == new


def answers_of(number):
    """(question, lines) in order; formats before consumers have none."""
    path = os.path.join(HERE, number, "answers.txt")
    found = []
    for line in content(path).decode().splitlines() if os.path.exists(path) else []:
        if line.startswith("? "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


class Golden(Store):
    def test_questions_are_answered_as_they_were(self):
        """Consumers in the middle of their work, a machine's history, buckets, snapshots, states, causes."""
        self.assertTrue(answers_of(FORMATS[-1]))
        for number in FORMATS:
            store = self.unpack(number, f"asked-{number}")
            for question, lines in answers_of(number):
                with self.subTest(format=number, question=question):
                    words = [os.path.join(HERE, word) if word == "issue.json" else word for word in question.split()]
                    answer = self.ok("-s", store, "--read-only", *words).out.splitlines()
                    self.assertEqual(len(lines), len(answer))
                    for old, new in zip(lines, answer):
                        if "--json" in words:
                            self.assertTrue(is_still_said(json.loads(old), json.loads(new)), f"then {old}, now {new}")
                        else:
                            self.assertEqual(old, new)

    def test_consumers_go_on_where_they_were(self):
        store = self.unpack(FORMATS[-1], "consumed")
        asked = {question: lines for question, lines in answers_of(FORMATS[-1])}
        before = json.loads(asked["consumer info AFTER golden --json"][0])
        # What was given back is due at once, what is in flight is not.
        taken = self.ok("-s", store, "consumer", "next", "AFTER", "golden", "--batch", "3", "--no-ack", "--json").objects()
        self.assertEqual([1, before["delivered_seq"] + 1, before["delivered_seq"] + 2], [one["seq"] for one in taken])
        self.assertEqual([2, 1, 1], [one["delivery_count"] for one in taken])
        self.ok("-s", store, "consumer", "ack", "AFTER", "golden", *[one["seq"] for one in taken])
        after = self.ok("-s", store, "consumer", "info", "AFTER", "golden", "--json").object()
        self.assertEqual(before["ack_pending"] - 1, after["ack_pending"])
        # The queue: what is acknowledged goes.
        self.ok("-s", store, "consumer", "ack", "JOBS", "worker", "2")
        self.assertEqual("4\n", self.ok("-s", store, "read", "--stream", "JOBS", "--count").out)
        self.ok("-s", store, "machine", "move", os.path.join(HERE, "issue.json"), "9", "closed")
        self.ok("-s", store, "verify")

    def test_there_is_one(self):
        self.assertEqual(["1", "2"], FORMATS)

    def test_a_manifest_of_one_copy_becomes_two(self):
        """Format 1 kept the manifest once; whoever writes next keeps it twice, and looking changes nothing."""
        store = self.unpack("1", "one-copy")
        self.ok("-s", store, "verify")
        self.assertEqual(1, len([name for name in os.listdir(store) if name.startswith("manifest-")]))
        self.ok("-s", store, "append", "orders.1.reopened")
        names = sorted(name for name in os.listdir(store) if name.startswith("manifest-"))
        self.assertEqual([names[0], names[0] + ".copy"], names)
        self.assertEqual(content(os.path.join(store, names[0])), content(os.path.join(store, names[1])))
        self.ok("-s", store, "verify")

    def test_a_copy_of_the_manifest_is_made_good(self):
        store = self.unpack("2", "copies")
        names = sorted(name for name in os.listdir(store) if name.startswith("manifest-"))
        with open(os.path.join(store, names[0]), "r+b") as file:
            file.seek(70)
            file.write(b"??")
        found = self.fails(DAMAGED, "-s", store, "verify")
        self.assertIn(f"{names[0]} at 70: ", found.out)
        self.assertEqual(self.expected("2"), self.ok("-s", store, "--read-only", "export", "--all").out_bytes)
        self.ok("-s", store, "append", "orders.1.reopened")
        self.ok("-s", store, "verify")

    def test_events_are_those_that_were_stored(self):
        for number in FORMATS:
            with self.subTest(format=number):
                store = self.unpack(number, f"read-{number}")
                self.assertEqual(self.expected(number), self.ok("-s", store, "--read-only", "export", "--all").out_bytes)
                self.ok("-s", store, "verify")

    def test_a_writer_goes_on(self):
        for number in FORMATS:
            with self.subTest(format=number):
                store = self.unpack(number, f"write-{number}")
                before = self.expected(number)
                self.ok("-s", store, "append", "orders.1.reopened", '{"again":true}', "--id", "golden-1")
                after = self.ok("-s", store, "export", "--all").out_bytes
                self.assertTrue(after.startswith(before))
                self.assertEqual(len(before.splitlines()) + 1, len(after.splitlines()))
                # Ids and limits are remembered: an id that was deleted stays used up, few.> keeps its newest two.
                repeated = self.ok("-s", store, "append", "orders.4.paid", "--id", "orders-4", "--json").object()
                self.assertTrue(repeated["duplicate"])
                for count in range(3):
                    self.ok("-s", store, "append", "few.9.placed", str(count))
                self.assertEqual("2\n", self.ok("-s", store, "read", "--stream", "FEW", "--count").out)
                self.ok("-s", store, "verify")

    def test_an_old_store_is_merged_and_backed_up(self):
        for number in FORMATS:
            with self.subTest(format=number):
                store = self.unpack(number, f"backup-{number}")
                before = self.expected(number)
                # Flushes, and rewrites the segment.
                first = self.ok("-s", store, "read", "--stream", "ORDERS", "--limit", "1", "--json").object()["seq"]
                self.ok("-s", store, "stream", "delete", "ORDERS", first, "--erase", "--force")
                left = self.ok("-s", store, "export", "--all").out_bytes
                self.assertLess(len(left.splitlines()), len(before.splitlines()))
                self.assertLessEqual(set(left.splitlines()), set(before.splitlines()))
                self.ok("-s", store, "backup", self.path(f"copy-{number}"))
                self.ok("-s", self.path(f"restored-{number}"), "restore", self.path(f"copy-{number}"), "--force")
                self.assertEqual(left, self.ok("-s", self.path(f"restored-{number}"), "export", "--all").out_bytes)


class Damage(Store):
    """Real files, and the statuses a script sees. tests/sim/test_every_byte does the same to every byte."""

    def setUp(self):
        super().setUp()
        self.original = self.unpack(FORMATS[-1], "original")
        self.lines = set(self.expected(FORMATS[-1]).splitlines())
        self.random = random.Random(int(os.environ.get("DAYBOOK_SEED", "1")))

    def check(self, name, change, may_return=False):
        store = self.path("damaged")
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(self.original, store)
        change(os.path.join(store, name))
        present = {file: content(os.path.join(store, file)) for file in os.listdir(store) if file not in HINTS}

        verified = self.run_program("-s", store, "verify")
        exported = self.run_program("-s", store, "--read-only", "export", "--all")
        self.assertIn(verified.status, (FINE, DAMAGED, ERROR), verified.err)
        self.assertIn(exported.status, (FINE, DAMAGED, ERROR), exported.err)
        read = set(exported.out_bytes.splitlines())
        # What the lost part of the journal had removed can be seen again.
        if not name.startswith("journal"):
            self.assertLessEqual(read, self.lines)
        if verified.status == FINE:
            self.assertEqual(FINE, exported.status, exported.err)
        if exported.status == DAMAGED:
            self.assertTrue(exported.err.startswith("daybook: "), exported.err)
        for file, old in present.items():
            self.assertEqual(old, content(os.path.join(store, file)), f"{file} was changed by looking")

        if verified.status == DAMAGED:
            self.assertIn(name.split("-")[0], verified.out + verified.err)
            repaired = self.run_program("-s", store, "repair", "--force")
            self.assertEqual(FINE, repaired.status, repaired.err)
            self.assertEqual(FINE, self.run_program("-s", store, "verify").status)
            after = set(self.ok("-s", store, "export", "--all").out_bytes.splitlines())
            self.assertLessEqual(read & self.lines, after)
            if not may_return and not name.startswith(("journal", "deletions", "manifest")):
                self.assertLessEqual(after, self.lines)
            self.ok("-s", store, "append", "orders.1.after", "--no-create")
        return verified.status

    def files(self):
        return sorted(name for name in os.listdir(self.original) if name not in HINTS)

    def flip(self, offset):
        def change(path):
            with open(path, "r+b") as file:
                file.seek(offset)
                byte = file.read(1)[0]
                file.seek(offset)
                file.write(bytes([byte ^ 1 << self.random.randrange(8)]))

        return change

    def test_changed_bytes(self):
        found = 0
        for name in self.files():
            size = os.path.getsize(os.path.join(self.original, name))
            if name == "journal":  # the part in use
                size = len(content(os.path.join(self.original, name)).rstrip(b"\0"))
            for part in range(6):
                offset = min(size - 1, size * part // 6 + self.random.randrange(max(1, size // 6)))
                with self.subTest(name=name, offset=offset):
                    found += self.check(name, self.flip(offset)) == DAMAGED
        self.assertGreater(found, 6)

    def test_cut_longer_empty_and_missing_files(self):
        def cut(parts):
            return lambda path: os.truncate(path, os.path.getsize(path) * parts // 4)

        def longer(path):
            with open(path, "ab") as file:
                file.write(b"x")

        changes = {"empty": cut(0), "half": cut(2), "three quarters": cut(3), "longer": longer, "missing": os.remove}
        for name in self.files():
            for what, change in changes.items():
                with self.subTest(name=name, what=what):
                    status = self.check(name, change)
                    if what in ("empty", "missing"):
                        self.assertEqual(DAMAGED, status)

    def test_hints_may_be_anything(self):
        for name in sorted(HINTS):
            with self.subTest(name=name):
                self.assertEqual(FINE, self.check(name, lambda path: open(path, "wb").close()))


if __name__ == "__main__":
    main()
