#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ten thousand connections to one server: memory for each, one message to all, storms of leaving and of coming back with
bcrypt, and somebody else's ping-pong beside all of it.

    test_connections.py [CONNECTIONS]      default: $DAYBOOK_CONNECTIONS, else 10000

Both ends are processes of this machine, so each needs that many open files: the soft limit is raised to the hard one, and
where that is too low the test is skipped with a word. The server starts with a soft limit of 1,024, as a shell gives it.
"""

import asyncio
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nats_client import Connection, Server, free_port  # noqa: E402

PROGRAM = os.environ.get("DAYBOOK", "daybook")
BCRYPT_OF_SECRET = "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
BYTES_EACH_MAX = 12 << 10  # it takes about half of that
LATENCY_MAX_S = 2.0  # a machine with two busy cores takes a tenth of that
SECONDS = 60


class Wrong(Exception):
    pass


class Crowd:
    """Sockets and nothing else: an event loop of its own would be what is measured."""

    def __init__(self, port):
        self.port = port
        self.members = []  # [socket, bytes not yet looked at]

    def join(self, count, user, subject):
        connect = json.dumps({"verbose": False, "user": user, "pass": "secret", "name": "one of many", "lang": "test"})
        hello = f"CONNECT {connect}\r\nSUB {subject} 1\r\nPING\r\n".encode()
        new = []
        for _ in range(count):
            member = socket.create_connection(("127.0.0.1", self.port), SECONDS)
            member.sendall(hello)
            new.append([member, b""])
        for member in new:
            self.expect(member, b"PONG\r\n")
        self.members += new

    @staticmethod
    def expect(member, end):
        """Up to and with `end`; what came before it."""
        while end not in member[1]:
            data = member[0].recv(65536)
            if not data:
                raise Wrong(f"the connection ended; before: {member[1][-200:]}")
            member[1] += data
        before, _, member[1] = member[1].partition(end)
        if b"PING\r\n" in before:
            member[0].sendall(b"PONG\r\n")
        return before.replace(b"PING\r\n", b"")

    def all_get(self, payload):
        """Each exactly one message, with this payload."""
        head = b"MSG news 1 %d\r\n" % len(payload)
        for member in self.members:
            before = self.expect(member, payload + b"\r\n")
            if before != head:
                raise Wrong(f"one of many got {before} before its message")

    def leave(self, count, by_reset):
        leaving, self.members = self.members[:count], self.members[count:]
        for member in leaving:
            if by_reset:
                member[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            member[0].close()


async def play_ping_pong(port):
    """The program's other form: until it is told to end, then what it took, as JSON."""
    asking = await Connection.open(port, user="all", **{"pass": "secret"})
    answering = await Connection.open(port, user="all", **{"pass": "secret"})
    answering.subscribe("pingpong", lambda message: answering.send(message.reply, message.data))
    await answering.ping()
    taken, is_over = [], asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    print("ready", flush=True)
    while not is_over.is_set():
        begun = time.monotonic()
        await asking.request("pingpong", b"hello")
        taken.append(time.monotonic() - begun)
        await asyncio.sleep(0.002)
    taken.sort()
    print(json.dumps({"count": len(taken), "p50": taken[len(taken) // 2], "p99": taken[len(taken) * 99 // 100], "most": taken[-1]}))


class PingPong:
    def __init__(self, port):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--ping-pong", str(port)],
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise Wrong("the ping-pong does not begin")

    def end(self, what):
        self.process.terminate()
        said = self.process.communicate(timeout=SECONDS)[0]
        if self.process.returncode != 0:
            raise Wrong("the ping-pong did not go on")
        said = json.loads(said)
        print(f"  beside it {said['count']} pongs: p50 {said['p50'] * 1000:.2f} ms, p99 {said['p99'] * 1000:.2f} ms, "
              f"most {said['most'] * 1000:.1f} ms", flush=True)
        if said["most"] > LATENCY_MAX_S:
            raise Wrong(f"{what}: somebody else waited {said['most']:.2f} s")

    def free(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def connections_of(monitor_port):
    monitor = http.client.HTTPConnection("127.0.0.1", monitor_port, timeout=SECONDS)
    try:
        monitor.request("GET", "/varz")
        return json.load(monitor.getresponse())["connections"]
    finally:
        monitor.close()


def wait_for_connections(monitor_port, count):
    end = time.monotonic() + SECONDS
    while (had := connections_of(monitor_port)) != count:
        if time.monotonic() > end:
            raise Wrong(f"the server counts {had} connections, there are {count}")
        time.sleep(0.02)


class Stage:
    """A line with what it took, and the ping-pong beside it."""

    def __init__(self, server, what):
        self.server, self.what = server, what

    def __enter__(self):
        self.pingpong = PingPong(self.server.port)
        self.begun = time.monotonic()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                print(f"{self.what}: {time.monotonic() - self.begun:.2f} s, {self.server.resident_bytes() / (1 << 20):.1f} MiB", flush=True)
                self.pingpong.end(self.what)
        finally:
            self.pingpong.free()


def run(server, monitor_port, count):
    crowd = Crowd(server.port)
    speaker = Crowd(server.port)
    speaker.join(1, "all", "nothing")

    def publish(payload):
        speaker.members[0][0].sendall(b"PUB news %d\r\n%s\r\n" % (len(payload), payload))
    crowd.join(100, "all", "news")  # what is made once is there
    crowd.leave(100, False)
    wait_for_connections(monitor_port, 1)
    before = server.resident_bytes()
    with Stage(server, f"{count} connect and subscribe"):
        crowd.join(count, "all", "news")
    each = (server.resident_bytes() - before) / count
    print(f"  {each:.0f} bytes each", flush=True)
    if each > BYTES_EACH_MAX:
        raise Wrong(f"a connection takes {each:.0f} bytes")
    with Stage(server, "one message to all"):
        publish(b"hello")
        crowd.all_get(b"hello")
    with Stage(server, f"{count // 2} are gone at once, by reset"):
        crowd.leave(count // 2, True)
        publish(b"who is left?")
        crowd.all_get(b"who is left?")
        wait_for_connections(monitor_port, 1 + len(crowd.members) + 2)
    with Stage(server, f"{min(count // 4, 400)} come back, by bcrypt"):
        crowd.join(min(count // 4, 400), "hashed", "news")
    with Stage(server, f"{count // 4} come back"):
        crowd.join(count // 4, "all", "news")
        publish(b"all here")
        crowd.all_get(b"all here")
    again = (server.resident_bytes() - before) / len(crowd.members)
    print(f"  {again:.0f} bytes each", flush=True)
    if again > BYTES_EACH_MAX:
        raise Wrong(f"after storms a connection takes {again:.0f} bytes")
    with Stage(server, "all leave"):
        crowd.leave(len(crowd.members), False)
        wait_for_connections(monitor_port, 1 + 2)
    speaker.leave(1, False)


async def run_out_of_descriptors(folder):
    """A server that may open few files refuses connections, and says why; those that are there and its store go on."""
    files, wanted = 400, 500
    limited = os.path.join(folder, "limited")
    with open(limited, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nulimit -n {files}\nexec '{os.path.abspath(PROGRAM)}' serve --config \"$2\"\n")
    os.chmod(limited, 0o755)
    os.mkdir(os.path.join(folder, "few"))
    server = Server(os.path.join(folder, "few"), program=limited)
    await server.start()
    try:
        connection = await Connection.open(server.port)
        await connection.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
        taken, told, dropped = Crowd(server.port), 0, 0
        for i in range(wanted):
            member = [socket.create_connection(("127.0.0.1", server.port), SECONDS), b""]
            try:
                member[0].sendall(b"CONNECT {\"verbose\":false}\r\nSUB news 1\r\nPING\r\n")
                taken.expect(member, b"PONG\r\n")
                taken.members.append(member)
            except (Wrong, OSError):
                told += b"-ERR 'maximum connections exceeded'\r\n" in member[1]
                dropped += 1
                member[0].close()
            if i % 50 == 0:
                await connection.publish(f"s.{i}", b"x" * 100000)
        print(f"with {files} files: {len(taken.members)} connections, {told} of {dropped} others were told", flush=True)
        if not files - 100 <= len(taken.members) <= files or told < 10:
            raise Wrong("that is not what was to be")
        if "raise its limit" not in server.log():
            raise Wrong(f"the log does not say why: {server.log()[-1000:]}")
        taken.leave(20, False)
        await asyncio.sleep(1.2)  # the told ones are let go
        taken.join(20, "", "news")
        for i in range(20):
            await connection.publish(f"s.{i}", b"x" * 100000)
        connection.send("news", b"hello")
        taken.all_get(b"hello")
        connection.abort()
        status = await server.end()
        if status != 0:
            raise Wrong(f"the server ends with {status}: {server.log()[-1000:]}")
    finally:
        server.free()


async def main(count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        print(f"SKIP: a process may open only {hard} files here")
        return 77
    folder = tempfile.mkdtemp(prefix="server-connections-")
    monitor_port = free_port()
    server = Server(folder, [f"http: \"127.0.0.1:{monitor_port}\"",
                             "authorization { timeout: 30, users: [ {user: all, password: secret}, {user: hashed, password: \""
                             + BCRYPT_OF_SECRET + "\"} ] }"], program=PROGRAM, jetstream=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        await server.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        run(server, monitor_port, count)
        status = await server.end()
        if status != 0 or "[ERR]" in server.log() or "Sanitizer" in server.log():
            raise Wrong(f"the server ends with {status}: {server.log()[-3000:]}")
        await run_out_of_descriptors(folder)
    except Exception:
        print(f"FAILED; the directory stays: {folder}", flush=True)
        server.free()
        raise
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ping-pong"]:
        asyncio.run(play_ping_pong(int(sys.argv[2])))
        sys.exit(0)
    if "serve" not in subprocess.run([PROGRAM, "help"], capture_output=True, text=True, check=True).stdout:
        print("SKIP: built without the server")
        sys.exit(77)
    sys.exit(asyncio.run(main(int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DAYBOOK_CONNECTIONS", "10000")))))
