#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Projections killed at random: `projection run`, `projection rebuild`, the writer and the database server get SIGKILL at any moment.

After each kill the read model is read in one transaction and compared with a fold of the log that this program makes by itself
up to the model's checkpoint: every row, every event seen exactly once, the parked events, the count. What the writer
acknowledged must be in the log.

    test_projection_kill.py sqlite|postgresql [KILLS]     default: $DAYBOOK_KILLS, else 30

DAYBOOK names the program. The seed is printed; DAYBOOK_SEED repeats it (processes do not run in step, so what happens is alike,
not the same). On failure the directory stays.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import postgres_server  # noqa: E402

PROGRAM = os.environ.get("DAYBOOK", "daybook")
NOT_AVAILABLE = 77
KILLS_PER_STORE = 60
ORDERS = 300
READ_MODEL = """-- projection: orders_read
-- version: 1
-- events: orders.>
-- [setup]
CREATE TABLE orders_read (order_id TEXT PRIMARY KEY, amount BIGINT CHECK (amount >= 0), changes BIGINT, last_position BIGINT,
    note TEXT);
CREATE TABLE orders_seen (position BIGINT PRIMARY KEY, order_id TEXT, type TEXT, note TEXT);
-- [on type placed]
INSERT INTO orders_read VALUES (:aggregate_id, :data.amount!, 1, :position, NULL)
    ON CONFLICT (order_id) DO UPDATE SET amount = orders_read.amount + excluded.amount, changes = orders_read.changes + 1,
        last_position = excluded.last_position;
-- [on type noted]
UPDATE orders_read SET note = :data.note, changes = changes + 1, last_position = :position WHERE order_id = :aggregate_id;
-- [on orders.>]
INSERT INTO orders_seen VALUES (:position, :aggregate_id, :type, :data.note);
-- [teardown]
DROP TABLE orders_read;
DROP TABLE orders_seen;
"""
TABLES = {
    "read": "SELECT order_id, amount, changes, last_position, note FROM orders_read ORDER BY order_id",
    "seen": "SELECT position, order_id, type, note FROM orders_seen ORDER BY position",
    "parked": "SELECT position, behind FROM daybook_parked WHERE projection = 'orders_read' ORDER BY position",
    "checkpoint": "SELECT position, event_count FROM daybook_projection WHERE name = 'orders_read'",
}


class Wrong(Exception):
    pass


class Sqlite:
    def __init__(self, directory):
        self.path = os.path.join(directory, "read.db")
        self.url = "sqlite:" + self.path

    def tables(self):
        """None where the read model is not made yet."""
        if not os.path.exists(self.path):
            return None
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN")
            return {name: connection.execute(sql).fetchall() for name, sql in TABLES.items()}
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        finally:
            connection.close()

    def check(self):
        connection = sqlite3.connect(self.path, timeout=20)
        said = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        if said != [("ok",)]:
            raise Wrong(f"SQLite finds {said}")

    def reset(self):
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.path + end):
                os.remove(self.path + end)

    def maybe_kill(self, _):
        return 0

    def close(self):
        pass


class Postgres:
    def __init__(self, _):
        self.server = postgres_server.Server()
        self.url = self.server.url

    def psql(self, sql):
        return subprocess.run(["psql", self.url, "-XAtq", "-v", "ON_ERROR_STOP=1"], input=sql, capture_output=True, text=True, check=False)

    def tables(self):
        rows = [f"SELECT json_build_array('{name}', (SELECT json_agg(json_build_array({columns})) FROM ({sql}) AS t));"
                for name, sql in TABLES.items() for columns in [sql.split(" FROM ")[0].removeprefix("SELECT ")]]
        done = self.psql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;" + "".join(rows) + "COMMIT;")
        while done.returncode != 0 and "could not open relation" in done.stderr:
            # The switch came between its planning and its reading: PostgreSQL's catalogues are no part of a snapshot.
            done = self.psql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;" + "".join(rows) + "COMMIT;")
        if done.returncode != 0:
            if "does not exist" in done.stderr:
                return None
            raise Wrong(done.stderr)
        return {name: [tuple(row) for row in found or []] for name, found in (json.loads(line) for line in done.stdout.splitlines())}

    def check(self):
        pass

    def reset(self):
        done = self.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
        if done.returncode != 0:
            raise Wrong(done.stderr)

    def maybe_kill(self, chance):
        if chance >= 0.04:
            return 0
        self.server.kill()
        self.server.start()
        return 1

    def close(self):
        self.server.close()


