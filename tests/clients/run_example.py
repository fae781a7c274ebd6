#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a program of examples/nats against a server, and compares what it prints with examples/nats/expected.

    run_example.py install WORK EXAMPLES            fetches the clients' packages into WORK
    run_example.py run WORK EXAMPLES NAME SERVER    NAME: late-joiner, ..., order-system-go; SERVER: a program that takes
                                                    the flags of nats-server

Each run has a server of its own on a free port of this machine, with a store of its own, and stops it. Exit 77: not
run, the reason is printed (no Node, no Go, no package to be had, no server).
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
START_SECONDS = 20
RUN_SECONDS = 90


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def fail(why):
    print(f"FAILED: {why}")
    sys.exit(1)


def copy_sources(work, examples):
    """The programs beside their packages; node_modules of an earlier run stays."""
    os.makedirs(work, exist_ok=True)
    for name in os.listdir(examples):
        source, target = os.path.join(examples, name), os.path.join(work, name)
        if os.path.isdir(source):
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)


def is_installed(work):
    """What package.json asks for is there, in these versions."""
    with open(os.path.join(work, "package.json"), encoding="utf-8") as file:
        wanted = json.load(file)["dependencies"]
    for name, version in wanted.items():
        path = os.path.join(work, "node_modules", name, "package.json")
        if not os.path.exists(path):
            return False
        with open(path, encoding="utf-8") as file:
            if json.load(file)["version"] != version:
                return False
    return True


def install(work, examples):
    copy_sources(work, examples)
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("no Node.js here: install nodejs and npm to run the examples in JavaScript")
    if is_installed(work):
        return
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--prefer-offline",
               "--fetch-retries=1", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        skip("npm did not get the clients' packages within four minutes")
    if done.returncode != 0 or not is_installed(work):
        print(done.stdout.decode(errors="replace"))
        skip("npm could not get the clients' packages")


class Server:
    """A server on a free port, that is always stopped."""

    def __init__(self, program, directory):
        self.log = os.path.join(directory, "server.log")
        # The flags are those of nats-server, which daybook takes under this name.
        link = os.path.join(directory, "nats-server")
        os.symlink(os.path.realpath(program), link)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [link, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", os.path.join(directory, "store"), "--ports_file_dir",
                 directory], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def url(self, directory):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            for path in glob.glob(os.path.join(directory, f"*_{self.process.pid}.ports")):
                try:
                    with open(path, encoding="utf-8") as file:
                        return json.load(file)["nats"][0]
                except ValueError:
                    pass  # it is being written
            time.sleep(0.05)
        return None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()


def command_of(work, name):
    if not name.endswith("-go"):
        if shutil.which("node") is None or not is_installed(work):
            skip("Node.js or the clients' packages are not there: see the test clients_install")
        return ["node", os.path.join(work, name + ".js")]
    if shutil.which("go") is None:
        skip("no Go here: install it to run the example in Go")
    program = os.path.join(work, name, "program")
    try:
        built = subprocess.run(["go", "build", "-tags", "libsqlite3", "-o", program, "."], cwd=os.path.join(work, name),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240,
                               check=False)
    except subprocess.TimeoutExpired:
        skip("go did not build the example within four minutes")
    if built.returncode != 0:
        text = built.stdout.decode(errors="replace")
        print(text)
        # What it cannot fetch it cannot build; what does not compile is a bug.
        if any(word in text for word in ("dial tcp", "no such host", "proxyconnect", "i/o timeout", "requires go >=",
                                         "toolchain not available", "connection refused", "Forbidden")):
            skip("go could not get the packages of the example")
        fail("the example in Go does not build")
    return [program]


def run(work, examples, name, program):
    if shutil.which(program) is None:
        skip(f"no {program} here")
    command = command_of(work, name)
    with open(os.path.join(examples, "expected", name + ".txt"), encoding="utf-8") as file:
        expected = file.read()
    with tempfile.TemporaryDirectory(prefix="daybook-clients-") as directory:
        server = Server(shutil.which(program), directory)
        try:
            url = server.url(directory)
            if url is None:
                fail(f"the server did not start:\n{server.said()}")
            done = subprocess.run(command, env={**os.environ, "NATS_URL": url}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=RUN_SECONDS, check=False)
            printed, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            printed = (late.stdout or b"").decode(errors="replace")
            fail(f"{name} did not end within {RUN_SECONDS} s; it had printed:\n{printed}\nthe server:\n{server.said()}")
        finally:
            server.stop()
        said = server.said()
    if done.returncode != 0 or printed != expected:
        fail(f"{name} ended with {done.returncode}\nexpected:\n{expected}\nprinted:\n{printed}\n{errors}\nthe server:\n{said}")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "install":
        install(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 6 and sys.argv[1] == "run":
        run(*sys.argv[2:6])
    else:
        print(__doc__)
        sys.exit(2)
