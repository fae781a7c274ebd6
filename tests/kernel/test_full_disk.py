#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that fill up, in bytes and in inodes: nothing accepted is lost, reading and removing still work, and appends go
on by themselves."""

import base64
import json
import os
import random
import time

from mounts import MIB, Case, has_program, main


def events(count, size=900):
    """Lines for append --batch, of data nobody can compress."""
    source = random.Random(1)
    for number in range(count):
        data = base64.b64encode(source.randbytes(size * 3 // 4)).decode()
        yield json.dumps({"subject": "a.x", "type": "t", "data": {"number": number, "fill": data}}) + "\n"


def free_bytes(place):
    info = os.statvfs(place)
    return info.f_bavail * info.f_frsize


class Full(Case):
    def fill(self, store, count):
        """Append until refused; how many were acknowledged, by the program's own word and by reading."""
        done = self.refused(store, "append", "--batch", "-", "--each", stdin="".join(events(count)), says="No space left")
        self.assertIn("resumes by itself", done.stderr)
        return int(self.ok(store, "read", "--count"))

    def leave_from_within(self, place):
        store = os.path.join(place, "store")
        self.ok(store, "append", "a.x", "{}")
        count = self.fill(store, 60000)
        self.assertGreater(count, 3000)

        # Each process may find a little more, by flushing or merging; then each is refused, and at once.
        batch = "".join(events(3000))
        for _ in range(20):
            begin = time.monotonic()
            done = self.program(store, "append", "--batch", "-", stdin=batch)
            if done.returncode != 0:
                break
            count += 3000
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertLess(time.monotonic() - begin, 2)
        self.assertEqual(count, int(self.ok(store, "read", "--count")))
        self.ok(store, "verify")

        # Each way to make room works, and the room is there when it returns.
        self.ok(store, "stream", "delete", "A", "5", "--force")
        self.assertEqual(count - 1, int(self.ok(store, "read", "--count")))
        before = free_bytes(place)
        self.ok(store, "stream", "purge", "A", "--keep", "100", "--force")
        self.assertGreater(free_bytes(place), before + 2 * MIB)
        self.assertEqual(100, int(self.ok(store, "read", "--count")))
        self.ok(store, "append", "a.x", '{"x":1}')
        self.assertGreater(self.fill(store, 60000), 2000)
        self.ok(store, "stream", "rm", "A", "--force")
        self.assertEqual(0, int(self.ok(store, "read", "--count")))
        self.ok(store, "append", "--batch", "-", stdin="".join(events(2000)))
        self.ok(store, "verify")

    def test_a_full_tmpfs(self):
        self.leave_from_within(self.tmpfs(size="24m"))

    def test_a_full_ext4(self):
        if not has_program("mkfs.ext4"):
            self.skipTest("mkfs.ext4 is not installed")
        self.leave_from_within(self.image("ext4", 28 * MIB, self.directory)[1])

    def test_a_full_xfs(self):
        if not has_program("mkfs.xfs"):
            self.skipTest("mkfs.xfs is not installed")
        place = self.image("xfs", 320 * MIB, self.directory)[1]  # XFS cannot be smaller
        with open(os.path.join(place, "ballast"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_bytes(place) - 24 * MIB)
        self.leave_from_within(place)

    def test_space_comes_back_to_a_living_process(self):
        place = self.tmpfs(size="64m")
        driver = self.driver()
        self.does(driver, f"open {place}/store rw 8 512")
        self.does(driver, "append 100 900")
        ballast = os.path.join(place, "ballast")
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_bytes(place) - 64 * 1024)
        status, _, message = self.tell(driver, "append 100000 900 4")
        self.assertEqual("ENOSPC", status, message)
        count = self.does(driver, "read")
        begin = time.monotonic()
        self.assertEqual("ENOSPC", self.tell(driver, "append 1 60000")[0])
        self.assertEqual("ENOSPC", self.tell(driver, "append 1 60000")[0])
        self.assertLess(time.monotonic() - begin, 1)
        os.unlink(ballast)
        begin = time.monotonic()
        self.assertEqual(10000, self.does(driver, "append 2500 900 4"))
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(count + 10000, self.does(driver, "read"))
        self.does(driver, "close")
        self.does(driver, f"open {place}/store rw 8 512")
        self.assertEqual(count + 10000, self.does(driver, "read"))
        self.does(driver, "close")

    def test_removing_in_a_living_process(self):
        for mode in ("rw", "sync"):
            place = self.tmpfs(size="24m", name=mode)
            driver = self.driver()
            store = f"{place}/{mode}"
            self.does(driver, f"open {store} {mode} 8 512")
            for _ in range(2):
                while True:
                    status, _, message = self.tell(driver, "append 2000 900")
                    if status == "OK":
                        continue
                    # Without a background it is the caller's to flush.
                    if mode == "sync" and self.tell(driver, "flush")[0] == "OK" and \
                            self.tell(driver, "append 1 900")[0] == "OK":
                        continue
                    break
                self.assertEqual("ENOSPC" if mode == "rw" else status, status, message)
                self.assertGreater(self.does(driver, "purge 10"), 1000, f"{mode}: {message}")
                self.assertEqual(10, self.does(driver, "read"))
            self.does(driver, "remove")
            self.does(driver, "close")
            self.does(driver, f"open {store} rw 8 512")
            self.assertEqual(0, self.does(driver, "read"))
            self.does(driver, "close")

    def test_opening_and_closing_a_full_store(self):
        place = self.tmpfs(size="24m")
        store = os.path.join(place, "store")
        self.ok(store, "append", "a.x", "{}")
        count = self.fill(store, 60000)
        try:
            with open(os.path.join(place, "ballast"), "wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
        except OSError:
            pass
        self.assertEqual(0, free_bytes(place))
        driver = self.driver()
        added = 0
        for _ in range(30):
            self.does(driver, f"open {store} rw")
            status, number, message = self.tell(driver, "append 1 60000")
            self.assertIn(status, ("OK", "ENOSPC"), message)
            added += number
            self.does(driver, "close")
        self.assertEqual(count + added, int(self.ok(store, "read", "--count")))
        self.ok(store, "stream", "purge", "A", "--keep", "10", "--force")
        self.assertEqual(10 + added, int(self.ok(store, "read", "--count")))
        self.ok(store, "append", "a.x", '{"x":1}')

    def test_creating_where_there_is_no_room(self):
        for size in ("64k", "1m", "3m", "4m"):
            place = self.tmpfs(size=size, name="tiny" + size)
            self.refused(os.path.join(place, "store"), "append", "a.x", "{}", says="No space left")
            self.assertEqual([], os.listdir(place))

    def test_no_inodes(self):
        place = self.tmpfs(size="64m", nr_inodes=9)
        driver = self.driver()
        self.does(driver, f"open {place}/store rw 4 256")
        total = 0
        for _ in range(200):
            status, number, message = self.tell(driver, "append 500 900")
            total += number
            if status != "OK":
                break
        self.assertEqual("ENOSPC", status, message)
        self.assertEqual(total, self.does(driver, "read"))
        self.does(driver, "close")
        self.does(driver, f"open {place}/store rw 4 256")
        self.assertEqual(total, self.does(driver, "read"))
        os.system(f"mount -o remount,nr_inodes=100 {place}")
        deadline = time.monotonic() + 10
        while self.tell(driver, "append 500 900")[0] != "OK" and time.monotonic() < deadline:
            pass
        self.does(driver, "append 5000 900")
        self.assertLess(time.monotonic(), deadline + 5)
        self.assertGreater(self.does(driver, "read"), total + 5000)
        self.does(driver, "close")


if __name__ == "__main__":
    main()
