# SPDX-License-Identifier: Apache-2.0
"""Runs the program under test in a fresh directory per case.

With DAYBOOK_TEST_SERVED set every store is served by `daybook serve` from its first command on that finds it there, so that
the same cases ask whether commands on a served directory do what they do elsewhere."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ.get("DAYBOOK", "daybook")
SERVED = os.environ.get("DAYBOOK_TEST_SERVED", "") != ""
FINE, ERROR, USAGE, CONFLICT, NOT_FOUND, DAMAGED, UNAVAILABLE = range(7)


class Result:
    """What one run gave: status, out and err as text, raw bytes beside them."""

    def __init__(self, status, out, err):
        self.status = status
        self.out_bytes = out
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")

    def lines(self):
        return self.out.splitlines()

    def objects(self):
        return [json.loads(line) for line in self.lines()]

    def object(self):
        objects = self.objects()
        assert len(objects) == 1, self.out
        return objects[0]

    def error(self):
        """The error object on stderr; notes may stand before it."""
        return json.loads(self.err.splitlines()[-1])


def unserved(reason):
    """Of cases that are not for a served store: it is damaged, replaced or locked from outside."""
    return unittest.skipIf(SERVED, reason)


class Servers:
    """The servers of one case, one per directory of a store."""

    # These have the store to themselves, are servers, or are refused while there is one.
    ALONE = {"repair", "rebuild", "restore", "serve", "bench"}

    def __init__(self, case):
        self.case = case
        self.running = {}

    def store_of(self, arguments, environment):
        """Directory and verb."""
        store, words = environment.get("DAYBOOK_STORE") or "daybook-store", []
        pending = list(arguments)
        while pending:
            argument = pending.pop(0)
            if argument in ("-s", "--store") and pending:
                store = pending.pop(0)
            elif argument.startswith("--store="):
                store = argument[len("--store="):]
            elif not argument.startswith("-"):
                words.append(argument)
        if words[:1] == ["demo"] and len(words) > 1:
            store = words[1]
        return os.path.join(self.case.directory, store), words[0] if words else ""

    def prepare(self, arguments, environment):
        directory, verb = self.store_of(arguments, environment)
        name = os.path.realpath(directory)
        if name in self.running and self.running[name].poll() is not None:
            raise AssertionError(f"the server of {directory} ended")
        if verb in self.ALONE:
            self.end(name)
        elif name not in self.running and os.path.exists(os.path.join(directory, "journal")):
            server = subprocess.Popen([PROGRAM, "serve", directory, "--port", "0", "--json"], cwd=self.case.directory,
                                      env=self.case.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
            ready = server.stdout.readline()
            server.stdout.close()
            if ready:
                self.running[name] = server
            else:
                server.wait()  # it cannot be served: damaged, of somebody else

    def end(self, name):
        server = self.running.pop(name, None)
        if server is not None:
            server.terminate()
            self.case.assertEqual(0, server.wait(60), f"the server of {name}")

    def end_all(self):
        for name in list(self.running):
            self.end(name)


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="daybook-cli-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.environment = {key: value for key, value in os.environ.items() if key != "DAYBOOK_STORE"}
        self.processes = []
        self.servers = Servers(self)
        self.addCleanup(self.servers.end_all)
        self.addCleanup(self.end_processes)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, content):
        mode = "wb" if isinstance(content, bytes) else "w"
        with open(self.path(name), mode) as file:
            file.write(content)
        return self.path(name)

    def run_program(self, *arguments, stdin=b"", timeout=60, environment=None):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        if SERVED:
            self.servers.prepare([str(argument) for argument in arguments], environment or self.environment)
        done = subprocess.run([PROGRAM, *[str(argument) for argument in arguments]], input=stdin, cwd=self.directory,
                              env=environment or self.environment, capture_output=True, timeout=timeout, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments, **options):
        result = self.run_program(*arguments, **options)
        self.assertEqual(FINE, result.status, f"{arguments}: {result.err}{result.out}")
        return result

    def fails(self, status, *arguments, says=None, **options):
        """Fails with that status and one line `daybook: what: why; what to do` (or an error object)."""
        result = self.run_program(*arguments, **options)
        self.assertEqual(status, result.status, f"{arguments}: {result.err}{result.out}")
        if "--json" in arguments:
            error = result.error()
            self.assertLessEqual({"error", "message", "expected", "actual", "missed"}, set(error))
            text = error["message"]
        else:
            self.assertTrue(result.err.startswith("daybook: "), result.err)
            text = result.err
        if says is not None:
            self.assertIn(says, text)
        return result

    def start(self, *arguments, stdin=None):
        if SERVED:
            self.servers.prepare([str(argument) for argument in arguments], self.environment)
        process = subprocess.Popen([PROGRAM, *[str(argument) for argument in arguments]], cwd=self.directory,
                                   env=self.environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.processes.append(process)
        return process

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass

    def read_lines(self, process, count, timeout=20):
        """So many lines of its standard output, or what came until the timeout."""
        deadline = time.monotonic() + timeout
        pending, lines = b"", []
        descriptor = process.stdout.fileno()
        while len(lines) < count and time.monotonic() < deadline:
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                break
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            pending += chunk
            *complete, pending = pending.split(b"\n")
            lines += complete
        self.assertEqual(b"", pending)
        return [line.decode() for line in lines]

    def append(self, subject, data=None, *options):
        return self.ok("append", subject, *([] if data is None else [data]), *options, "--json").object()

    def events(self, *arguments):
        return self.ok("read", *arguments, "--json").objects()


def main():
    unittest.main(verbosity=1)
