#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server killed at random under load, and started again on the same directory and port, with an oracle outside.

Publishers of every kind (one by one, with a window, without ids, atomic batches, on an expected sequence, roll-ups, a
bucket) and consumers of every kind (pull and push with confirmed acknowledgements, in order, a work queue, by interest,
max_deliver) go on over all ends. The oracle knows what was sent, acknowledged, delivered and settled. It demands:

  - what was acknowledged is at its seq, once, and in the order of its publisher; what anybody was shown stays
  - who repeats a publish with its id after a restart is told the first one's seq
  - nothing is there that nobody sent; seqs have no gap; batches are whole or absent; what is expected holds
  - what was acknowledged to a consumer with confirmation never comes again; what was not comes
  - a roll-up leaves one message, never none; a bucket shows what was put last
  - mirrors have what their source has, at its seq; a stream with sources has each message once, in its source's order
  - `daybook verify` finds nothing in the end

    test_server_kill.py kill|term|mixed [ENDS]      default: $DAYBOOK_KILLS, else 4

With `term` the ends are SIGTERM: then the status is 0, and what was not answered was not stored either. DAYBOOK names the
program, DAYBOOK_SERVER another one that takes nats-server's flags, to be seen beside it. The seed is printed; DAYBOOK_SEED
repeats it (processes do not run in step, so what happens is alike, not the same). On failure the directory stays.
"""

import asyncio
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nats_client import ApiError, Closed, Connection, Wrong, read_ack, run_with_server  # noqa: E402

PROGRAM = os.environ.get("DAYBOOK", "daybook")
ACK_WAIT = 4.0
NS = 1000000000
WRONG_LAST_SEQUENCE = 10071
STREAMS = [
    {"name": "LOG", "subjects": ["log.>"], "allow_direct": True},
    {"name": "ATOMIC", "subjects": ["batch.>"], "allow_direct": True, "allow_atomic": True},
    {"name": "EXP", "subjects": ["exp.>"], "allow_direct": True},
    {"name": "ROLL", "subjects": ["roll.>"], "allow_direct": True, "allow_rollup_hdrs": True},
    {"name": "KV_B", "subjects": ["$KV.B.>"], "max_msgs_per_subject": 3, "discard": "new", "allow_rollup_hdrs": True,
     "deny_delete": True, "allow_direct": True},
    {"name": "WORK", "subjects": ["work.>"], "retention": "workqueue", "allow_direct": True},
    {"name": "INT", "subjects": ["int.>"], "retention": "interest", "allow_direct": True},
    {"name": "GIVEN", "subjects": ["given.>"], "allow_direct": True},
]
COPIES = [
    {"name": "MIRROR", "mirror": {"name": "LOG"}, "allow_direct": True},
    {"name": "PART", "mirror": {"name": "LOG", "filter_subject": "log.window.>"}, "allow_direct": True},
    {"name": "MERGED", "subjects": ["merged.>"], "allow_direct": True,
     "sources": [{"name": "LOG"}, {"name": "EXP", "subject_transforms": [{"src": "exp.>", "dest": "merged.exp.>"}]}]},
]
REMOVING = ("ROLL", "KV_B", "WORK", "INT")
CONSUMERS = [
    ("LOG", {"durable_name": "mail", "ack_policy": "explicit", "ack_wait": int(ACK_WAIT * NS), "max_ack_pending": 5000}),
    ("LOG", {"durable_name": "pushed", "ack_policy": "explicit", "ack_wait": int(ACK_WAIT * NS), "deliver_subject": "to.pushed",
             "filter_subject": "log.window.>", "max_ack_pending": 200}),
    ("WORK", {"durable_name": "crew", "ack_policy": "explicit", "ack_wait": int(ACK_WAIT * NS), "max_ack_pending": 5000}),
    ("INT", {"durable_name": "a", "ack_policy": "explicit", "ack_wait": int(ACK_WAIT * NS), "max_ack_pending": 5000}),
    ("INT", {"durable_name": "b", "ack_policy": "explicit", "ack_wait": int(ACK_WAIT * NS), "max_ack_pending": 5000,
             "filter_subject": "int.0.>"}),
    ("GIVEN", {"durable_name": "tried", "ack_policy": "explicit", "ack_wait": NS // 4, "max_deliver": 3}),
]


class Oracle:
    def __init__(self):
        self.sent = collections.defaultdict(set)  # stream: data
        self.acked = collections.defaultdict(dict)  # stream: seq: data
        self.seq_of = {}  # (stream, data): acknowledged seq
        self.seen = collections.defaultdict(dict)  # stream: seq: data, as anybody was shown it
        self.settled = {}  # (stream, consumer, seq): confirmed
        self.delivered = collections.defaultdict(set)  # (stream, consumer): data
        self.never = set()  # (stream, data) that must not be there
        self.ids = {}  # id: (stream, subject, data, seq)

    def acknowledge(self, stream, seq, data):
        had = self.acked[stream].setdefault(seq, data)
        if had != data:
            raise Wrong(f"{stream} {seq} was acknowledged for {had} and for {data}")
        before = self.seq_of.setdefault((stream, data), seq)
        if before != seq:
            raise Wrong(f"{stream}: {data} was acknowledged at {before} and at {seq}")

    def show(self, stream, seq, data):
        if data not in self.sent[stream]:
            raise Wrong(f"{stream} {seq} shows {data}, which nobody sent")
        had = self.seen[stream].setdefault(seq, data)
        if had != data or self.acked[stream].get(seq, data) != data:
            raise Wrong(f"{stream} {seq} shows {data}; before it was {had}, acknowledged {self.acked[stream].get(seq)}")


class World:
    def __init__(self, server):
        self.server = server
        self.oracle = Oracle()
        self.stopping = False  # publishers end what they have begun
        self.done = False  # consumers too
        self.last_end = None
        self.ends = 0

    async def connect(self):
        while True:
            try:
                return await Connection.open(self.server.port)
            except (OSError, Closed):
                await asyncio.sleep(0.02)


class Actor:
    """Works until it is through, over as many connections as that takes."""

    def __init__(self, world, name):
        self.world, self.oracle, self.name = world, world.oracle, name
        self.connection = None
        self.count = 0

    async def run(self):
        while True:
            self.connection = await self.world.connect()
            try:
                await self.work()
                return
            except Closed:
                self.interrupted()
            except Exception as error:
                raise Wrong(f"{self.name}: {type(error).__name__} {error}") from error
            finally:
                self.connection.abort()

    def interrupted(self):
        pass


# ---- Publishers ----------------------------------------------------------------------------------------------------------


class Publisher(Actor):
    """Sends `data` under an id, up to `window` at once, and again until it is acknowledged."""

    def __init__(self, world, name, stream, subject, window=1, pause=0.0):
        super().__init__(world, name)
        self.stream, self.subject, self.window, self.pause = stream, subject, window, pause
        self.open = collections.deque()  # [subject, data, headers, tries]
        self.number = 0

    def make(self):
        self.number += 1
        data = f"{self.name} {self.number} {'x' * random.choice((0, 10, 100, 1000, 9000))}"
        return [self.subject.replace("*", str(random.randrange(3))), data, {"Nats-Msg-Id": f"{self.name}-{self.number}"}, 0]

    async def work(self):
        again = list(self.open)
        futures = collections.deque(self.begin(entry) for entry in again)
        while self.open or not self.world.stopping:
            while len(self.open) < self.window and not self.world.stopping:
                self.open.append(self.make())
                futures.append(self.begin(self.open[-1]))
            if not self.open:
                break
            answer = await self.connection.wait(futures[0])
            self.settle(self.open[0], read_ack(self.open[0][0], answer))
            futures.popleft()
            self.open.popleft()
            if self.pause:
                await asyncio.sleep(self.pause)

    def begin(self, entry):
        entry[3] += 1
        self.oracle.sent[self.stream].add(entry[1])
        return self.connection.ask(entry[0], entry[1].encode(), entry[2])

    def settle(self, entry, ack):
        subject, data, headers, tries = entry
        if ack["stream"] != self.stream:
            raise Wrong(f"{ack}")
        if ack.get("duplicate") and tries == 1:
            raise Wrong(f"{data[:40]}: said to be a duplicate at the first try: {ack}")
        self.count += 1
        if ack["seq"] == 0 and tries > 1 and self.stream in REMOVING:
            return  # removed since it was stored
        self.oracle.acknowledge(self.stream, ack["seq"], data)
        self.oracle.ids[headers["Nats-Msg-Id"]] = (self.stream, subject, data, ack["seq"])


class Plain(Actor):
    """Without ids: never sent twice, so that what is not answered may be there or not, but once only."""

    def __init__(self, world, name, window=16):
        super().__init__(world, name)
        self.window = window
        self.open = collections.deque()
        self.number = 0

    def interrupted(self):
        for data, future in self.open:
            if future.done() and future.exception() is None:
                self.oracle.acknowledge("LOG", read_ack("", future.result())["seq"], data)
                self.count += 1
            elif self.world.last_end == signal.SIGTERM:
                self.oracle.never.add(("LOG", data))
        self.open.clear()

    async def work(self):
        while self.open or not self.world.stopping:
            while len(self.open) < self.window and not self.world.stopping:
                self.number += 1
                data = f"{self.name} {self.number} "
                self.oracle.sent["LOG"].add(data)
                self.open.append((data, self.connection.ask("log.plain", data.encode())))
            if not self.open:
                break
            data, future = self.open[0]
            answer = await self.connection.wait(future)
            self.oracle.acknowledge("LOG", read_ack("log.plain", answer)["seq"], data)
            self.open.popleft()
            self.count += 1
            await asyncio.sleep(0.001)


class Batches(Actor):
    """All or none, also those nobody commits and those whose condition fails."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.number = 0
        self.sizes = {}  # batch: messages
        self.acked = {}  # batch: seq of the last
        self.absent = set()

    async def work(self):
        while not self.world.stopping:
            self.number += 1
            batch, size = f"{self.name}-{self.number}", random.randrange(1, 30)
            self.sizes[batch] = size
            fate = random.choices(("commit", "abandon", "refuse"), (8, 1, 1))[0]
            if fate != "commit":
                self.absent.add(batch)
            first = None
            for i in range(1, size + 1):
                headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": i}
                if i == 1 and fate == "refuse":
                    headers["Nats-Expected-Last-Sequence"] = 1 << 40
                if i == size and fate != "abandon":
                    headers["Nats-Batch-Commit"] = 1
                data = f"{batch} {i} of {size}"
                self.oracle.sent["ATOMIC"].add(data)
                subject = f"batch.{random.randrange(5)}"
                if i == size or (i == 1 and random.random() < 0.5):
                    first = self.connection.ask(subject, data.encode(), headers)
                    if i < size:
                        answer = await self.connection.wait(first)
                        if answer.data:
                            raise Wrong(f"{batch} 1: {answer.data}")
                else:
                    self.connection.send(subject, data.encode(), "", headers)
            answer = await self.connection.wait(first)
            self.ended(batch, size, fate, answer)
            await asyncio.sleep(0.002)

    def ended(self, batch, size, fate, answer):
        if fate == "abandon":
            if answer.data:
                raise Wrong(f"{batch}: {answer.data}")
            return
        try:
            ack = read_ack(batch, answer)
        except ApiError as error:
            if fate == "refuse" and error.err_code == WRONG_LAST_SEQUENCE:
                return
            raise
        if fate == "refuse" or ack["count"] != size or ack["batch"] != batch:
            raise Wrong(f"{batch} of {size}, {fate}: {ack}")
        self.acked[batch] = ack["seq"]
        self.count += 1

    def check(self, stored):
        """stored: seq: data, of the whole stream."""
        found = collections.defaultdict(list)
        for seq, data in stored.items():
            batch, i, _, size = data.split(" ")
            if batch in self.sizes:
                found[batch].append((seq, int(i), int(size)))
        for batch, items in found.items():
            items.sort()
            first, size = items[0][0], self.sizes[batch]
            if batch in self.absent or items != [(first + i, i + 1, size) for i in range(size)]:
                raise Wrong(f"batch {batch} of {size} is {items}, never to be: {batch in self.absent}")
        for batch, seq in self.acked.items():
            if batch not in found or found[batch][-1][0] != seq:
                raise Wrong(f"batch {batch} was acknowledged at {seq} and is {found.get(batch)}")