class Oracle:
    """What the read model must hold once everything up to a position is applied."""

    def __init__(self):
        self.log = []  # (position, order, type, data or None)
        self.at = 0  # index into the log
        self.read, self.seen, self.parked, self.held = {}, [], [], {}

    def apply(self, position, order, kind, data):
        if order in self.held:
            self.parked.append((position, self.held[order]))
            return
        if data is None or (kind == "placed" and data["amount"] < 0):
            self.held[order] = position
            self.parked.append((position, 0))
            return
        row = self.read.get(order)
        if kind == "placed":
            self.read[order] = (data["amount"], 1, position, None) if row is None else (row[0] + data["amount"], row[1] + 1, position, row[3])
        elif row is not None:
            self.read[order] = (row[0], row[1] + 1, position, data["note"])
        self.seen.append((position, order, kind, data.get("note")))

    def compare(self, tables):
        position, event_count = tables["checkpoint"][0]
        while self.at < len(self.log) and self.log[self.at][0] <= position:
            self.apply(*self.log[self.at])
            self.at += 1
        if self.at > 0 and self.log[self.at - 1][0] > position:
            raise Wrong(f"the checkpoint went back to {position}")
        expected = {"read": [(order, *row) for order, row in sorted(self.read.items())], "seen": self.seen, "parked": self.parked}
        for name, rows in expected.items():
            if rows != tables[name]:
                both = set(rows), set(tables[name])
                raise Wrong(f"{name} at {position}: missing {sorted(both[0] - both[1])[:5]}, too much {sorted(both[1] - both[0])[:5]}, "
                            f"{len(tables[name])} rows instead of {len(rows)}")
        if event_count != len(self.seen):
            raise Wrong(f"{event_count} events counted at {position} instead of {len(self.seen)}")
        return position


