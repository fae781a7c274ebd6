#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""info, verify, repair, backup, restore, and stores that are not well."""

import glob
import os
import shutil
import subprocess

from support import DAMAGED, ERROR, FINE, NOT_FOUND, PROGRAM, USAGE, Case, main, unserved


class Maintenance(Case):
    def setUp(self):
        super().setUp()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.{n % 5}.x","data":{n}}}\n' for n in range(1000)))

    @unserved("a file is taken away from under the server")
    def test_a_lost_journal_is_damage_and_not_no_store(self):
        self.append("a.1.x", "1")
        os.remove(self.path("daybook-store", "journal"))
        self.fails(DAMAGED, "read", says="journal")
        self.fails(DAMAGED, "append", "a.1.x", says="journal")
        self.assertIn("journal", self.fails(DAMAGED, "verify").out)

    def test_info(self):
        info = self.ok("info", "--json").object()
        self.assertEqual((1000, 1), (info["events"], info["streams"]))
        self.assertRegex(info["uuid"], r"^[0-9a-f-]{36}$")
        self.assertIn("1,000 events", self.ok("info").out)
        self.assertRegex(self.ok("info", "--build").out, r"^daybook \d")
        self.fails(NOT_FOUND, "-s", "nowhere", "info")

    def test_verify_sound(self):
        self.assertIn("sound", self.ok("verify").out)
        self.assertFalse(self.ok("verify", "--json").objects()[-1]["damage"])
        self.fails(NOT_FOUND, "-s", "nowhere", "verify")

    def test_backup_and_restore(self):
        self.ok("backup", "copy")
        self.ok("append", "a.9.x")
        self.fails(USAGE, "-s", "restored", "restore", "copy")
        self.ok("-s", "restored", "restore", "copy", "--dry-run")
        self.assertFalse(os.path.exists(self.path("restored")))
        result = self.ok("-s", "restored", "restore", "copy", "--force")
        self.assertIn("created store restored", result.err)
        self.assertEqual("1000\n", self.ok("-s", "restored", "read", "--count").out)
        self.assertEqual("1001\n", self.ok("read", "--count").out)
        self.assertEqual(self.ok("info", "--json").object()["uuid"], self.ok("-s", "restored", "info", "--json").object()["uuid"])
        self.ok("-s", "restored", "append", "a.9.x")
        self.ok("backup", "copy")
        self.ok("-s", "again", "restore", "copy", "--force")
        self.assertEqual("1001\n", self.ok("-s", "again", "read", "--count").out)
        self.assertNotEqual(FINE, self.run_program("restore", "copy", "--force").status)  # a store is there
        self.assertEqual("1001\n", self.ok("read", "--count").out)
        self.fails(NOT_FOUND, "-s", "new", "restore", "nowhere", "--force")
        self.ok("-s", "again", "verify")

    def test_backup_of_a_restored_store(self):
        store = "daybook-store"
        for generation in range(1, 5):
            copy = f"copy-{generation}"
            self.ok("-s", store, "append", "a.9.x")
            self.ok("-s", store, "backup", copy)
            if generation > 2:  # and a second time over the first
                self.ok("-s", store, "append", "a.9.y")
                self.ok("-s", store, "backup", copy)
            expected = self.ok("-s", store, "read", "--count").out
            store = f"restored-{generation}"
            self.ok("-s", store, "restore", copy, "--force")
            self.assertEqual(expected, self.ok("-s", store, "read", "--count").out)
            self.ok("-s", store, "verify")
            if generation == 3:  # from here on the ids of its segments are those of backups
                self.ok("-s", store, "rebuild", "--force")

    def test_backup_while_a_writer_holds_the_store(self):
        writer = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        writer.stdin.write(b'{"subject":"a.1.x"}\n')
        writer.stdin.flush()
        self.read_lines(writer, 1)
        self.ok("backup", "copy", timeout=30)
        self.ok("-s", "restored", "restore", "copy", "--force")
        self.assertEqual("1001\n", self.ok("-s", "restored", "read", "--count").out)

    def files(self):
        return [name for name in glob.glob(self.path("daybook-store", "**"), recursive=True) if os.path.isfile(name)]

    def test_damage_is_found_named_and_repaired(self):
        # Put the events into a segment, then flip one byte in the middle of the largest one.
        self.ok("backup", "copy")
        self.ok("-s", "restored", "restore", "copy", "--force")
        segments = sorted(glob.glob(self.path("restored", "**", "segment-*"), recursive=True), key=os.path.getsize)
        if not segments:
            self.skipTest("the store keeps no segments")
        with open(segments[-1], "r+b") as file:
            file.seek(200)
            byte = file.read(1)
            file.seek(200)
            file.write(bytes([byte[0] ^ 0x55]))
        result = self.run_program("-s", "restored", "verify", "--json")
        self.assertEqual(DAMAGED, result.status, result.out + result.err)
        self.assertTrue(any(finding["damage"] for finding in result.objects()))
        self.assertIn(os.path.basename(segments[-1]), result.out)
        read = self.fails(DAMAGED, "-s", "restored", "read", "--json", says=os.path.basename(segments[-1]))
        count = self.fails(DAMAGED, "-s", "restored", "read", "--count", "--json")
        self.assertEqual(len(read.objects()), count.object()["count"])
        self.assertLess(len(read.objects()), 1000)
        self.assertGreater(len(read.objects()), 0)
        self.fails(USAGE, "-s", "restored", "repair")
        self.run_program("-s", "restored", "repair", "--dry-run")
        self.assertEqual(DAMAGED, self.run_program("-s", "restored", "verify").status)
        self.ok("-s", "restored", "repair", "--force")
        self.ok("-s", "restored", "verify")
        counted = sum(stream["messages"] for stream in self.ok("-s", "restored", "stream", "ls", "--json").objects())
        self.assertEqual(f"{counted}\n", self.ok("-s", "restored", "read", "--all", "--count").out)
        self.ok("-s", "restored", "append", "a.1.after")

    def test_following_with_a_limit_counts_what_is_readable(self):
        self.ok("backup", "copy")
        self.ok("-s", "restored", "restore", "copy", "--force")
        segment = max(glob.glob(self.path("restored", "segment-*")), key=os.path.getsize)
        with open(segment, "r+b") as file:
            file.seek(200)
            byte = file.read(1)
            file.seek(200)
            file.write(bytes([byte[0] ^ 0x55]))
        readable = len(self.run_program("-s", "restored", "read", "--json").objects())
        follower = self.start("-s", "restored", "read", "--follow", "--data", "--limit", str(readable + 1))
        self.assertEqual(readable, len(self.read_lines(follower, readable)))
        self.assertIsNone(follower.poll())
        self.ok("-s", "restored", "append", "a.1.after", "1")
        self.assertEqual(["1"], self.read_lines(follower, 1))
        self.assertEqual(DAMAGED, follower.wait(20))
        self.assertIn(os.path.basename(segment).encode(), follower.stderr.read())

    def test_what_cannot_be_opened_without_a_manifest_is_told(self):
        self.ok("backup", "copy")
        self.ok("-s", "restored", "restore", "copy", "--force")
        for manifest in glob.glob(self.path("restored", "manifest-*")):
            os.unlink(manifest)
        segment, = glob.glob(self.path("restored", "segment-*"))
        with open(segment, "r+b") as file:
            file.truncate(os.path.getsize(segment) - 100)
        result = self.ok("-s", "restored", "repair", "--force", "--json")
        told = [finding for finding in result.objects() if finding.get("file") == os.path.basename(segment)]
        self.assertTrue(any(finding["damage"] and "left out" in finding["message"] for finding in told), result.out)

    def test_a_missing_manifest_is_named(self):
        self.append("a.1.x", "1")
        self.ok("backup", "copy")
        for name in glob.glob(self.path("copy", "manifest-*")):
            os.remove(name)
        found = self.fails(DAMAGED, "-s", "copy", "verify")
        self.assertIn("manifest-* at 0: no file of this name is left", found.out)
        found = self.ok("-s", "copy", "repair", "--force")
        self.assertIn("manifest-* at 0: ", found.out)
        self.assertEqual(self.events(), self.events("-s", "copy"))

    @unserved("a file is taken away from under the server")
    def test_a_lost_copy_of_the_manifest_is_made_good(self):
        for suffix in ("", ".copy"):
            before = self.events()
            names = sorted(name for name in self.files() if "manifest-" in name)
            self.assertEqual([names[0], names[0] + ".copy"], names)
            os.remove(names[0] + suffix)
            found = self.fails(DAMAGED, "verify")
            lost = os.path.basename(names[0]) + suffix
            self.assertIn(f"{lost} at 0: it is missing; the other copy has everything", found.out)
            self.assertEqual(before, self.events())
            self.append("a.1.x", "1")
            self.ok("verify")
            self.assertEqual(2, len([name for name in self.files() if "manifest-" in name]))

    def test_foreign_and_empty_directories(self):
        os.mkdir(self.path("empty"))
        self.fails(NOT_FOUND, "-s", "empty", "read")
        self.write("a-file", "x")
        self.assertNotEqual(FINE, self.run_program("-s", "a-file", "read").status)
        self.assertNotEqual(FINE, self.run_program("-s", "a-file", "append", "a.1.x").status)
        with open(self.path("a-file"), encoding="utf-8") as file:
            self.assertEqual("x", file.read())

    def run_as_nobody(self, *arguments):
        """As a user who may read the store and not write it."""
        os.chmod(self.directory, 0o755)
        as_user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([PROGRAM, *arguments], cwd=self.directory, env=self.environment, capture_output=True,
                              timeout=60, check=False, **as_user)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_read_only_directory(self):
        if os.geteuid() == 0 and not self.others_may_run_it():
            self.skipTest("the program is out of reach for other users")
        os.chmod(self.path("daybook-store"), 0o555)
        self.addCleanup(os.chmod, self.path("daybook-store"), 0o755)
        for name in self.files():
            os.chmod(name, 0o444)
        status, _, err = self.run_as_nobody("append", "a.1.x")
        self.assertEqual(ERROR, status, err)
        self.assertRegex(err, "(?i)permission|read-only")
        self.assertEqual((FINE, "1000\n", ""), self.run_as_nobody("read", "--count"))
        status, _, err = self.run_as_nobody("-s", "new", "append", "a.1.x")
        self.assertEqual(ERROR, status, err)

    def others_may_run_it(self):
        path = os.path.abspath(PROGRAM)
        while path != "/":
            if not os.stat(path).st_mode & 0o001:
                return False
            path = os.path.dirname(path)
        return True

    def test_a_manifest_is_made_anew_on_request(self):
        self.append("a.1.x", "1")
        before = self.events()
        streams = self.ok("stream", "ls").out
        old = [name for name in self.files() if "manifest-" in name]
        self.fails(USAGE, "rebuild")
        self.fails(ERROR, "rebuild", "--force", "--read-only")
        self.ok("rebuild", "--dry-run", "--force")
        self.assertEqual(old, [name for name in self.files() if "manifest-" in name])
        self.assertIn("set aside as asked for", self.ok("rebuild", "--force").out)
        self.assertTrue(glob.glob(self.path("daybook-store", "damaged-*", "manifest-*")))
        self.assertEqual(before, self.events())
        self.assertEqual(streams, self.ok("stream", "ls").out)
        self.ok("verify")
        self.ok("append", "a.1.after")

    def test_repair_of_a_sound_store_changes_nothing(self):
        self.ok("repair", "--force")
        self.assertEqual("1000\n", self.ok("read", "--count").out)
        self.fails(ERROR, "repair", "--force", "--read-only")


if __name__ == "__main__":
    main()