class Expecting(Actor):
    """Appends to an aggregate what must follow the message it knows; several compete. Its data says what it expected."""

    def __init__(self, world, name, aggregate, has_id):
        super().__init__(world, name)
        self.aggregate, self.has_id = aggregate, has_id
        self.subject = f"exp.{aggregate}.{name}"
        self.last = 0
        self.number = 0
        self.open = None
        self.lost = 0

    def interrupted(self):
        if self.open is not None and not self.has_id:
            self.open = None  # it is there or not

    async def work(self):
        while not self.world.stopping or self.open is not None:
            if self.open is None:
                self.number += 1
                self.open = (f"{self.name} {self.number} {self.aggregate} {self.last}", self.last)
            data, expected = self.open
            self.oracle.sent["EXP"].add(data)
            headers = {"Nats-Expected-Last-Subject-Sequence": expected,
                       "Nats-Expected-Last-Subject-Sequence-Subject": f"exp.{self.aggregate}.>"}
            if self.has_id:
                headers["Nats-Msg-Id"] = f"{self.name}-{self.number}"
            try:
                ack = await self.connection.publish(self.subject, data.encode(), headers)
            except ApiError as error:
                if error.err_code != WRONG_LAST_SEQUENCE:
                    raise
                self.oracle.never.add(("EXP", data))
                self.last = int(re.search(r"\d+$", error.description).group())
                self.lost += 1
            else:
                self.oracle.acknowledge("EXP", ack["seq"], data)
                self.last = ack["seq"]
                self.count += 1
            self.open = None
            await asyncio.sleep(random.random() * 0.005)