class Writer:
    """`append --each` fed by a thread; notes what was acknowledged."""

    def __init__(self, store, seed, acknowledged):
        self.process = subprocess.Popen([PROGRAM, "append", "-s", store, "--batch", "-", "--each", "--json", "-q"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.acknowledged = acknowledged
        self.random = random.Random(seed)
        self.threads = [threading.Thread(target=self.feed), threading.Thread(target=self.listen)]
        for thread in self.threads:
            thread.start()

    def line(self):
        draw = self.random.random()
        event = {"subject": f"orders.{self.random.randrange(ORDERS)}.{'placed' if draw < 0.6 else 'noted'}"}
        if draw > 0.9985:
            event["text"] = "no JSON"
        elif draw < 0.6:
            event["data"] = {"amount": -1 if draw < 0.001 else self.random.randrange(1000), "more": [{"x": "y" * self.random.randrange(60)}]}
        else:
            event["data"] = {"note": self.random.choice(["a", "ä \"quoted\"", "x" * 100, None])}
        return json.dumps(event).encode() + b"\n"

    def feed(self):
        try:
            while True:
                for _ in range(self.random.randrange(1, 30)):
                    self.process.stdin.write(self.line())
                self.process.stdin.flush()
                time.sleep(0.005)
        except (BrokenPipeError, ValueError, OSError):
            pass

    def listen(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.acknowledged.append(json.loads(line)["position"])

    def kill(self):
        self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Test:
    def __init__(self, database, directory, seed, kill_count):
        self.database, self.directory, self.kill_count = database, directory, kill_count
        self.random = random.Random(seed)
        self.sql = os.path.join(directory, "orders_read.sql")
        with open(self.sql, "w", encoding="utf-8") as file:
            file.write(READ_MODEL)
        self.kills = {"run": 0, "rebuild": 0, "writer": 0, "server": 0}
        self.checks = self.store_count = self.event_count = self.rebuilt = 0
        self.runs, self.writer = [], None
        self.fresh()

    def fresh(self):
        self.store = os.path.join(self.directory, f"store-{self.store_count}")
        if self.store_count > 0:
            shutil.rmtree(os.path.join(self.directory, f"store-{self.store_count - 1}"))
        self.store_count += 1
        self.oracle, self.acknowledged, self.position = Oracle(), [], 0
        self.database.reset()
        subprocess.run([PROGRAM, "append", "-s", self.store, "orders.0.placed", '{"amount":1}', "-q"], check=True, capture_output=True)

    def total(self):
        return sum(self.kills.values())

    def command(self, verb, *options):
        return [PROGRAM, "projection", verb, self.sql, "-s", self.store, "--to", self.database.url, *options]

    def start(self, verb, *options):
        errors = tempfile.TemporaryFile()
        process = subprocess.Popen(self.command(verb, *options), stdout=subprocess.DEVNULL, stderr=errors)
        process.verb, process.errors = verb, errors
        self.runs.append(process)

    def reap(self, process):
        """One that ended by itself, which only a rebuild may, or because another holds its place."""
        process.errors.seek(0)
        said = process.errors.read().decode()
        process.errors.close()
        is_fine = process.verb == "rebuild" and process.returncode in (0, 6)
        self.rebuilt += process.verb == "rebuild" and process.returncode == 0
        if not is_fine:
            raise Wrong(f"{process.verb} ended with {process.returncode}: {said}")

    def kill_runs(self):
        for process in self.runs:
            if process.poll() is not None:
                self.reap(process)
                continue
            process.kill()
            process.wait()
            process.errors.close()
            self.kills[process.verb] += 1
        self.runs = []

    def read_log(self):
        log = self.oracle.log
        after = log[-1][0] if log else 0
        done = subprocess.run([PROGRAM, "read", "orders.>", "-s", self.store, "--after", str(after), "--json"], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Wrong(f"reading the log: {done.stderr}")
        for line in done.stdout.splitlines():
            event = json.loads(line)
            log.append((event["position"], event["aggregate"].split(".")[1], event["type"], event.get("data")))

    def check(self):
        acknowledged = list(self.acknowledged)
        tables = self.database.tables()
        self.read_log()
        known = {event[0] for event in self.oracle.log}
        lost = [position for position in acknowledged if position not in known]
        if lost:
            raise Wrong(f"acknowledged and not in the log: {lost[:5]}")
        if tables is None or not tables["checkpoint"]:
            return
        self.position = self.oracle.compare(tables)
        self.checks += 1

    def cycle(self):
        if self.writer is None:
            self.writer = Writer(self.store, self.random.random(), self.acknowledged)
        batch = str(self.random.choice([1, 7, 50, 1000]))
        for _ in range(1 + (self.random.random() < 0.15)):
            self.start("run", "--standby", "--batch", batch)
        mean = 0.12
        if self.random.random() < 0.25:
            self.start("rebuild")
            mean = self.random.choice([0.12, 1.0])
        time.sleep(min(self.random.expovariate(1 / mean), 3.0))
        if self.random.random() < 0.1:
            frozen = self.random.choice(self.runs)
            frozen.send_signal(signal.SIGSTOP)
            time.sleep(self.random.random() * 0.2)
        self.kills["server"] += self.database.maybe_kill(self.random.random())
        self.kill_runs()
        if self.random.random() < 0.4:
            self.writer.kill()
            self.writer = None
            self.kills["writer"] += 1
        self.check()

    def settle(self):
        """Everything in the log is applied, and once."""
        if self.writer is not None:
            self.writer.kill()
            self.writer = None
        done = subprocess.run(self.command("run", "--once", "--standby", "--json"), capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise Wrong(f"the last run ended with {done.returncode}: {done.stderr}")
        self.check()
        if self.oracle.at != len(self.oracle.log):
            raise Wrong(f"the read model ends at {self.position} and the log at {self.oracle.log[-1][0]}")
        self.database.check()
        self.event_count += len(self.oracle.log)

    def run(self):
        while self.total() < self.kill_count:
            goal = min(self.kill_count, self.total() + KILLS_PER_STORE)
            while self.total() < goal:
                self.cycle()
            self.settle()
            if self.total() < self.kill_count:
                self.fresh()

    def end(self):
        for process in self.runs:
            process.kill()
            process.wait()
        if self.writer is not None:
            self.writer.kill()


def main():
    kind = sys.argv[1]
    kill_count = int(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("DAYBOOK_KILLS", "30"))
    build = json.loads(subprocess.run([PROGRAM, "info", "--build", "--json"], capture_output=True, text=True, check=True).stdout)
    if kind not in build.get("projections", []):
        print(f"SKIP: {kind} is not built in")
        return NOT_AVAILABLE
    if kind == "postgresql" and postgres_server.not_available():
        print(f"SKIP: {postgres_server.not_available()}")
        return NOT_AVAILABLE
    seed = int(os.environ.get("DAYBOOK_SEED", time.time_ns() % 1000000007))
    print(f"seed {seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="daybook-projection-kill-")
    database = Sqlite(directory) if kind == "sqlite" else Postgres(directory)
    test = Test(database, directory, seed, kill_count)
    started = time.monotonic()
    try:
        test.run()
    except Wrong as wrong:
        print(f"after {test.kills}: {wrong}\nits store and database stay in {directory}")
        return 1
    finally:
        test.end()
        database.close()
    shutil.rmtree(directory)
    print(f"{kind}: {test.total()} kills {test.kills}, {test.checks} comparisons, {test.rebuilt} rebuilds that ended, "
          f"{test.event_count} events in {test.store_count} stores, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
