#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands on a directory that `daybook serve` has. What each command does there is asked by the other cases (run with
DAYBOOK_TEST_SERVED); here is what is about two processes: signals, ends, strangers, bounds."""

import contextlib
import errno
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import termios
import time

from support import CONFLICT, ERROR, FINE, PROGRAM, UNAVAILABLE, USAGE, main
from test_serve import DEADLINE, Server, Serving

HELLO, ARGUMENTS, RUN, OPENED, INPUT, INPUT_END, WRITTEN, INTERRUPT = range(1, 9)
WELCOME, REFUSED, PREPARED, OPEN, WANT, CLOSE, OUTPUT, ERRORS, RESULT = range(32, 41)


def is_slow():
    """A program with sanitizers: less of it."""
    with open(PROGRAM, "rb") as file:
        program = file.read()
    return b"__asan_init" in program or b"__tsan_init" in program


SLOW = is_slow()


def message(kind, channel=0, number=0, data=b""):
    return struct.pack("<BBHI", kind, channel, 0, number) + data


def hello(version=1, flags=0):
    return message(HELLO, data=b"daybook\n" + struct.pack("<III", version, flags, 0))


class Peer:
    """One end of the conversation, byte by byte."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(DEADLINE)

    @classmethod
    def call(cls, path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(path)
        return cls(connection)

    def say(self, *what, **more):
        self.socket.send(message(*what, **more))

    def hear(self):
        """(type, channel, number, data), None at the end."""
        try:
            data = self.socket.recv(1 << 17)
        except ConnectionResetError:
            return None
        if not data:
            return None
        kind, channel, _, number = struct.unpack("<BBHI", data[:8])
        return kind, channel, number, data[8:]

    def close(self):
        self.socket.close()


class Served(Serving):
    def setUp(self):
        super().setUp()
        self.server = None

    def begin(self, store="shop", *arguments, **options):
        self.environment["DAYBOOK_STORE"] = store
        self.server = Server(self, ["serve", store, "--port", "0", "--json", *arguments], **options)
        self.ready = json.loads(self.server.process.stdout.readline() or "{}")
        self.assertIn("url", self.ready, self.server.text())
        return self.server

    def idle_thread_count(self):
        """Those of a server that runs no command: the last one's thread may end a moment behind its caller."""
        count = 0
        while count != self.thread_count():
            count = self.thread_count()
            time.sleep(0.3)
        return count

    def thread_count(self):
        return len(os.listdir(f"/proc/{self.server.process.pid}/task"))

    def eventually(self, condition, what):
        end = time.monotonic() + DEADLINE
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def finish(self, process, expected=FINE):
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual(expected, process.returncode, err)
        return out.decode(), err.decode()

    def peer(self):
        peer = Peer.call(self.path("shop", "commands"))
        self.addCleanup(peer.close)
        return peer


class Commands(Served):
    def test_they_run_in_the_server(self):
        self.begin()
        self.assertEqual(1, self.append("orders.1.placed", '{"a":1}')["position"])
        # Events kept in memory are seen by the process that has them only.
        self.ok("stream", "add", "M", "m.>", "--storage", "memory")
        self.append("m.1.x", "7")
        self.assertEqual([7], [event["data"] for event in self.events("m.>")])
        self.fails(CONFLICT, "append", "orders.1.paid", "--expect-version", "9")
        self.fails(USAGE, "append", "not a subject")
        self.assertEqual(0o600, os.stat(self.path("shop", "commands")).st_mode & 0o777)
        self.assertEqual(FINE, self.server.end())
        self.assertFalse(os.path.exists(self.path("shop", "commands")))
        self.assertEqual([], self.events("--stream", "M"))

    def test_twenty_at_once(self):
        self.begin()
        running = [self.start("append", f"orders.{n}.placed", str(n), "--json") for n in range(20)]
        positions = {json.loads(self.finish(process)[0])["position"] for process in running}
        self.assertEqual(set(range(1, 21)), positions)
        self.assertEqual("20\n", self.ok("read", "--count").out)

    def test_paths_are_the_callers(self):
        self.begin()
        os.makedirs(self.path("elsewhere"))
        self.write("elsewhere/lines", '{"subject":"a.1.x","data":1}\n')
        os.mkfifo(self.path("elsewhere/pipe"))
        for name in ("lines", "pipe"):
            process = subprocess.Popen([PROGRAM, "-s", "../shop", "append", "--batch", name], cwd=self.path("elsewhere"),
                                       env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.processes.append(process)
            if name == "pipe":
                self.write("elsewhere/pipe", '{"subject":"a.1.x","data":2}\n')
            self.finish(process)
        self.assertEqual([1, 2], [event["data"] for event in self.events()])
        here = self.fails(ERROR, "append", "--batch", "missing")
        self.assertEqual("daybook: cannot open missing: No such file or directory; nothing was appended\n", here.err)

    def test_a_long_path(self):
        store = os.path.join(self.directory, *["a-rather-long-name-of-a-directory"] * 5)
        os.makedirs(store)
        self.begin(store)
        self.append("a.1.x", "1")
        self.assertEqual(FINE, self.server.end())
        self.assertFalse(os.path.exists(os.path.join(store, "commands")))

    def test_the_store_that_a_configuration_names(self):
        self.write("server.conf", f'host: 127.0.0.1\njetstream {{ store_dir: "{self.path("kept")}" }}\n')
        server = Server(self, ["serve", "--config", "server.conf", "--port", "0"])
        server.port()
        self.ok("-s", self.path("kept", "jetstream"), "append", "a.1.x", "1")
        self.assertEqual(FINE, server.end())

    def test_bytes(self):
        self.begin()
        self.ok("kv", "add", "b")
        value = bytes(range(256)) * 3000
        self.ok("kv", "put", "b", "k", "-", stdin=value)
        self.assertEqual(value, self.ok("kv", "get", "b", "k", "--raw").out_bytes)

    def test_what_is_not_asked_for_is_not_read(self):
        self.begin()
        script = f'while read line; do "{PROGRAM}" append a.1.x "$line"; done'
        subprocess.run(["sh", "-c", script], input=b"1\n2\n3\n", cwd=self.directory, env=self.environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=DEADLINE)
        self.assertEqual([1, 2, 3], [event["data"] for event in self.events()])

    def test_output_that_cannot_be_written(self):
        self.begin()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.1.x","data":{n}}}\n' for n in range(30000)))
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "read"], stdout=full, stderr=subprocess.PIPE, cwd=self.directory,
                                  env=self.environment, timeout=DEADLINE, check=False)
        self.assertEqual(ERROR, done.returncode)
        self.assertIn(b"cannot write the output: No space left", done.stderr)
        process = self.start("read")
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((ERROR, b""), (process.returncode, err))
        # What was not printed is not acknowledged.
        self.ok("consumer", "add", "A", "c")
        with open("/dev/full", "wb") as full:
            subprocess.run([PROGRAM, "consumer", "next", "A", "c"], stdout=full, stderr=subprocess.DEVNULL,
                           cwd=self.directory, env=self.environment, timeout=DEADLINE, check=False)
        info = self.ok("consumer", "info", "A", "c", "--json").object()
        self.assertEqual(1, info["ack_pending"])

    def test_a_closed_standard_input(self):
        self.begin()
        done = subprocess.run(["sh", "-c", f'exec "{PROGRAM}" append a.1.x - <&-'], cwd=self.directory, timeout=DEADLINE,
                              env=self.environment, capture_output=True, check=False)
        self.assertEqual((ERROR, b"daybook: cannot read standard input: Bad file descriptor; nothing was done\n"),
                         (done.returncode, done.stderr))
        self.assertEqual("0\n", self.ok("read", "--count").out)

    def test_those_that_need_the_store_alone_say_so(self):
        self.begin()
        self.append("a.1.x", "1")
        self.ok("backup", "copy")
        for words in (["repair", "--force"], ["rebuild", "--force"], ["restore", "copy", "--force"]):
            begun = time.monotonic()
            self.fails(UNAVAILABLE, *words, says=f"daybook serve has it (process {self.server.process.pid})")
            self.assertLess(time.monotonic() - begun, 3)
        self.ok("repair", "--dry-run")
        result = self.ok("verify")
        self.assertNotIn("not a file of the store", result.out + result.err)

    def test_projections_beside_the_server(self):
        said = json.loads(self.ok("info", "--build", "--json").out)
        if "sqlite" not in str(said.get("projections", [])).lower():
            self.skipTest("SKIP: this build has no projections into SQLite")
        self.write("orders.sql", "-- projection: orders\n-- version: 1\n-- events: orders.>\n-- [setup]\n"
                                 "CREATE TABLE orders (id TEXT PRIMARY KEY);\n-- [on type placed]\n"
                                 "INSERT INTO orders VALUES (:aggregate_id);\n-- [teardown]\nDROP TABLE orders;\n")
        self.begin()
        for n in range(3):
            self.append(f"orders.{n}.placed", "{}")
        self.ok("projection", "run", "orders.sql", "--to", "sqlite:model.db", "--once")

        def rows():
            with contextlib.closing(sqlite3.connect(self.path("model.db"))) as model:
                return model.execute("SELECT count(*) FROM orders").fetchone()[0]
        self.assertEqual(3, rows())
        # One that goes on hears of what comes.
        running = self.start("projection", "run", "orders.sql", "--to", "sqlite:model.db")
        self.append("orders.3.placed", "{}")
        self.eventually(lambda: rows() == 4, "the projection follows")
        running.send_signal(signal.SIGINT)
        self.finish(running)

    def test_a_million_lines_go_through(self):
        count = 50_000 if SLOW else 1_000_000
        self.begin()
        self.append("a.0.x", "0")
        writer = self.start("append", "--batch", "-", "--each", stdin=subprocess.PIPE)
        feeder = os.fork()
        if feeder == 0:
            status = 1
            try:
                with os.fdopen(writer.stdin.fileno(), "wb", buffering=1 << 20, closefd=False) as lines:
                    for n in range(count):
                        lines.write(b'{"subject":"a.%d.x","data":%d}\n' % (n % 100, n))
                status = 0
            finally:
                os._exit(status)
        writer.stdin.close()
        lines = last = 0
        while True:
            part = os.read(writer.stdout.fileno(), 1 << 20)
            if not part:
                break
            lines += part.count(b"\n")
            last = part
        self.assertEqual(0, os.waitpid(feeder, 0)[1])
        self.assertEqual(FINE, writer.wait(DEADLINE))
        self.assertEqual(count, lines)
        self.assertIn(f"position {count + 1},".encode(), last[-200:])
        if not SLOW:
            with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
                peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            self.assertLess(peak, 400 * 1024, "KiB at the most")  # 192 MiB of memory budget and what is under way


