# SPDX-License-Identifier: Apache-2.0
"""Small file systems of one's own, always taken away again, and the two programs that are run on them.

Needs root and the right to mount; where that is missing the tests are skipped (status 77) and say so.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["DAYBOOK"]
DRIVER = os.environ["DAYBOOK_DRIVER"]
SKIPPED = 77
MIB = 1 << 20


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True, timeout=60)


def why_not():
    """The reason for which nothing can be mounted here, or None. Asked once, in a mount namespace of our own, so that
    whatever happens to this process takes the mounts with it."""
    if os.geteuid() != 0:
        return "not root"
    libc = ctypes.CDLL(None, use_errno=True)
    clone_new_namespace = 0x00020000
    if libc.unshare(clone_new_namespace) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    done = run("mount", "--make-rprivate", "/", check=False)
    if done.returncode != 0:
        return done.stderr.strip()
    directory = tempfile.mkdtemp(prefix="daybook-kernel-")
    try:
        done = run("mount", "-t", "tmpfs", "-o", "size=1m", "none", directory, check=False)
        if done.returncode != 0:
            return done.stderr.strip()
        run("umount", directory)
    finally:
        os.rmdir(directory)
    return None


def has_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="daybook-kernel-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def mount(self, *options, name):
        """Mount at a new directory; it is unmounted at the end, lazily if something still holds it."""
        place = os.path.join(self.directory, name)
        os.mkdir(place)
        run("mount", *options, place)
        self.addCleanup(self.unmount, place)
        return place

    @staticmethod
    def unmount(place):
        if os.path.ismount(place) and run("umount", place, check=False).returncode != 0:
            run("umount", "-l", place, check=False)

    def tmpfs(self, name="small", **options):
        said = ",".join(f"{key}={value}" for key, value in options.items())
        return self.mount("-t", "tmpfs", "-o", said, "none", name=name)

    def image(self, kind, size, backing, *options):
        """A file system of `size` bytes in a sparse file below `backing`, mounted."""
        path = os.path.join(backing, "image")
        with open(path, "wb") as file:
            file.truncate(size)
        quiet = {"ext4": ["-q", "-F", "-m", "0"], "xfs": ["-q", "-f"]}[kind]
        run("mkfs." + kind, *quiet, path)
        place = self.mount("-o", ",".join(("loop", *options)), path, name=kind)
        return path, place

    # ---- The command line

    def program(self, store, *arguments, stdin=None, timeout=60):
        return subprocess.run([PROGRAM, *[str(argument) for argument in arguments], "-s", store], input=stdin,
                              capture_output=True, text=True, timeout=timeout, check=False)

    def ok(self, store, *arguments, **options):
        done = self.program(store, *arguments, **options)
        self.assertEqual(0, done.returncode, f"{arguments}: {done.stderr}{done.stdout}")
        return done.stdout

    def refused(self, store, *arguments, says, **options):
        done = self.program(store, *arguments, **options)
        self.assertEqual(1, done.returncode, f"{arguments}: {done.stderr}{done.stdout}")
        self.assertIn(says, done.stderr)
        return done

    # ---- The driver

    def driver(self, environment=None):
        process = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                   env={**os.environ, **(environment or {})})
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def tell(self, process, command):
        """One command: (status, number, message)."""
        process.stdin.write(command + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self.fail(f"the process died at '{command}': status {process.wait()}")
        status, number, message = line.rstrip("\n").split(" ", 2)
        return status, int(number), message

    def does(self, process, command):
        """One command that must be fine: its number."""
        status, number, message = self.tell(process, command)
        self.assertEqual("OK", status, f"{command}: {message}")
        return number


def main():
    reason = why_not()
    if reason is not None:
        print(f"SKIP: small file systems cannot be mounted here: {reason}")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