class Rollups(Publisher):
    def make(self):
        entry = super().make()
        entry[2]["Nats-Rollup"] = "sub"
        return entry


class Bucket(Publisher):
    """Puts, deletes and purges keys nobody else has."""

    def __init__(self, world, name):
        super().__init__(world, name, "KV_B", f"$KV.B.{name}-*", window=1, pause=0.002)
        self.newest = {}  # subject: number that is acknowledged

    def make(self):
        entry = super().make()
        kind = random.choices(("", "DEL", "PURGE"), (8, 1, 1))[0]
        if kind:
            entry[2]["KV-Operation"] = kind
        if kind == "PURGE":
            entry[2]["Nats-Rollup"] = "sub"
        return entry

    def settle(self, entry, ack):
        super().settle(entry, ack)
        self.newest[entry[0]] = int(entry[1].split(" ")[1])


# ---- Consumers -----------------------------------------------------------------------------------------------------------


class Taker(Actor):
    """Takes messages of a consumer and acknowledges them with confirmation, some not at the first time."""

    def __init__(self, world, name, stream, consumer, deliver=""):
        super().__init__(world, name)
        self.stream, self.consumer, self.deliver = stream, consumer, deliver
        self.waiting = collections.deque()
        self.news = None

    async def work(self):
        self.waiting.clear()
        self.news = asyncio.Event()
        inbox = self.deliver or self.connection.inbox + "_pull"
        self.connection.subscribe(inbox, self.take)
        due = 0
        while not self.world.done:
            now = time.monotonic()
            if not self.deliver and now > due and len(self.waiting) < 10:
                self.connection.send(f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.consumer}",
                                     json.dumps({"batch": 64, "expires": NS}).encode(), inbox)
                due = now + 1
            if not self.waiting:
                self.news.clear()
                try:
                    await asyncio.wait_for(self.news.wait(), 0.1)
                except TimeoutError:
                    pass
                except asyncio.TimeoutError:  # another class up to 3.10
                    pass
                if not self.connection.is_open:
                    raise Closed()
                continue
            messages = [self.waiting.popleft() for _ in range(min(len(self.waiting), 32))]
            await asyncio.gather(*(self.answer(message, now) for message, now in messages))
            if len(messages) + len(self.waiting) >= 60:
                due = 0

    def take(self, message):
        if message.status() is not None:
            return
        self.waiting.append((message, time.monotonic()))
        self.news.set()
        _, seq, _, _ = message.acknowledgement()
        data = message.data.decode()
        self.oracle.show(self.stream, seq, data)
        self.oracle.delivered[(self.stream, self.consumer)].add(data)
        if self.oracle.settled.get((self.stream, self.consumer, seq)):
            raise_later(self.world, f"{self.stream} {self.consumer}: {seq} came again though its acknowledgement was confirmed")

    async def answer(self, message, came):
        delivery, seq, _, _ = message.acknowledgement()
        if delivery == 1 and seq % 50 == 0:
            self.connection.send(message.reply, b"-NAK")
            return
        answer = await self.connection.request(message.reply, b"+ACK")
        if answer.status() is not None or answer.data:
            raise Wrong(f"{self.name}: the acknowledgement of {seq} is answered {answer.head} {answer.data}")
        # Another may have been given it while it was on its way, where this took long.
        self.oracle.settled[(self.stream, self.consumer, seq)] = time.monotonic() - came < ACK_WAIT / 2
        self.count += 1