class Signals(Served):
    def test_a_follower_ends_well(self):
        self.begin()
        self.append("a.1.x", "1")
        for words in (["read", "--follow", "--json"], ["kv", "watch", "b", "--json"]):
            if words[0] == "kv":
                self.ok("kv", "add", "b")
                self.ok("kv", "put", "b", "k", "v")
            for number in (signal.SIGINT, signal.SIGTERM):
                follower = self.start(*words)
                self.assertEqual(1, len(self.read_lines(follower, 1)))
                follower.send_signal(number)
                self.finish(follower)

    def test_the_second_one_ends_a_program_whose_output_nobody_takes(self):
        self.begin()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.1.x","data":{n}}}\n' for n in range(30000)))
        before = self.idle_thread_count()
        for numbers in ((signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,)):
            # More than a pipe holds: it stands still in the middle, writing.
            follower = self.start("read", "--follow", "--json")
            held = -1

            def is_stuck():
                nonlocal held
                last, held = held, fcntl.ioctl(follower.stdout, termios.FIONREAD, b"\0" * 4)
                return struct.unpack("i", held)[0] >= 4096 and held == last
            self.eventually(lambda: time.sleep(0.2) or is_stuck(), "it stands still")
            follower.send_signal(numbers[0])
            time.sleep(0.3)
            self.assertIsNone(follower.poll())
            if len(numbers) == 1:  # it ends well once somebody reads
                out, _ = self.finish(follower)
                self.assertEqual("}\n", out[-2:])
            else:
                follower.send_signal(numbers[1])
                self.assertEqual(ERROR, follower.wait(DEADLINE))
            self.eventually(lambda: self.thread_count() <= before, "the command ends")

    def test_elsewhere_it_ends_the_program_and_the_command(self):
        self.begin()
        self.append("a.1.x", "1")
        self.ok("consumer", "add", "A", "c", "--deliver", "new")
        before = self.idle_thread_count()
        for words in (["consumer", "next", "A", "c", "--timeout", "1h"], ["append", "--batch", "-", "--each"],
                      ["append", "a.1.x", "-"]):
            process = self.start(*words, stdin=subprocess.PIPE)
            if words[-1] == "-":
                process.stdin.write(b"half of it")
                process.stdin.flush()
            self.eventually(lambda: self.thread_count() > before, "the command runs")
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            self.assertEqual(-signal.SIGINT, process.wait(DEADLINE))
            self.eventually(lambda: self.thread_count() <= before, "the command ends")
        # What was on its way is not taken for the whole.
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_killed_in_the_middle_of_its_input(self):
        self.begin()
        self.append("a.1.x", "1")
        before = self.idle_thread_count()
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = self.start("append", "a.1.x", "-", stdin=subprocess.PIPE)
            process.stdin.write(b"x" * 300_000)
            process.stdin.flush()
            self.eventually(lambda: self.thread_count() > before, "the command runs")
            process.send_signal(number)
            process.wait(DEADLINE)
            self.eventually(lambda: self.thread_count() <= before, "the command ends")
        self.assertEqual("1\n", self.ok("read", "--count").out)


