#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything clients may do, at random and at once, for as long as is wanted; made for servers built with sanitizers.

Wildcards and queue groups, streams and consumers made, changed and removed while they are used, pulls and pushes of all kinds,
batches, mirrors and sources of streams that come and go, receivers that read slowly or not at all, nonsense, half-open
connections, resets, users with bcrypt, reloads of right and of wrong configurations. In the end the server is a lame duck. All the
time must hold:

  - whoever asks rightly is answered within DAYBOOK_REQUEST_SECONDS; an answer of the API is JSON of its type
  - a message comes only to whom its subject concerns, never what is denied to the user, never one's own without echo
  - what was acknowledged to a faithful publisher is there in the end, once and in order, also in a mirror of its stream, and in
    a stream that has it as a source from the middle of the time on
  - a ping-pong between two goes on; memory stays below a bound
  - the server ends with 0, and no sanitizer said anything

    test_soak.py [SECONDS]      default: $DAYBOOK_SOAK_SECONDS, else 8

The seed is printed; DAYBOOK_SEED repeats the choices, not their order in time. On failure the directory stays.
"""

import asyncio
import base64
import collections
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nats_client import ApiError, Closed, Connection, Wrong, free_port, read_ack, run_with_server  # noqa: E402

NS = 1000000000
MEMORY_MAX = int(os.environ.get("DAYBOOK_SOAK_MEMORY_MIB", "4000")) << 20  # with the quarantine of an address sanitizer
BCRYPT_OF_SECRET = "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
TOKENS = ("a", "b", "c", "dd", "eee")
NAMES = ("S1", "S2", "S3", "S4", "S5")
MIRRORS, GATHERERS = ("M1", "M2"), ("G1", "G2")
ALL_NAMES = NAMES + MIRRORS + GATHERERS
CONSUMERS = ("c1", "c2", "c3", "c4")


def matches(pattern, subject):
    wanted, had = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(had) > i
        if i >= len(had) or token not in ("*", had[i]):
            return False
    return len(wanted) == len(had)


def some_subject():
    return ".".join(["core", *(random.choice(TOKENS) for _ in range(random.randrange(1, 5)))])


def some_filter():
    words = ["core", *(random.choice((*TOKENS, "*")) for _ in range(random.randrange(1, 4)))]
    return ".".join([*words[:random.randrange(1, len(words) + 1)], ">"] if random.random() < 0.4 else words)


class World:
    def __init__(self, server, seconds):
        self.server = server
        self.end = time.monotonic() + seconds
        self.is_over = False
        self.counts = collections.Counter()
        self.refusals = collections.Counter()
        self.failed = asyncio.get_running_loop().create_future()
        self.faithful = []  # (seq, data)
        self.faithful_copies = ["MIRROR"]  # names of streams that must have the same in the end
        self.slowest = 0.0

    @property
    def is_running(self):
        return time.monotonic() < self.end and not self.is_over

    def fail(self, text):
        """From a handler, where an exception would be swallowed."""
        if not self.failed.done():
            self.failed.set_exception(Wrong(text))

    async def connect(self, user="all", **options):
        return await Connection.open(self.server.port, user=user, **{"pass": "secret", **options})

    def refused(self, error):
        self.refusals[f"{error.err_code or error.code} {re.sub('[0-9]+|js.*', '#', error.description)[:60]}"] += 1
        if error.err_code is None and error.code not in (404, 408, 503):
            self.fail(f"a refusal without a code: {error}")


async def forever(world, work, *arguments, may_be_closed=False):
    """Does it again and again, each time with what it needs of its own."""
    while world.is_running:
        try:
            await work(world, *arguments)
        except TimeoutError as error:  # before OSError, of which it is one
            raise Wrong(f"{work.__name__}: there was no answer: {error}") from error
        except (Closed, OSError) as error:
            if not may_be_closed and world.is_running:
                raise Wrong(f"{work.__name__}: the server closed the connection") from error
        except Exception as error:
            raise Wrong(f"{work.__name__}: {type(error).__name__}: {error}") from error
        world.counts[work.__name__] += 1
        await asyncio.sleep(0)


# ---- Publish and subscribe -----------------------------------------------------------------------------------------------


async def chat(world):
    """Subscribes and publishes, and looks whether what comes was meant."""
    echo = random.random() < 0.7
    name = f"{random.randrange(1 << 40):x}"
    connection = await world.connect(random.choice(("all", "all", "limited", "hashed")), echo=echo, name=name,
                                     verbose=random.random() < 0.1, pedantic=random.random() < 0.2,
                                     no_responders=random.random() < 0.5)

    def listen():
        pattern = some_filter()

        def take(message):
            if not matches(pattern, message.subject):
                world.fail(f"{message.subject} came to {pattern}")
            if not echo and message.data.split(b" ")[0] == name.encode():
                world.fail(f"{message.subject}: an echo of one's own")
            world.counts["messages"] += 1
        return connection.subscribe(pattern, take, random.choice(("", "", "q1", "q2")))
    sids = []
    for _ in range(random.randrange(5, 60)):
        action = random.random()
        if action < 0.15 and len(sids) < 30:
            sids.append(listen())
        elif action < 0.25 and sids:
            connection.unsubscribe(sids.pop(random.randrange(len(sids))), random.choice((0, 0, 1, 5)))
        elif action < 0.9:
            payload = name.encode() + b" " + random.choice((b"", b"x" * 50, b"y" * 5000, b"z" * 100000))
            headers = {"A": "b", "C": "d" * random.randrange(300)} if random.random() < 0.3 else None
            for _ in range(random.randrange(1, 8)):
                connection.send(some_subject(), payload, random.choice(("", "", "core.reply")), headers)
        else:
            await connection.ping()
    await connection.ping()
    random.choice((connection.close, connection.abort))()


async def look_at_secrets(world, is_queue):
    """A user that may not see `secret.>` never does: not by a wider filter, in a queue group, or while permissions change."""
    connection = await world.connect("limited")

    def take(message):
        if message.subject.startswith("secret."):
            world.fail(f"{message.subject} was shown to a user who may not see it")
    # Not `>`: publishes into a stream that is gone would find somebody, and nobody who answers.
    for pattern in ("*.*", "*.x", "*.y.>", "secret.*"):
        connection.subscribe(pattern, take, "q" if is_queue else "")
    connection.subscribe("secret.x", take)  # refused
    for _ in range(20):
        await connection.ping()
        await asyncio.sleep(0.02)
    connection.abort()


async def tell_secrets(world):
    connection = await world.connect()
    for _ in range(50):
        connection.send(random.choice(("secret.x", "secret.y.z")), b"hush", "" if random.random() < 0.5 else "secret.reply")
        await connection.ping()
    connection.abort()


async def ping_pong(world):
    """Two who want nothing but an answer now and then, whatever the others do."""
    asking, answering = await world.connect(), await world.connect()
    answering.subscribe("pingpong", lambda message: answering.send(message.reply, message.data))
    await answering.ping()
    while world.is_running:
        begun = time.monotonic()
        answer = await asking.request("pingpong", b"hello")
        if answer.data != b"hello":
            raise Wrong(f"{answer.head} {answer.data}")
        world.slowest = max(world.slowest, time.monotonic() - begun)
        world.counts["pongs"] += 1
        await asyncio.sleep(0.01)
    asking.abort()
    answering.abort()


# ---- JetStream -----------------------------------------------------------------------------------------------------------


async def faithful(world):
    """One who keeps a stream of its own and believes every acknowledgement."""
    connection = await world.connect()
    number = len(world.faithful)
    while world.is_running:
        futures = []
        for _ in range(random.randrange(1, 30)):
            number += 1
            data = f"{number} {'f' * random.choice((0, 20, 3000))}"
            futures.append((data, connection.ask("faithful.x", data.encode(), {"Nats-Msg-Id": f"f-{number}"})))
        for data, future in futures:
            ack = read_ack("faithful.x", await connection.wait(future))
            world.faithful.append((ack["seq"], data))
        await asyncio.sleep(0.01)
    connection.abort()


def some_stream(name):
    config = {"name": name, "subjects": [f"js.{name}.>"], "storage": random.choice(("file", "file", "memory")),
              "retention": random.choice(("limits", "limits", "limits", "workqueue", "interest")),
              "discard": random.choice(("old", "old", "new")), "allow_direct": random.random() < 0.8,
              "allow_rollup_hdrs": random.random() < 0.5, "allow_atomic": random.random() < 0.5, "num_replicas": 1}
    for key, values in (("max_msgs", (10, 1000)), ("max_bytes", (2000, 1 << 20)), ("max_age", (NS // 5, 60 * NS)),
                        ("max_msgs_per_subject", (1, 5)), ("max_msg_size", (100, 10000)), ("max_consumers", (2, 50))):
        if random.random() < 0.2:
            config[key] = random.choice(values)
    if "max_age" in config:
        config["duplicate_window"] = config["max_age"]
    if random.random() < 0.15:
        config["subject_transform"] = {"src": f"js.{name}.a", "dest": f"js.{name}.changed"}
    if random.random() < 0.2:
        # Also into each other, round and round.
        config["republish"] = {"src": ">", "dest": random.choice(("core.again.>", f"js.{random.choice(NAMES)}.again")),
                               "headers_only": random.random() < 0.5}
    if random.random() < 0.3:
        config["allow_msg_ttl"] = True
        if random.random() < 0.5:
            config["subject_delete_marker_ttl"] = NS
    if name in MIRRORS:
        del config["subjects"]
        config["mirror"] = some_source(random.choice(NAMES + GATHERERS))
    elif name in GATHERERS:
        config["subjects"] = random.choice(([], [f"js.{name}.>"]))
        config["sources"] = [some_source(source) for source in random.sample(NAMES, random.randrange(1, 4))]
    if random.random() < 0.05:
        config[random.choice(("max_msgs", "num_replicas", "subjects", "mirror", "unknown"))] = random.choice(
            (-7, 5, [], ["js.>"], {"name": "S1"}, "x" * 1000, 1 << 70))
    return config


def some_source(name):
    """What a mirror or source says of the stream it copies."""
    source = {"name": name}
    if random.random() < 0.2:
        source["opt_start_seq"] = random.randrange(1, 200)
    elif random.random() < 0.2:
        source["opt_start_time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - random.randrange(3)))
    if random.random() < 0.3:
        source["filter_subject"] = f"js.{name}.{random.choice(TOKENS)}"
    elif random.random() < 0.3:
        source["subject_transforms"] = [{"src": f"js.{name}.a", "dest": f"js.{name}.b"}, {"src": f"js.*.{TOKENS[3]}", "dest": ""}]
    return source


async def manage_streams(world):
    connection = await world.connect()
    for _ in range(10):
        name = random.choice(ALL_NAMES)
        call, body = random.choice((
            ("STREAM.CREATE." + name, some_stream(name)), ("STREAM.CREATE." + name, some_stream(name)),
            ("STREAM.UPDATE." + name, some_stream(name)), ("STREAM.INFO." + name, {"subjects_filter": ">", "deleted_details": True}),
            ("STREAM.INFO." + name, None), ("STREAM.NAMES", None), ("STREAM.LIST", {"offset": random.choice((0, 2, 1 << 62))}),
            ("STREAM.PURGE." + name, random.choice((None, {"keep": 3}, {"filter": f"js.{name}.a", "seq": 10}))),
            ("STREAM.MSG.GET." + name, random.choice(({"seq": random.randrange(50)}, {"last_by_subj": f"js.{name}.a"}))),
            ("STREAM.MSG.DELETE." + name, {"seq": random.randrange(50), "no_erase": random.random() < 0.5}),
            ("CONSUMER.LIST." + name, None), ("CONSUMER.NAMES." + name, None), ("INFO", None),
            ("STREAM.DELETE." + name, None) if random.random() < 0.3 else ("INFO", None)))
        try:
            said = await connection.api(call, body)
            if not said["type"].startswith("io.nats.jetstream.api.v1."):
                raise Wrong(f"{call}: {said}")
        except ApiError as error:
            world.refused(error)
        world.counts["calls"] += 1
    connection.abort()


def some_consumer(name):
    config = {"name": name, "ack_policy": random.choice(("none", "all", "explicit", "explicit")),
              "deliver_policy": random.choice(("all", "all", "last", "new", "last_per_subject", "by_start_sequence")),
              "ack_wait": random.choice((NS // 10, 30 * NS)), "num_replicas": 1, "mem_storage": random.random() < 0.3}
    if config["deliver_policy"] == "by_start_sequence":
        config["opt_start_seq"] = random.randrange(1, 100)
    if random.random() < 0.5:
        config["durable_name"] = name
    else:
        config["inactive_threshold"] = random.choice((NS // 5, 5 * NS))
    if random.random() < 0.4:
        config["filter_subject"] = random.choice(("js.*.a", "js.S1.>", "js.S2.b", "js.>"))
    if random.random() < 0.3:
        config["max_deliver"] = random.randrange(1, 4)
    if random.random() < 0.2:
        config["headers_only"] = True
    if config["ack_policy"] != "none":
        config["max_ack_pending"] = random.choice((1, 10, 1000))
    if random.random() < 0.4:
        config["deliver_subject"] = "push." + random.choice(TOKENS)
        config.update(random.choice(({}, {"deliver_group": "g"}, {"idle_heartbeat": NS // 5, "flow_control": True},
                                     {"rate_limit_bps": 1 << 20})))
    elif random.random() < 0.3:
        config.update({"priority_groups": ["A"], "priority_policy": random.choice(("overflow", "pinned_client", "prioritized")),
                       "priority_timeout": random.choice((0, NS // 5))})
    return config


async def manage_consumers(world):
    connection = await world.connect()
    for _ in range(10):
        stream, name = random.choice(ALL_NAMES), random.choice(CONSUMERS)
        in_a_second = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        call, body = random.choice((
            (f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": some_consumer(name)}),
            (f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": some_consumer(name), "action": "create"}),
            (f"CONSUMER.UNPIN.{stream}.{name}", {"group": "A"}), (f"CONSUMER.RESET.{stream}.{name}", {"seq": random.randrange(20)}),
            (f"CONSUMER.INFO.{stream}.{name}", None), (f"CONSUMER.DELETE.{stream}.{name}", None),
            (f"CONSUMER.PAUSE.{stream}.{name}", {"pause_until": in_a_second})))
        if "filter_subject" in (body or {}).get("config", {}):
            call += "." + body["config"]["filter_subject"]
        try:
            await connection.api(call, body)
        except ApiError as error:
            world.refused(error)
        world.counts["calls"] += 1
    connection.abort()


async def publish_into_streams(world):
    connection = await world.connect()
    futures = []
    for _ in range(random.randrange(1, 80)):
        headers = {}
        if random.random() < 0.3:
            headers["Nats-Msg-Id"] = f"id-{random.randrange(1000)}"
        if random.random() < 0.1:
            headers["Nats-Rollup"] = random.choice(("sub", "all"))
        if random.random() < 0.1:
            headers["Nats-Expected-Last-Sequence"] = random.randrange(100)
        if random.random() < 0.1:
            headers["Nats-Expected-Last-Subject-Sequence"] = random.randrange(3)
        if random.random() < 0.2:
            headers["Nats-TTL"] = random.choice(("1", "1s", "2s", "never", "0", "-1", "x"))
        subject = f"js.{random.choice(NAMES + GATHERERS)}.{random.choice(TOKENS)}"
        future = connection.ask(subject, b"m" * random.choice((0, 10, 500, 20000)), headers or None)
        futures.append((subject, headers, future))
    for subject, headers, future in futures:
        try:
            read_ack("publish", await connection.wait(future))
        except TimeoutError as error:
            raise TimeoutError(f"{subject} {headers}") from error
        except ApiError as error:
            world.refused(error)
        world.counts["publishes"] += 1
    connection.abort()


async def publish_batch(world):
    connection = await world.connect()
    name, batch = random.choice(NAMES), f"b-{random.randrange(1 << 40):x}"
    size = random.randrange(1, 20)
    for i in range(1, size + 1):
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": i if random.random() < 0.98 else random.randrange(30)}
        if i == size and random.random() < 0.9:
            headers["Nats-Batch-Commit"] = random.choice(("1", "1", "eob", "?"))
        future = connection.ask(f"js.{name}.{random.choice(TOKENS)}", b"b", headers)
        if i == 1 and random.random() < 0.5:
            await connection.wait(future)
    if "Nats-Batch-Commit" in headers:
        answer = await connection.wait(future)
        try:
            if answer.data:  # a commit that is none is a message like others
                read_ack("batch", answer)
        except ApiError as error:
            world.refused(error)
    connection.abort()


async def pull(world):
    connection = await world.connect()
    inbox = connection.inbox + "_pull"

    def take(message):
        world.counts["pulled"] += 1
        if message.reply.startswith("$JS.ACK."):
            answer = random.choice((b"+ACK", b"", b"-NAK", b"-NAK {\"delay\": 50000000}", b"+WPI", b"+TERM bad", b"+NXT", b"?", None))
            if answer is not None:
                connection.send(message.reply, answer, random.choice(("", connection.inbox + ".0")))
    sid = connection.subscribe(inbox, take)
    for _ in range(random.randrange(1, 6)):
        body = {"batch": random.choice((1, 10, 300)), "expires": random.choice((0, NS // 20, NS))}
        if random.random() < 0.3:
            body["no_wait"] = True
        if random.random() < 0.3:
            body["max_bytes"] = random.choice((100, 1 << 20))
        if random.random() < 0.3:
            body["idle_heartbeat"] = NS // 50
        if random.random() < 0.3:
            body.update(random.choice(({"group": "A"}, {"group": "A", "id": "nobody"}, {"group": "A", "min_pending": 5},
                                       {"group": "A", "priority": 3}, {"group": "B"})))
        if random.random() < 0.03:
            body = random.choice(({"batch": -1}, {"batch": 1 << 64}, {"expires": "x"}, []))
        connection.send(f"$JS.API.CONSUMER.MSG.NEXT.{random.choice(ALL_NAMES)}.{random.choice(CONSUMERS)}",
                        json.dumps(body).encode(), inbox)
        await asyncio.sleep(random.random() * 0.1)
    if random.random() < 0.3:
        connection.unsubscribe(sid)  # with messages on their way
    await connection.ping()
    connection.abort()


async def be_pushed_to(world):
    connection = await world.connect()

    def take(message):
        world.counts["pushed"] += 1
        if message.reply and random.random() < 0.8:
            connection.send(message.reply)  # an acknowledgement, or flow control
    for _ in range(random.randrange(1, 4)):
        connection.subscribe("push." + random.choice((*TOKENS, "*")), take, random.choice(("", "", "g")))
    for _ in range(10):
        await asyncio.sleep(random.random() * 0.05)
        await connection.ping()
    connection.abort()


async def get_directly(world):
    connection = await world.connect()
    for _ in range(10):
        name = random.choice(ALL_NAMES)
        subject, body = random.choice((
            (f"$JS.API.DIRECT.GET.{name}", {"seq": random.randrange(60)}),
            (f"$JS.API.DIRECT.GET.{name}", {"last_by_subj": f"js.{name}.a"}),
            (f"$JS.API.DIRECT.GET.{name}.js.{name}.{random.choice(TOKENS)}", None),
            (f"$JS.API.DIRECT.GET.{name}", {"next_by_subj": ">", "batch": 50, "max_bytes": random.choice((0, 3000))}),
            (f"$JS.API.DIRECT.GET.{name}", {"multi_last": [f"js.{name}.>"], "batch": 100})))
        answer = await connection.request(subject, json.dumps(body).encode() if body is not None else b"")
        world.counts[f"direct {answer.status()}"] += 1
    connection.abort()


# ---- Those who do not behave -----------------------------------------------------------------------------------------------


WORDS = [b"PUB ", b"HPUB ", b"SUB ", b"UNSUB ", b"PING", b"PONG", b"CONNECT ", b"INFO ", b"+OK", b"-ERR ", b"\r\n", b"\r\n", b"\n",
         b" ", b"core.a", b"*", b">", b"a..b", b"1", b"0", b"-1", b"99999999", b"18446744073709551616", b"{}",
         b"{\"verbose\":false}", b"{\"user\":\"all\",\"pass\":\"secret\"}", b"{\"a\":", b"\t", b"NATS/1.0\r\n\r\n", b"\xff\xfe",
         b"12 12", b"5\r\nhello\r\n", b"$JS.API.INFO", b"$JS.API.STREAM.CREATE.", b"$JS.ACK.S1.c1.1.1.1.1.1", b"_INBOX.x", b"\0"]
HEAD = b"CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"all\",\"pass\":\"secret\"}\r\n"


async def talk_nonsense(world):
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    if random.random() < 0.7:
        writer.write(HEAD)
    for _ in range(random.randrange(1, 6)):
        writer.write(b"".join(random.choice(WORDS) if random.random() < 0.95 else random.randbytes(random.randrange(20))
                              for _ in range(random.randrange(1, 30))))
        await asyncio.sleep(random.choice((0, 0, 0.02)))
    end = random.random()
    if end < 0.3:
        linger = struct.pack("ii", 1, 0)  # a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    elif end < 0.6 and writer.can_write_eof() and not writer.transport.is_closing():
        writer.write_eof()
        try:
            await asyncio.wait_for(reader.read(100000), 0.3)
        except TimeoutError:
            pass
    writer.transport.abort()


async def be_half_open(world):
    """Begins and says no more: before CONNECT, in the middle of a line, of a payload."""
    _, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    writer.write(random.choice((b"", b"CONN", HEAD, HEAD + b"PUB core.a 1000000\r\n" + b"x" * random.randrange(500000),
                                HEAD + b"SUB core.a", HEAD + b"HPUB core.a 12 50\r\nNATS/1.0\r\n")))
    await asyncio.sleep(random.random())
    writer.transport.abort()


async def read_slowly(world):
    """Wants everything and does not read, or little; is cut off, or goes by itself."""
    connection = await world.connect()
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.subscribe("core.>", lambda message: None)
    connection.subscribe("push.>", lambda message: None)
    for _ in range(random.randrange(1, 20)):
        connection.transport.pause_reading()
        await asyncio.sleep(random.random() * 0.3)
        if not connection.is_open:
            return
        connection.transport.resume_reading()
        await asyncio.sleep(0.001)
    connection.abort()


async def look_at_monitor(world):
    """Pages of the monitor, some cut off, some asked for as nobody should."""
    page = random.choice(("varz", "connz?subs=1&limit=10", "connz?offset=-1&limit=99999999999", "subsz?subs=1", "jsz?streams=1&consumers=1",
                          "healthz", "metrics", "x" * 3000, "connz?state=closed&sort=nothing"))
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.monitor_port)
    writer.write(random.choice((b"GET", b"GET", b"GET", b"HEAD", b"POST")) + f" /{page} HTTP/1.1\r\nHost: x\r\n".encode())
    if random.random() < 0.9:
        writer.write(b"Connection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(random.choice((1, 10000000))), 30)
        if not answer.startswith(b"H"):
            raise Wrong(f"the monitor answers {answer[:100]}")
    writer.transport.abort()
    await asyncio.sleep(random.random() * 0.1)


async def storm(world):
    """Many come and go at once, some with wrong passwords."""
    async def one():
        try:
            connection = await world.connect(random.choice(("hashed", "all")), **random.choice(({}, {}, {"pass": "wrong"})))
            connection.subscribe("core.>", lambda message: None)
            connection.abort()
        except (Closed, ConnectionError):
            pass
    await asyncio.gather(*(one() for _ in range(random.randrange(1, 40))))
    await asyncio.sleep(random.random())


# ---- The operator -----------------------------------------------------------------------------------------------------------


def configuration(monitor_port):
    denied = random.choice(("", ", \"core.dd.>\"", ", \"core.*.eee\""))
    return ["announced_version: \"2.14.0\"", f"http: \"127.0.0.1:{monitor_port}\"", "max_pending: 2MB", "write_deadline: \"1s\"", "lame_duck_duration: \"30s\"",
            "lame_duck_grace_period: \"200ms\"", f"max_payload: {random.choice(('1MB', '2MB'))}",
            f"max_subscriptions: {random.choice((0, 1000))}", f"ping_interval: \"{random.choice((1, 20))}s\"",
            f"debug: {random.choice(('true', 'false'))}",
            "authorization { timeout: 20, users: [ {user: all, password: secret}, {user: hashed, password: \"" + BCRYPT_OF_SECRET
            + "\"}, {user: limited, password: secret, permissions: {publish: {deny: \"secret.>\"}, subscribe: {deny: [\"secret.>\""
            + denied + "]}}} ] }"]


async def reload(world):
    await asyncio.sleep(random.random())
    if random.random() < 0.2:
        world.server.configure(["authorization { users: [ { user: broken"])
    else:
        world.server.configure(configuration(world.server.monitor_port))
    world.server.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.3)


async def watch_server(world):
    await asyncio.sleep(0.2)
    if world.server.process.poll() is not None:
        raise Wrong(f"the server ended with {world.server.process.returncode}: {world.server.log()[-5000:]}")
    size = world.server.resident_bytes()
    world.counts["most MiB"] = max(world.counts["most MiB"], size >> 20)
    if size > MEMORY_MAX:
        raise Wrong(f"the server has {size >> 20} MiB")


async def gather_late(world):
    """A stream that begins to copy the faithful one while that is written to."""
    await asyncio.sleep((world.end - time.monotonic()) / 2)
    connection = await world.connect()
    await connection.api("STREAM.CREATE.GATHERED", {"name": "GATHERED", "sources": [{"name": "FAITHFUL"}]})
    world.faithful_copies.append("GATHERED")
    connection.abort()


async def check_faithful(world):
    connection = await world.connect()
    for i, (seq, data) in enumerate(world.faithful):
        if seq != i + 1:
            raise Wrong(f"number {i + 1} was acknowledged as {seq}")
    for name in ("FAITHFUL", *world.faithful_copies):
        deadline = time.monotonic() + 30  # a copy may be behind
        while True:
            state = (await connection.api("STREAM.INFO." + name))["state"]
            if state["messages"] == len(world.faithful) == state["last_seq"]:
                break
            if name == "FAITHFUL" or state["last_seq"] > len(world.faithful) or time.monotonic() > deadline:
                raise Wrong(f"{len(world.faithful)} were acknowledged; {name}: {state}")
            await asyncio.sleep(0.1)
        for seq, data in random.sample(world.faithful, min(len(world.faithful), 200)):
            got = (await connection.api("STREAM.MSG.GET." + name, {"seq": seq}))["message"]
            if base64.b64decode(got["data"]).decode() != data:
                raise Wrong(f"{name}: {seq} is {got}")
    connection.abort()


async def end_as_lame_duck(world):
    world.is_over = True
    connections = [await world.connect() for _ in range(20)]
    for connection in connections:
        connection.on_lame_duck = connection.close  # all, so that it need not let them go one by one
    ending = asyncio.ensure_future(world.server.end(signal.SIGUSR2))
    await asyncio.wait([connection.closed for connection in connections], timeout=60)
    status = await ending
    if any(connection.is_open for connection in connections):
        raise Wrong("the server is gone and connections stay")
    if status != 0:
        raise Wrong(f"the server ends with {status}: {world.server.log()[-8000:]}")


async def run(server, monitor_port, seconds):
    server.monitor_port = monitor_port
    server.configure(configuration(monitor_port))
    await server.start()
    world = World(server, seconds)
    connection = await world.connect()
    await connection.api("STREAM.CREATE.FAITHFUL", {"name": "FAITHFUL", "subjects": ["faithful.>"]})
    await connection.api("STREAM.CREATE.MIRROR", {"name": "MIRROR", "mirror": {"name": "FAITHFUL"}})
    connection.abort()
    gentle = [chat, chat, chat, tell_secrets, manage_streams, manage_consumers, publish_into_streams, publish_into_streams,
              publish_batch, pull, pull, be_pushed_to, get_directly, reload, watch_server]
    rude = [look_at_monitor, talk_nonsense, be_half_open, read_slowly, read_slowly, storm]
    works = [forever(world, work) for work in (ping_pong, faithful)] + [gather_late(world)]
    # Who wants everything may be cut off for being slow: this program is.
    works += [forever(world, work, may_be_closed=True) for work in gentle + rude]
    works += [forever(world, look_at_secrets, is_queue, may_be_closed=True) for is_queue in (False, True)]
    tasks = {asyncio.ensure_future(work) for work in works}
    try:
        waiting = {world.failed, *tasks}
        while len(waiting) > 1:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        await check_faithful(world)
        await end_as_lame_duck(world)
    finally:
        for task in tasks:
            task.cancel()
        print("; ".join(f"{name} {count}" for name, count in sorted(world.counts.items())), flush=True)
        print(f"slowest pong {world.slowest * 1000:.0f} ms; {len(world.faithful)} faithful", flush=True)
        for text, count in world.refusals.most_common(60):
            print(f"  {count:6} {text}", flush=True)


if __name__ == "__main__":
    seconds_given = float(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DAYBOOK_SOAK_SECONDS", "8"))
    sys.exit(run_with_server("server-soak", lambda server: run(server, free_port(), seconds_given)))