class Trying(Actor):
    """Never acknowledges: a message comes max_deliver times, and as often more as ends came before that was saved."""

    def __init__(self, world):
        super().__init__(world, "trying")
        self.times = collections.Counter()

    async def work(self):
        inbox = self.connection.inbox + "_pull"
        self.connection.subscribe(inbox, self.take)
        while not self.world.done:
            self.connection.send("$JS.API.CONSUMER.MSG.NEXT.GIVEN.tried", json.dumps({"batch": 100, "expires": NS}).encode(), inbox)
            await asyncio.sleep(0.3)
            if not self.connection.is_open:
                raise Closed()

    def take(self, message):
        if message.status() is not None:
            return
        delivery, seq, _, _ = message.acknowledgement()
        self.oracle.show("GIVEN", seq, message.data.decode())
        self.times[seq] += 1
        self.count += 1
        if delivery > 3 or self.times[seq] > 3 + self.world.ends:
            raise_later(self.world, f"GIVEN {seq} came {self.times[seq]} times, the last as delivery {delivery}")


class InOrder(Actor):
    """An ordered consumer, made again from where it was: no message twice, none left out."""

    def __init__(self, world):
        super().__init__(world, "in order")
        self.next = 1

    async def work(self):
        name = f"ordered-{random.randrange(1 << 40):x}"
        config = {"name": name, "ack_policy": "none", "deliver_policy": "by_start_sequence", "opt_start_seq": self.next,
                  "max_deliver": 1, "mem_storage": True, "inactive_threshold": 5 * NS, "num_replicas": 1}
        await self.connection.api(f"CONSUMER.CREATE.LOG.{name}", {"stream_name": "LOG", "config": config})
        while not self.world.done:
            count = 0

            def is_last(message):
                nonlocal count
                count += 1
                return message.status() is not None or count == 200
            got = await self.connection.gather(f"$JS.API.CONSUMER.MSG.NEXT.LOG.{name}",
                                               json.dumps({"batch": 200, "expires": NS // 2}).encode(), is_last)
            for message in got:
                if message.status() is None:
                    _, seq, _, _ = message.acknowledgement()
                    if seq != self.next:
                        raise Wrong(f"LOG {seq} came where {self.next} was next")
                    self.oracle.show("LOG", seq, message.data.decode())
                    self.next += 1
                    self.count += 1


def raise_later(world, text):
    """From where an exception would be swallowed."""
    if not world.failed.done():
        world.failed.set_exception(Wrong(text))


# ---- Looking ---------------------------------------------------------------------------------------------------------------


async def read_stream(connection, stream):
    """seq: (subject, data) of all there is."""
    found, seq = {}, 1
    while True:
        got = await connection.gather(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": seq, "next_by_subj": ">", "batch": 500}).encode(),
                                      lambda message: message.status() is not None)
        for message in got[:-1]:
            seq = int(message.header("Nats-Sequence"))
            if seq in found:
                raise Wrong(f"{stream} {seq} was read twice")
            found[seq] = (message.header("Nats-Subject"), message.data.decode())
        if len(got) == 1 or got[-1].header("Nats-Num-Pending") == "0":
            return found
        seq += 1


async def look_after_restart(world, bucket):
    """What was acknowledged before is there, and ids are known."""
    oracle = world.oracle
    connection = await world.connect()
    for stream in ("LOG", "ATOMIC", "EXP"):
        seqs = list(oracle.acked[stream])
        for seq in random.sample(seqs, min(len(seqs), 10)):
            got = await connection.request(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": seq}).encode())
            if got.data.decode() != oracle.acked[stream][seq]:
                raise Wrong(f"{stream} {seq} is {got.head} {got.data[:60]} after a restart, not {oracle.acked[stream][seq][:60]}")
    ids = list(oracle.ids)
    for message_id in random.sample(ids, min(len(ids), 20)) + ids[-5:]:
        stream, subject, data, seq = oracle.ids[message_id]
        ack = await connection.publish(subject, data.encode(), {"Nats-Msg-Id": message_id})
        # Of a message that is removed only its id is remembered.
        if not ack.get("duplicate") or ack["seq"] != seq and (ack["seq"] != 0 or stream not in REMOVING):
            raise Wrong(f"{message_id} was acknowledged at {seq}; after a restart it is taken again: {ack}")
    info = await connection.api("STREAM.INFO.ROLL", {"subjects_filter": "roll.>"})
    counts = info["state"].get("subjects") or {}
    if any(count != 1 for count in counts.values()):
        raise Wrong(f"a roll-up left {counts}")
    for subject, number in list(bucket.newest.items()):
        got = await connection.request("$JS.API.DIRECT.GET.KV_B", json.dumps({"last_by_subj": subject}).encode())
        if got.status() is not None and not got.header("Nats-Sequence") or int(got.data.split()[1]) < number:
            raise Wrong(f"{subject} shows {got.head} {got.data[:60]}, acknowledged was {number}")
    connection.abort()


async def wait_until_drained(world):
    connection = await world.connect()
    end = time.monotonic() + 60
    open_ones = [(stream, config["durable_name"]) for stream, config in CONSUMERS if config["durable_name"] != "tried"]
    while open_ones:
        left = []
        for stream, consumer in open_ones:
            info = await connection.api(f"CONSUMER.INFO.{stream}.{consumer}")
            if info["num_pending"] or info["num_ack_pending"]:
                left.append((stream, consumer))
        if left and time.monotonic() > end:
            raise Wrong(f"consumers do not come to their end: {left} {info}")
        open_ones = left
        await asyncio.sleep(0.05)
    connection.abort()


def check_order(stream, stored):
    last, seen = {}, {}
    for seq in sorted(stored):
        data = stored[seq]
        if data in seen:
            raise Wrong(f"{stream}: {data[:60]} is there twice, at {seen[data]} and {seq}")
        seen[data] = seq
        words = data.split(" ")
        if stream == "ATOMIC":
            continue
        if int(words[1]) <= last.get(words[0], 0):
            raise Wrong(f"{stream} {seq}: {data[:60]} comes behind number {last[words[0]]} of the same publisher")
        last[words[0]] = int(words[1])


def check_expected(stored):
    last = collections.defaultdict(int)
    for seq in sorted(stored):
        _, _, aggregate, expected = stored[seq].split(" ")
        if last[aggregate] != int(expected):
            raise Wrong(f"EXP {seq} expected {expected} of {aggregate}, and {last[aggregate]} was the last")
        last[aggregate] = seq


async def check_all(world, batches, rollups, bucket):
    oracle = world.oracle
    connection = await world.connect()
    total = 0
    for config in STREAMS:
        stream = config["name"]
        stored = {seq: data for seq, (_, data) in (await read_stream(connection, stream)).items()}
        state = (await connection.api(f"STREAM.INFO.{stream}"))["state"]
        if stream == "INT":  # what nobody wants goes within a moment
            stored = {}
        elif state["messages"] != len(stored):
            raise Wrong(f"{stream} says {state} and has {len(stored)}")
        for seq, data in stored.items():
            oracle.show(stream, seq, data)
            if (stream, data) in oracle.never:
                raise Wrong(f"{stream} {seq} is {data[:60]}, which was refused or not answered by a server that had time to")
        check_order(stream, stored)
        if stream in ("LOG", "ATOMIC", "EXP", "GIVEN"):
            if sorted(stored) != list(range(1, state["last_seq"] + 1)):
                raise Wrong(f"{stream} has gaps: {len(stored)} of {state}")
            for seq, data in oracle.acked[stream].items():
                if stored.get(seq) != data:
                    raise Wrong(f"{stream} {seq} is {stored.get(seq)}, acknowledged was {data[:60]}")
            for seq, data in oracle.seen[stream].items():
                if stored.get(seq) != data:
                    raise Wrong(f"{stream} {seq} is {stored.get(seq)}, shown was {data[:60]}")
        total += len(oracle.acked[stream])
        if stream == "EXP":
            check_expected(stored)
        if stream == "ATOMIC":
            batches.check(stored)
        if stream == "ROLL":
            newest = collections.Counter()
            for _, (kept, subject, _, seq) in oracle.ids.items():
                if kept == "ROLL":
                    newest[subject] = max(newest[subject], seq)
            if sorted(stored) != sorted(newest.values()):
                raise Wrong(f"ROLL has {sorted(stored)}, rolled up were {newest}")
        if stream in ("WORK", "INT") and state["messages"] != 0:
            raise Wrong(f"{stream} has {state} though everything was acknowledged")
    await check_delivered(oracle)
    print(f"{await check_copies(connection)} copied", flush=True)
    for subject, number in bucket.newest.items():
        got = await connection.request("$JS.API.DIRECT.GET.KV_B", json.dumps({"last_by_subj": subject}).encode())
        if int(got.data.split()[1]) != number:
            raise Wrong(f"{subject} shows {got.data[:60]}, put last was {number}")
    connection.abort()
    return total


async def read_copy(connection, name, last_seqs):
    """seq: (subject, data, where it is from), once it has come as far as its sources."""
    end = time.monotonic() + 60
    while True:
        info = await connection.api(f"STREAM.INFO.{name}")
        sources = [info["mirror"]] if "mirror" in info else info["sources"]
        if all(source["lag"] == 0 and "error" not in source for source in sources) and info["state"]["last_seq"] in last_seqs:
            break
        if time.monotonic() > end:
            raise Wrong(f"{name} does not come to {last_seqs}: {info}")
        await asyncio.sleep(0.05)
    return await read_stream(connection, name)


async def check_copies(connection):
    log, exp = await read_stream(connection, "LOG"), await read_stream(connection, "EXP")
    if await read_copy(connection, "MIRROR", (max(log),)) != log:
        raise Wrong("MIRROR is not what LOG is")
    part = {seq: told for seq, told in log.items() if told[0].startswith("log.window.")}
    if await read_copy(connection, "PART", (max(part, default=0),)) != part:
        raise Wrong("PART is not what LOG has of it")
    merged = await read_copy(connection, "MERGED", (len(log) + len(exp),))
    of_log = [told for _, told in sorted(merged.items()) if told[0].startswith("log.")]
    of_exp = [told for _, told in sorted(merged.items()) if told[0].startswith("merged.exp.")]
    if of_log != [told for _, told in sorted(log.items())]:
        raise Wrong(f"MERGED has {len(of_log)} of {len(log)} of LOG, or in another order")
    if of_exp != [("merged." + subject, data) for _, (subject, data) in sorted(exp.items())]:
        raise Wrong(f"MERGED has {len(of_exp)} of {len(exp)} of EXP, or in another order")
    return len(log) + len(part) + len(merged)


async def check_delivered(oracle):
    for stream, config in CONSUMERS:
        consumer = config["durable_name"]
        if consumer == "tried":
            continue
        wanted = {data for data in oracle.acked[stream].values()}
        if consumer == "pushed":
            wanted = {data for data in wanted if data.startswith("window")}
        elif consumer == "b":
            wanted = {data for _, (of, subject, data, _) in oracle.ids.items() if of == "INT" and subject.startswith("int.0.")}
        missing = wanted - oracle.delivered[(stream, consumer)]
        if missing:
            raise Wrong(f"{stream} {consumer}: {len(missing)} never came, such as {sorted(missing)[0][:60]}")


# ---- A run -----------------------------------------------------------------------------------------------------------------


async def run(server, mode, ends):
    world = World(server)
    world.failed = asyncio.get_running_loop().create_future()
    await server.start()
    connection = await Connection.open(server.port)
    for config in STREAMS + COPIES:
        await connection.api(f"STREAM.CREATE.{config['name']}", config)
    for stream, config in CONSUMERS:
        await connection.api(f"CONSUMER.CREATE.{stream}.{config['durable_name']}",
                             {"stream_name": stream, "config": {"name": config["durable_name"], **config}})
    connection.abort()
    batches, bucket = Batches(world, "batches"), Bucket(world, "bucket")
    rollups = Rollups(world, "rollups", "ROLL", "roll.*", pause=0.002)
    publishers = [
        Publisher(world, "one", "LOG", "log.one.*"), Publisher(world, "two", "LOG", "log.one.*"),
        Publisher(world, "window", "LOG", "log.window.*", window=64, pause=0.0005), Plain(world, "plain"), batches,
        Expecting(world, "ada", 1, True), Expecting(world, "bob", 1, False), Expecting(world, "cleo", 2, True), rollups, bucket,
        Publisher(world, "jobs", "WORK", "work.*", window=16, pause=0.001),
        Publisher(world, "news", "INT", "int.*.x", window=16, pause=0.001),
        Publisher(world, "given", "GIVEN", "given.*", pause=0.05),
    ]
    takers = [Taker(world, "mail", "LOG", "mail"), Taker(world, "pushed", "LOG", "pushed", "to.pushed"),
              Taker(world, "crew 1", "WORK", "crew"), Taker(world, "crew 2", "WORK", "crew"), Taker(world, "int a", "INT", "a"),
              Taker(world, "int b", "INT", "b"), Trying(world), InOrder(world)]
    tasks = [asyncio.ensure_future(actor.run()) for actor in publishers + takers]
    last = asyncio.ensure_future(direct(world, mode, ends, tasks[:len(publishers)], bucket))
    waiting = {last, world.failed, *tasks}
    try:
        while not last.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        total = await check_all(world, batches, rollups, bucket)
    finally:
        for task in [*tasks, last]:
            task.cancel()
    counts = ", ".join(f"{actor.name} {actor.count}" for actor in publishers + takers)
    print(f"{total} acknowledged; {counts}", flush=True)
    return world


async def direct(world, mode, ends, publishing, bucket):
    """Ends the server and starts it again; then brings everything to its end."""
    slowest = 0.0
    for _ in range(ends):
        await asyncio.sleep(random.choice((0.05, 0.3, 1.0)) + random.random() * 0.6)
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM}.get(mode) or random.choice((signal.SIGKILL, signal.SIGTERM))
        world.last_end = number
        world.ends += 1
        if number == signal.SIGKILL:
            world.server.kill()
            await asyncio.sleep(0)
        else:
            status = await world.server.end()
            if status != 0:
                raise Wrong(f"after SIGTERM the server ends with {status}: {world.server.log()[-2000:]}")
        begun = time.monotonic()
        await world.server.start()
        await look_after_restart(world, bucket)
        slowest = max(slowest, time.monotonic() - begun)
    await asyncio.sleep(0.3)
    world.stopping = True
    await asyncio.wait_for(asyncio.gather(*publishing), 60)
    await wait_until_drained(world)
    world.done = True
    print(f"{world.ends} ends; slowest start with a look {slowest:.2f} s", flush=True)


def verify(server):
    done = subprocess.run([PROGRAM, "-s", os.path.join(server.store, "jetstream"), "verify"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise Wrong(f"verify says {done.returncode}: {done.stdout}{done.stderr}")


async def main(server, mode, ends, is_other):
    await run(server, mode, ends)
    status = await server.end()
    if status != 0:
        raise Wrong(f"the server ends with {status}: {server.log()[-2000:]}")
    if not is_other:
        verify(server)


if __name__ == "__main__":
    other = os.environ.get("DAYBOOK_SERVER")
    mode_given = sys.argv[1] if len(sys.argv) > 1 else "kill"
    ends_given = int(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("DAYBOOK_KILLS", "4"))
    sys.exit(run_with_server("server-kill", lambda server: main(server, mode_given, ends_given, other is not None),
                             [] if other else ["announced_version: \"2.12.3\""], program=other))