class Ends(Served):
    def each(self, count):
        """An `append --each` with `count` lines acknowledged, waiting for more."""
        writer = self.start("append", "--batch", "-", "--each", "--json", stdin=subprocess.PIPE)
        for n in range(count):
            writer.stdin.write(b'{"subject":"a.1.x","data":%d}\n' % n)
        writer.stdin.flush()
        self.assertEqual(count, len(self.read_lines(writer, count)))
        return writer

    def test_the_server_stops(self):
        self.begin()
        writer = self.each(10)
        follower = self.start("read", "--follow", "--json")
        self.read_lines(follower, 10)
        begun = time.monotonic()
        self.assertEqual(FINE, self.server.end())
        self.assertLess(time.monotonic() - begun, 5)
        for process in (writer, follower):
            _, err = self.finish(process, UNAVAILABLE)
            error = json.loads(err.splitlines()[-1])
            self.assertEqual("ECLOSED", error["error"])
            self.assertIn("is stopping", error["message"])
        self.assertEqual(list(range(10)), [event["data"] for event in self.events()])

    def test_a_caller_that_stands_still_does_not_hold_the_end_up(self):
        self.begin()
        self.ok("append", "--batch", "-", stdin="".join(f'{{"subject":"a.1.x","data":{n}}}\n' for n in range(30000)))
        reader = self.start("read")  # nobody reads its pipe
        select.select([reader.stdout], [], [], DEADLINE)
        time.sleep(0.3)
        begun = time.monotonic()
        self.assertEqual(FINE, self.server.end())
        self.assertLess(time.monotonic() - begun, 10)
        reader.kill()

    def test_the_server_is_killed(self):
        self.begin()
        writer = self.each(10)
        self.server.process.kill()
        _, err = self.finish(writer, UNAVAILABLE)
        self.assertIn("is gone", json.loads(err.splitlines()[-1])["message"])
        # Its socket is still there, and in nobody's way.
        self.assertTrue(os.path.exists(self.path("shop", "commands")))
        self.server.process.wait()
        self.assertEqual(list(range(10)), [event["data"] for event in self.events()])
        self.append("a.1.x", "10")
        self.begin()
        self.append("a.1.x", "11")
        self.assertEqual("12\n", self.ok("read", "--count").out)

    def test_a_server_that_begins(self):
        self.ok("-s", "shop", "append", "a.1.x", "0")
        self.environment["DAYBOOK_STORE"] = "shop"
        for _ in range(3):
            server = Server(self, ["serve", "shop", "--port", "0", "--json"])
            running = [self.start("append", "a.1.x", "1") for _ in range(4)]
            for process in running:
                self.finish(process)
            server.process.stdout.readline()
            self.assertEqual(FINE, server.end())
        self.assertEqual("13\n", self.ok("read", "--count").out)

    def test_a_server_that_does_not_answer(self):
        self.begin()
        self.append("a.1.x", "1")
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            self.assertEqual([1], [event["data"] for event in self.events()])  # read beside it
            self.fails(UNAVAILABLE, "append", "a.1.x", "2", "--wait", "300ms", says=f"process {self.server.process.pid}")
        finally:
            self.server.process.send_signal(signal.SIGCONT)
        self.append("a.1.x", "3")
        self.assertEqual("2\n", self.ok("read", "--count").out)


