#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that fail under a living store: a file system in a sparse image whose backing has no room left gives real errors at
write-back, a file system that aborts turns read-only. Who waits for a commit is told that its durability is unknown,
nothing is written any more, and after the disk is mended nothing acknowledged is missing."""

import os

from mounts import MIB, Case, has_program, main, run


def fill(place, path):
    """All that is free there, also what others give back or take meanwhile."""
    with open(path, "wb", buffering=0) as file:
        for unit in (MIB, 4096):
            try:
                while file.write(bytes(unit)) > 0:
                    pass
            except OSError:
                pass


class Failing(Case):
    def fail_and_recover(self, kind, size):
        if not has_program("mkfs." + kind):
            self.skipTest(f"mkfs.{kind} is not installed")
        backing = self.tmpfs(name="backing", size=f"{2 * size // MIB}m")
        image, place = self.image(kind, size, backing)
        store = os.path.join(place, "store")
        driver = self.driver()
        self.does(driver, f"open {store} rw 8 256")
        count = self.does(driver, "append 200 900 4")
        self.does(driver, "flush")
        count += self.does(driver, "append 50 900 4")

        # What was written stays backed; what is zeros on the image becomes holes, and nothing may fill them.
        run("sync", "-f", place)
        run("fallocate", "--dig-holes", image)
        ballast = os.path.join(backing, "ballast")
        fill(backing, ballast)
        statuses = set()
        for _ in range(40):
            status, number, _ = self.tell(driver, "append 100 3000 4")
            statuses.add(status)
            count += number
            if status in ("EUNCERTAIN", "EPOISONED"):
                break
            self.tell(driver, "flush")
        self.assertTrue(statuses <= {"OK", "EUNCERTAIN", "EPOISONED", "EIO", "ENOSPC", "EREADONLY"}, statuses)
        self.assertIn("EUNCERTAIN", statuses)
        self.assertEqual("EPOISONED", self.tell(driver, "append 1 100")[0])
        self.assertEqual("EPOISONED", self.tell(driver, "append 1 100")[0])
        # What was acknowledged is still read, and nothing of what is in doubt.
        self.assertEqual(count, self.does(driver, "read"))
        self.tell(driver, "close")

        # The disk is mended: the store opens by itself, or the file system is checked first, as an operator would.
        self.unmount(place)
        os.unlink(ballast)
        if kind == "ext4":
            self.assertLess(run("fsck.ext4", "-y", image, check=False).returncode, 4)
        run("mount", "-o", "loop", image, place)
        self.assertGreaterEqual(self.does(driver, f"open {store} rw 8 256"), 0)
        self.assertGreaterEqual(self.does(driver, "read"), count)
        self.does(driver, "append 50 900 4")
        self.does(driver, "flush")
        self.does(driver, "read")
        self.does(driver, "close")
        self.ok(store, "verify")

    def test_errors_at_write_back_ext4(self):
        self.fail_and_recover("ext4", 48 * MIB)

    def test_errors_at_write_back_xfs(self):
        self.fail_and_recover("xfs", 320 * MIB)

    def test_a_file_system_that_aborts(self):
        if not has_program("mkfs.ext4"):
            self.skipTest("mkfs.ext4 is not installed")
        image, place = self.image("ext4", 48 * MIB, self.directory)
        store = os.path.join(place, "store")
        driver = self.driver()
        self.does(driver, f"open {store} rw 8 256")
        count = self.does(driver, "append 200 900 4")
        done = run("mount", "-o", "remount,abort", place, check=False)
        if done.returncode != 0:
            self.skipTest(f"ext4 cannot be made to abort here: {done.stderr.strip()}")
        status, _, message = self.tell(driver, "append 1 900")
        for _ in range(3):
            again, _, message = self.tell(driver, "flush")
            self.assertIn(again, ("EIO", "EREADONLY", "EPERMISSION", "EPOISONED", "EUNCERTAIN"), message)
        acknowledged = status == "OK"
        self.assertIn(status, ("OK", "EUNCERTAIN"), message)
        self.assertEqual(count + acknowledged, self.does(driver, "read"))
        self.tell(driver, "close")
        self.unmount(place)
        self.assertLess(run("fsck.ext4", "-y", image, check=False).returncode, 4)
        run("mount", "-o", "loop", image, place)
        self.does(driver, f"open {store} rw 8 256")
        self.assertGreaterEqual(self.does(driver, "read"), count + acknowledged)
        self.does(driver, "append 50 900 4")
        self.does(driver, "close")
        self.ok(store, "verify")

    def test_a_read_only_file_system(self):
        place = self.tmpfs(size="32m")
        store = os.path.join(place, "store")
        self.ok(store, "append", "a.x", '{"x":1}')
        run("mount", "-o", "remount,ro", place)
        self.assertEqual(1, int(self.ok(store, "read", "--count")))
        self.ok(store, "verify")
        for arguments in (("append", "a.x", "{}"), ("stream", "purge", "A", "--force")):
            done = self.program(store, *arguments)
            self.assertEqual(1, done.returncode, done.stderr)
            self.assertIn("Read-only", done.stderr)
        run("mount", "-o", "remount,rw", place)
        self.ok(store, "append", "a.x", '{"x":2}')
        self.assertEqual(2, int(self.ok(store, "read", "--count")))


if __name__ == "__main__":
    main()
