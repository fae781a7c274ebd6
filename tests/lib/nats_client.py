# SPDX-License-Identifier: Apache-2.0
"""A client of NATS and of JetStream's API in asyncio, and a server as a process: for tests that see a server from outside.

    server = Server(directory, ["announced_version: 2.12.3"])
    await server.start()
    connection = await Connection.open(server.port)
    await connection.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
    ack = await connection.publish("s.1", b"hello", {"Nats-Msg-Id": "1"})
    server.kill()

It is made to be seen through, not to be comfortable: there is no reconnecting, whatever waits raises Closed when the
connection ends, and TimeoutError when nothing comes for TIMEOUT seconds.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback

TIMEOUT = float(os.environ.get("DAYBOOK_REQUEST_SECONDS", "30"))


class Closed(Exception):
    """The connection ended."""


class ApiError(Exception):
    """JetStream said no."""

    def __init__(self, subject, error):
        super().__init__(f"{subject}: {error}")
        self.code = error.get("code")
        self.err_code = error.get("err_code")
        self.description = error.get("description", "")


class Message:
    __slots__ = ("subject", "sid", "reply", "head", "data")

    def __init__(self, subject, sid, reply, head, data):
        self.subject, self.sid, self.reply, self.head, self.data = subject, sid, reply, head, data

    def status(self):
        """The number in the first line of its headers, None where there is none."""
        words = self.head.split(b"\r\n", 1)[0].split(b" ")
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else None

    def header(self, name):
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode() == name:
                return value.strip().decode()
        return None

    def acknowledgement(self):
        """Of a message of a consumer: delivery, stream seq, consumer seq, pending."""
        words = self.reply.split(".")
        return int(words[4]), int(words[5]), int(words[6]), int(words[8])


def block(headers):
    return b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"


class Connection(asyncio.Protocol):
    def __init__(self):
        loop = asyncio.get_running_loop()
        self.pending = bytearray()
        self.subscriptions = {}
        self.waiting = {}
        self.pongs = []
        self.errors = []
        self.info = loop.create_future()
        self.closed = loop.create_future()
        self.transport = None
        self.inbox = f"_INBOX.{random.randrange(1 << 60):x}"
        self.number = 0
        self.on_lame_duck = None

    @classmethod
    async def open(cls, port, host="127.0.0.1", **connect):
        _, self = await asyncio.get_running_loop().create_connection(cls, host, port)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self.wait(self.info)
        self.say(b"CONNECT " + json.dumps({"verbose": False, "pedantic": False, "headers": True, "no_responders": True,
                                           "protocol": 1, "lang": "test", "version": "0", **connect}).encode())
        self.subscribe(self.inbox + ".*", self.answered)
        await self.ping()
        return self

    # ---- Bytes

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        for future in [*self.waiting.values(), *self.pongs, self.info]:
            if not future.done():
                future.set_exception(Closed())
                future.exception()  # nobody need look
        self.waiting.clear()
        self.pongs.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def say(self, *parts):
        """Each part a line."""
        if not self.transport.is_closing():
            self.transport.write(b"".join(part + b"\r\n" for part in parts))

    def data_received(self, data):
        buffer = self.pending
        buffer += data
        at = 0
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            words = bytes(buffer[at:end]).split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if len(buffer) < end + 4 + size:
                    break
                payload = bytes(buffer[end + 2:end + 2 + size])
                at = end + 4 + size
                self.message(words, payload)
            else:
                self.line(words[0], bytes(buffer[at:end]))
                at = end + 2
        del buffer[:at]

    def line(self, verb, text):
        if verb == b"PING":
            self.say(b"PONG")
        elif verb == b"PONG":
            if self.pongs:
                self.settle(self.pongs.pop(0), None)
        elif verb == b"INFO":
            said = json.loads(text[5:])
            self.settle(self.info, said)
            if said.get("ldm") and self.on_lame_duck is not None:
                self.on_lame_duck()
        elif verb == b"-ERR":
            self.errors.append(text.decode())

    def message(self, words, payload):
        has_head = words[0] == b"HMSG"
        count = len(words) - (2 if has_head else 1)
        reply = words[3].decode() if count == 4 else ""
        size = int(words[-2]) if has_head else 0
        message = Message(words[1].decode(), words[2], reply, payload[:size], payload[size:])
        handler = self.subscriptions.get(words[2])
        if handler is not None:
            handler(message)

    @staticmethod
    def settle(future, value):
        if not future.done():
            future.set_result(value)

    async def wait(self, future, seconds=None):
        return await asyncio.wait_for(future, seconds or TIMEOUT)

    def close(self):
        self.transport.close()

    def abort(self):
        self.transport.abort()

    @property
    def is_open(self):
        return not self.closed.done() and not self.transport.is_closing()

    # ---- NATS

    async def ping(self):
        if not self.is_open:
            raise Closed()
        future = asyncio.get_running_loop().create_future()
        self.pongs.append(future)
        self.say(b"PING")
        await self.wait(future)

    def subscribe(self, subject, handler, queue=""):
        self.number += 1
        sid = str(self.number).encode()
        self.subscriptions[sid] = handler
        self.say(" ".join(word for word in ("SUB", subject, queue) if word).encode() + b" " + sid)
        return sid

    def unsubscribe(self, sid, count=0):
        if count == 0:
            self.subscriptions.pop(sid, None)
        self.say(b"UNSUB " + sid + (b" %d" % count if count else b""))

    def send(self, subject, data=b"", reply="", headers=None):
        head = block(headers) if headers else b""
        words = [b"HPUB" if headers else b"PUB", subject.encode()]
        if reply:
            words.append(reply.encode())
        if headers:
            words.append(b"%d" % len(head))
        words.append(b"%d" % (len(head) + len(data)))
        self.say(b" ".join(words), head + data)

    def answered(self, message):
        future = self.waiting.pop(message.subject, None)
        if future is not None and not future.done():
            future.set_result(message)

    def ask(self, subject, data=b"", headers=None):
        """A future of the answer."""
        future = asyncio.get_running_loop().create_future()
        if not self.is_open:
            future.set_exception(Closed())
            future.exception()  # nobody need look
            return future
        self.number += 1
        reply = f"{self.inbox}.{self.number}"
        self.waiting[reply] = future
        self.send(subject, data, reply, headers)
        return future

    async def request(self, subject, data=b"", headers=None, seconds=None):
        return await self.wait(self.ask(subject, data, headers), seconds)

    async def gather(self, subject, data, is_last, seconds=None):
        """All answers to one request, up to one of which `is_last` says so."""
        self.number += 1
        reply = f"{self.inbox}_many.{self.number}"
        got, done = [], asyncio.get_running_loop().create_future()

        def take(message):
            got.append(message)
            if is_last(message):
                self.settle(done, None)
        sid = self.subscribe(reply, take)
        ended = self.closed
        self.send(subject, data, reply)
        try:
            await asyncio.wait({done, ended}, timeout=seconds or TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise Closed() if ended.done() else TimeoutError(f"{subject}: no end after {len(got)} answers")
        finally:
            self.unsubscribe(sid)
        return got

    # ---- JetStream

    async def api(self, name, body=None):
        subject = "$JS.API." + name
        answer = await self.request(subject, json.dumps(body).encode() if body is not None else b"")
        if answer.status() is not None:
            raise ApiError(subject, {"code": answer.status(), "description": answer.head.decode()})
        said = json.loads(answer.data)
        if "error" in said:
            raise ApiError(subject, said["error"])
        return said

    async def publish(self, subject, data, headers=None):
        """The acknowledgement; ApiError where it is refused."""
        return read_ack(subject, await self.request(subject, data, headers))


def read_ack(subject, answer):
    if answer.status() is not None:
        raise ApiError(subject, {"code": answer.status(), "description": answer.head.decode()})
    said = json.loads(answer.data)
    if "error" in said:
        raise ApiError(subject, said["error"])
    return said


def free_port():
    """One outside the range systems give to outgoing connections, so that nobody takes it while a server is down."""
    while True:
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """A server in a folder, always on the same port. Its log gathers in `<folder>/log`."""

    def __init__(self, folder, config=(), program=None, port=None, jetstream=True, environment=None):
        self.folder = str(folder)
        self.program = os.path.abspath(program or os.environ.get("DAYBOOK", "daybook"))
        self.port = port or free_port()
        self.process = None
        self.environment = environment
        self.log_path = os.path.join(self.folder, "log")
        self.config_path = os.path.join(self.folder, "server.conf")
        self.link = os.path.join(self.folder, "nats-server")
        os.symlink(self.program, self.link)
        self.store = os.path.join(self.folder, "store")
        self.jetstream = jetstream
        self.configure(config)

    def configure(self, lines):
        head = ["listen: \"127.0.0.1:%d\"" % self.port]
        if self.jetstream:
            head.append("jetstream { store_dir: \"%s\" }" % self.store)
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join([*head, *lines]) + "\n")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    async def start(self, seconds=60):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.link, "-c", self.config_path], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment, cwd=self.folder)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.log()[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                await asyncio.sleep(0.01)
        raise RuntimeError(f"the server does not listen: {self.log()[-3000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def end(self, number=signal.SIGTERM, seconds=60):
        """Its exit status."""
        self.process.send_signal(number)
        return await self.ended(seconds)

    async def ended(self, seconds=60):
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                self.process.send_signal(signal.SIGABRT)  # what it was doing is in the core, if anywhere
                self.process.wait()
                raise RuntimeError(f"the server did not end within {seconds} s: {self.log()[-3000:]}")
            await asyncio.sleep(0.005)
        return self.process.returncode

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024

    def free(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Wrong(Exception):
    """What was demanded does not hold."""


def demand_clean_log(server):
    """No sanitizer said anything, and nothing was fatal."""
    log = server.log()
    if "Sanitizer" in log or "runtime error" in log or "[FTL]" in log:
        raise Wrong(log[-8000:])


def run_with_server(name, work, config=(), program=None):
    """The exit status of a test: 0, or 1 where the coroutine function `work` of a server in a folder of its own ends with
    any exception; then the folder stays. 77 where the program was built without the server."""
    program = program or os.environ.get("DAYBOOK", "daybook")
    if "serve" not in subprocess.run([os.environ.get("DAYBOOK", "daybook"), "help"], capture_output=True, text=True,
                                     check=True).stdout:
        print("SKIP: built without the server")
        return 77
    seed_from_environment()
    folder = tempfile.mkdtemp(prefix=name + "-")
    server = Server(folder, config, program=program)
    try:
        asyncio.run(work(server))
        demand_clean_log(server)
    except BaseException:
        traceback.print_exc()
        print(f"FAILED; the directory stays: {folder}", flush=True)
        server.free()
        return 1
    shutil.rmtree(folder)
    return 0


def seed_from_environment():
    """Printed, so that a failure can be repeated as far as processes repeat."""
    seed = int(os.environ.get("DAYBOOK_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DAYBOOK_SEED={seed}", flush=True)
    random.seed(seed)
    return seed