class Strangers(Served):
    def test_callers_that_make_no_sense(self):
        self.begin()
        self.append("a.1.x", "1")
        arguments = message(ARGUMENTS, data=b"shop\0read\0--count\0")
        for said in ([b""], [b"x"], [b"\0" * 70000], [message(RUN, number=3)], [hello(), message(RUN, number=0)],
                     [hello(), message(RUN, number=7)], [hello(), arguments, message(RUN, number=2)],
                     [hello(), message(ARGUMENTS, data=b"shop\0read"), message(RUN, number=2)],
                     [hello(), message(OUTPUT, data=b"x")], [hello(), hello()], [message(HELLO, data=b"x" * 20)],
                     [hello(), arguments, message(RUN, number=3), message(INPUT, channel=1, data=b"x")],
                     [hello(), arguments, message(RUN, number=3), message(OPENED, channel=3, data=b"\0" * 12)],
                     [hello(), arguments, message(RUN, number=3), message(INTERRUPT), message(WRITTEN, number=5)]):
            peer = self.peer()
            for part in said:
                try:
                    peer.socket.send(part)
                except (BrokenPipeError, ConnectionResetError):
                    break
            peer.close()
        # Too many arguments.
        peer = self.peer()
        peer.socket.send(hello())
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                peer.socket.send(message(ARGUMENTS, data=b"x" * 65536))
                time.sleep(0.001)
        # Commands that are not for a server.
        for verb in (b"serve", b"bench", b"repair", b"projection\0ls", b"help"):
            peer = self.peer()
            peer.socket.send(hello())
            self.assertEqual(WELCOME, peer.hear()[0])
            peer.say(ARGUMENTS, data=b"shop\0" + verb + b"\0")
            peer.say(RUN, number=verb.count(b"\0") + 2)
            kinds = {}
            while (heard := peer.hear()) is not None:
                kinds[heard[0]] = heard[2]
                if heard[0] in (OUTPUT, ERRORS):
                    peer.say(WRITTEN)
                if heard[0] == RESULT:
                    break
            self.assertEqual(USAGE, kinds.get(RESULT), (verb, kinds))
        self.append("a.1.x", "2")
        self.assertEqual("2\n", self.ok("read", "--count").out)
        self.assertIsNone(self.server.process.poll())

    def test_places_are_bounded_and_some_are_for_writers(self):
        self.begin()
        self.append("a.1.x", "1")
        peers, answers = [], []
        for flags in [16] * 250 + [0] * 80:
            peer = self.peer()
            peers.append(peer)
            peer.socket.send(hello(flags=flags))
            answers.append(peer.hear()[0])
        self.assertEqual((192, 64), (answers[:250].count(WELCOME), answers[250:].count(WELCOME)))
        # Now there is no place: reads go on beside the server, writes wait and say whom for.
        self.assertEqual("1\n", self.ok("read", "--count").out)
        self.fails(UNAVAILABLE, "append", "a.1.x", "2", "--wait", "200ms", says="in use by process")
        for peer in peers:
            peer.close()
        self.append("a.1.x", "2")

    def fake(self, store="shop"):
        """A store that is locked, with a server of ours in front of it."""
        self.ok("-s", store, "append", "a.1.x", "1")
        lock = open(self.path(store, "LOCK"), "rb")
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.path(store, "commands"))
        listener.listen(8)
        listener.settimeout(DEADLINE)
        self.addCleanup(listener.close)
        self.environment["DAYBOOK_STORE"] = store
        return listener

    def accept(self, listener):
        peer = Peer(listener.accept()[0])
        self.addCleanup(peer.close)
        self.assertEqual(HELLO, peer.hear()[0])
        return peer

    def test_another_version(self):
        listener = self.fake()
        for words, status in ((["append", "a.1.x", "2"], UNAVAILABLE), (["read", "--json"], FINE)):
            process = self.start(*words)
            peer = self.accept(listener)
            peer.say(REFUSED, number=1, data=b"0.0.1")
            peer.close()
            out, err = self.finish(process, status)
            self.assertEqual(1 if status == FINE else 0, out.count("\n"))
            self.assertEqual(status != FINE, "another version of daybook" in err)

    def welcome(self, listener):
        peer = self.accept(listener)
        peer.say(WELCOME, number=77)
        said = b""
        while (heard := peer.hear())[0] == ARGUMENTS:
            said += heard[3]
        self.assertEqual(RUN, heard[0])
        return peer, said

    def test_a_server_sees_only_what_the_command_line_names(self):
        listener = self.fake()
        self.write("named", "x")
        self.write("secret", "y")
        process = self.start("append", "--batch", "named")
        peer, said = self.welcome(listener)
        self.assertEqual(b"shop\0append\0--batch\0named\0", said)
        for source, path, expected in ((2, b"secret", errno.EPERM), (2, b"/etc/passwd", errno.EPERM), (3, b".", errno.EPERM),
                                       (1, b"-", errno.EPERM), (9, b"named", errno.EINVAL), (2, b"named", 0)):
            peer.say(OPEN, 0, source, path)
            heard = peer.hear()
            self.assertEqual((OPENED, expected), (heard[0], heard[2]), path)
        peer.say(WANT, 0, 65536)
        self.assertEqual((INPUT, 0, 0, b"x"), peer.hear())
        peer.say(WANT, 0, 65536)
        self.assertEqual((INPUT_END, 0, 0, b""), peer.hear())
        peer.say(RESULT, 0, 3)
        self.finish(process, 3)

    def test_a_server_that_makes_no_sense(self):
        listener = self.fake()
        for said in (message(HELLO), b"x", message(99), message(OUTPUT, channel=9, data=b"x"), message(RESULT, channel=1)):
            process = self.start("append", "a.1.x", "2")
            peer, _ = self.welcome(listener)
            peer.socket.send(said)
            _, err = self.finish(process, UNAVAILABLE)
            self.assertIn("cut short: the server of shop (process 77)", err)

    def test_other_users(self):
        if os.geteuid() != 0:
            self.skipTest("SKIP: only root can be somebody else")
        nobody = 65534
        os.chmod(self.directory, 0o777)
        program = shutil.copy(PROGRAM, self.path("program"))

        def become():
            os.setgroups([])
            os.setgid(nobody)
            os.setuid(nobody)

        def as_nobody(*words):
            return subprocess.run([program, *words], cwd=self.directory, env=self.environment, capture_output=True,
                                  timeout=DEADLINE, preexec_fn=become, check=False)
        # Root's server is not for others; who may read the files may read.
        self.begin()
        self.append("a.1.x", "1")
        self.assertNotEqual(FINE, as_nobody("append", "a.1.x", "2", "--wait", "0").returncode)
        self.assertEqual((FINE, b"1\n"), (lambda done: (done.returncode, done.stdout))(as_nobody("read", "--count")))
        self.assertEqual("1\n", self.ok("read", "--count").out)
        self.server.end()
        # Root may use another's, and leaves no files of its own there.
        process = subprocess.Popen([program, "serve", "theirs", "--port", "0", "--json"], cwd=self.directory, stdin=subprocess.DEVNULL,
                                   env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=become)
        self.processes.append(process)
        process.stdout.readline()
        self.write("mine", "only root reads this")
        os.chmod(self.path("mine"), 0o600)
        with open(self.path("mine"), "rb") as file:
            done = subprocess.run([PROGRAM, "-s", "theirs", "append", "a.1.x", "-"], stdin=file, cwd=self.directory,
                                  env=self.environment, capture_output=True, timeout=DEADLINE, check=False)
        self.assertEqual(FINE, done.returncode, done.stderr)
        self.assertEqual({nobody}, {os.lstat(self.path("theirs", name)).st_uid for name in os.listdir(self.path("theirs"))})
        process.terminate()
        self.assertEqual(FINE, process.wait(DEADLINE))


class Terminals(Served):
    def on_a_terminal(self, *arguments, answer=None, environment=None):
        """Output and exit status of a program whose three descriptors are one terminal."""
        terminal, end = pty.openpty()
        fcntl.ioctl(end, 0x5414, struct.pack("HHHH", 24, 100, 0, 0))  # TIOCSWINSZ
        process = subprocess.Popen([PROGRAM, *arguments], cwd=self.directory, env=environment or self.environment, stdin=end,
                                   stdout=end, stderr=end, start_new_session=True)
        self.processes.append(process)
        os.close(end)
        shown = b""
        while True:
            ready, _, _ = select.select([terminal], [], [], 60)
            try:
                part = os.read(terminal, 65536) if ready else b""
            except OSError:
                part = b""
            if not part:
                break
            shown += part
            if answer is not None and b"[y/N] " in shown:
                os.write(terminal, answer)
                answer = None
        os.close(terminal)
        return shown.decode(), process.wait(DEADLINE)

    def test_questions_colours_and_columns(self):
        self.ok("demo", "unserved", "--orders", "30")
        shutil.copytree(self.path("unserved"), self.path("shop"))
        self.begin()
        there = dict(self.environment, DAYBOOK_STORE="unserved")
        for words in (["read", "--last", "20"], ["ls"], ["stream", "ls"], ["state", "orders.1"], ["kv", "ls"]):
            self.assertEqual(self.on_a_terminal(*words, environment=there), self.on_a_terminal(*words), words)
        shown, status = self.on_a_terminal("stream", "rm", "ORDERS", answer=b"n\n")
        self.assertEqual(ERROR, status)
        self.assertIn("nothing was changed", shown)
        shown, status = self.on_a_terminal("stream", "rm", "ORDERS", answer=b"y\n")
        self.assertEqual(FINE, status, shown)
        self.assertNotIn("ORDERS", self.ok("stream", "ls").out)

    def test_progress(self):
        lines = 40_000 if SLOW else 1_500_000
        with open(self.path("lines"), "w", encoding="ascii") as file:
            for n in range(lines):
                file.write(f'{{"subject":"a.{n % 50}.x","data":{n}}}\n')
        self.begin()
        shown, status = self.on_a_terminal("import", "ndjson", "lines")
        self.assertEqual(FINE, status, shown)
        self.assertIn("events imported", shown)
        if not SLOW:
            self.assertRegex(shown, r"importing \[#*\.*\] +\d+%")


class Wire(Served):
    def test_clients_of_nats_and_commands_see_each_other_live(self):
        self.ok("-s", "shop", "append", "a.0.x", "-1")
        self.begin()
        connection = self.connect(self.ready["port"])
        self.assertEqual("PONG", connection.line())
        config = json.dumps({"stream_name": "A", "config": {"deliver_subject": "here", "ack_policy": "none", "deliver_policy": "all"}})
        connection.send("SUB here 1", "SUB answer 2", f"PUB $JS.API.CONSUMER.CREATE.A answer {len(config)}", config)
        self.assertTrue(connection.line().startswith("MSG answer 2 "))
        self.assertNotIn("error", json.loads(connection.line()))
        self.assertTrue(connection.line().startswith("MSG a.0.x "))
        self.assertEqual("-1", connection.line())
        follower = self.start("read", "--follow", "--after", "1", "--json")
        writer = self.start("append", "--batch", "-", "--each", stdin=subprocess.PIPE)
        for n in range(20):
            subject = f"a.{n}.x"
            if n % 2 == 0:
                writer.stdin.write(json.dumps({"subject": subject, "data": n}).encode() + b"\n")
                writer.stdin.flush()
            else:
                connection.send(f"PUB {subject} {len(str(n))}", str(n))
            # Each is with both before the next is written.
            event = json.loads(self.read_lines(follower, 1)[0])
            self.assertEqual((subject, n), (event["subject"], event["data"]))
            head = connection.line().split()
            self.assertIn(head[0], ("MSG", "HMSG"))
            self.assertEqual(subject, head[1])
            while head[0] == "HMSG" and connection.line() != "":
                pass
            self.assertEqual(str(n), connection.line())
        writer.stdin.close()
        self.assertEqual(FINE, writer.wait(DEADLINE))
        follower.send_signal(signal.SIGINT)
        self.finish(follower)

    def api(self, connection, subject, body=""):
        connection.send(f"PUB $JS.API.{subject} answer {len(body)}", body)
        self.assertTrue(connection.line().startswith("MSG answer 2 "))
        return json.loads(connection.line())

    def publish(self, connection, subject):
        """The acknowledgement; None where no stream takes it."""
        connection.send(f"PUB {subject} answer 1", "x")
        head = connection.line()
        if head.startswith("HMSG"):
            while connection.line() != "":
                pass
            connection.line()
            return None
        return json.loads(connection.line())

    def test_streams_of_commands_are_served_at_once(self):
        self.begin()
        connection = self.connect(self.ready["port"], headers=True, no_responders=True)
        self.assertEqual("PONG", connection.line())
        connection.send("SUB answer 2")
        self.assertIsNone(self.publish(connection, "a.1.x"))
        self.ok("stream", "add", "A", "a.>")
        self.eventually(lambda: self.publish(connection, "a.1.x") is not None, "a stream that was added")
        self.ok("stream", "edit", "A", "--subjects", "b.>", "--force")
        self.eventually(lambda: self.publish(connection, "b.1.x") is not None, "a stream that was changed")
        self.assertIsNone(self.publish(connection, "a.1.x"))
        self.append("c.1.x", "1")  # makes C
        self.eventually(lambda: self.publish(connection, "c.1.x") is not None, "a stream that an append made")
        self.ok("stream", "rm", "C", "--force")
        self.eventually(lambda: self.publish(connection, "c.1.x") is None, "a stream that was removed")
        # The other way, and both in turns.
        self.assertNotIn("error", self.api(connection, "STREAM.CREATE.D", json.dumps({"name": "D", "subjects": ["d.>"]})))
        self.assertEqual("D", self.append("d.1.x", "1")["stream"])
        self.ok("stream", "rm", "D", "--force")
        self.assertNotIn("error", self.api(connection, "STREAM.CREATE.D", json.dumps({"name": "D", "subjects": ["d.>"]})))
        self.assertEqual(1, self.publish(connection, "d.1.x")["seq"])
        self.assertEqual(2, self.append("d.1.x", "2")["seq"])
        time.sleep(0.3)  # what was told of the first D
        self.assertEqual(3, self.publish(connection, "d.1.x")["seq"])
        self.assertEqual(FINE, self.server.end())


if __name__ == "__main__":
    main()
