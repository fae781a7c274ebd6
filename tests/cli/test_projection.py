#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""projection check, run, rebuild, status, pause, resume, parked, rm; into SQLite, and into PostgreSQL where it is installed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

from support import CONFLICT, ERROR, NOT_FOUND, PROGRAM, UNAVAILABLE, USAGE, Case, main

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import postgres_server  # noqa: E402

HEAD = """-- projection: order_totals
-- version: {version}
-- events: orders.>
-- [setup]
CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, total NUMERIC CHECK (total >= 0), state TEXT, changes INTEGER);
"""
TOTALS = HEAD + """
-- [on type placed]
INSERT INTO order_totals VALUES (:aggregate_id, {cast}, 'placed', 1);
-- [on type paid, shipped]
UPDATE order_totals SET state = :type, changes = changes + 1 WHERE order_id = :aggregate_id;
-- [teardown]
DROP TABLE order_totals;
"""


def built_in():
    said = subprocess.run([PROGRAM, "info", "--build", "--json"], capture_output=True, text=True, check=False).stdout
    return json.loads(said).get("projections", [])


class Projections:
    """What holds for both databases. Who mixes this in gives query(), execute(), url and CAST."""

    CAST = ":data.total!"

    def sql(self, version=1, text=TOTALS):
        return self.write("order_totals.sql", text.format(version=version, cast=self.CAST))

    def run_once(self, *options, **more):
        return self.ok("projection", "run", self.sql(), "--to", self.url, "--once", "--json", *options, **more).object()

    def place(self, order, total):
        return self.append(f"orders.{order}.placed", json.dumps({"total": total}))["position"]

    def rows(self, columns="order_id, state, changes"):
        return self.query(f"SELECT {columns} FROM order_totals ORDER BY order_id")

    def wait_for(self, what, expected, seconds=20):
        deadline = time.monotonic() + seconds
        while what() != expected and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(expected, what())

    def status(self, *arguments):
        return self.ok("projection", "status", *arguments, "--to", self.url, "--json").object()

    def parked(self):
        return self.ok("projection", "parked", "order_totals", "--to", self.url, "--json").objects()

    def test_each_event_is_applied_once(self):
        self.place("1", 10)
        self.place("2", 2.5)
        self.append("orders.1.paid", "{}")
        self.assertEqual({"projection": "order_totals", "version": 1, "position": 3, "applied": 3, "events": 3, "parked": 0,
                          "retries": 0}, self.run_once())
        expected = [("1", "paid", 2), ("2", "placed", 1)]
        self.assertEqual(expected, self.rows())
        self.assertEqual(0, self.run_once()["applied"])
        self.assertEqual(expected, self.rows())
        self.append("orders.2.shipped", "{}")
        status = self.status(self.sql())
        self.assertEqual((3, 3, "live", 1), tuple(status[name] for name in ("position", "events", "state", "lag_events")))
        self.assertGreater(status["lag_seconds"], 0)
        self.assertEqual(1, self.run_once("--batch", "1")["applied"])
        self.assertEqual([("1", "paid", 2), ("2", "shipped", 2)], self.rows())
        self.assertEqual((0, 0), tuple(self.status(self.sql())[name] for name in ("lag_events", "lag_seconds")))
        self.assertEqual("order_totals: 0 events applied, up to position 4\n",
                         self.ok("projection", "run", self.sql(), "--to", self.url, "--once").out)
        self.assertTrue(self.ok("projection", "status", "--to", self.url, "--csv").out.startswith(
            "projection,version,state,position,events,parked,updated,instance,error\norder_totals,1,live,4,4,0,"))

    def test_it_follows_and_ends_when_interrupted(self):
        self.place("1", 1)
        process = self.start("projection", "run", self.sql(), "--to", self.url, "--json")
        self.wait_for(lambda: self.rows_or_none("order_id"), [("1",)])
        self.place("2", 1)
        self.wait_for(lambda: self.rows("order_id"), [("1",), ("2",)])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((0, b""), (process.returncode, err))
        self.assertEqual(2, json.loads(out)["applied"])

    def rows_or_none(self, columns):
        try:
            return self.rows(columns)
        except (sqlite3.Error, subprocess.CalledProcessError):
            return None

    def test_started_twice_one_is_active(self):
        self.place("1", 1)
        first = self.start("projection", "run", self.sql(), "--to", self.url)
        self.wait_for(lambda: self.rows_or_none("order_id"), [("1",)])
        self.fails(UNAVAILABLE, "projection", "run", self.sql(), "--to", self.url, "--once", says="order_totals")
        second = self.start("projection", "run", self.sql(), "--to", self.url, "--standby")
        time.sleep(0.5)
        self.assertIsNone(second.poll())
        first.kill()
        first.wait()
        self.place("2", 1)
        self.wait_for(lambda: self.rows("order_id"), [("1",), ("2",)])
        second.send_signal(signal.SIGTERM)
        self.assertEqual(0, second.wait(20))

    def test_paused_it_waits(self):
        self.place("1", 1)
        process = self.start("projection", "run", self.sql(), "--to", self.url)
        self.wait_for(lambda: self.rows_or_none("order_id"), [("1",)])
        self.assertIn("paused", self.ok("projection", "pause", "order_totals", "--to", self.url).err)
        self.assertEqual("paused", self.status()["state"])
        time.sleep(1.2)
        self.place("2", 1)
        time.sleep(0.8)
        self.assertEqual([("1",)], self.rows("order_id"))
        self.ok("projection", "resume", "order_totals", "--to", self.url)
        self.wait_for(lambda: self.rows("order_id"), [("1",), ("2",)])
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(20))
        self.fails(NOT_FOUND, "projection", "pause", "nothing", "--to", self.url)

    def test_an_event_that_is_refused_is_parked_with_those_behind_it(self):
        self.place("1", 1)
        bad = self.place("2", -5)
        behind = self.append("orders.2.paid", "{}")["position"]
        no_json = self.append("orders.3.placed", "hello")["position"]
        self.append("orders.1.shipped", "{}")
        done = self.ok("projection", "run", self.sql(), "--to", self.url, "--once", "--json")
        self.assertIn("orders.2.placed", done.err)
        self.assertEqual((2, 3), tuple(done.object()[name] for name in ("applied", "parked")))
        self.assertEqual([("1", "shipped", 2)], self.rows())
        parked = self.parked()
        self.assertEqual([(bad, "orders.2.placed", None), (behind, "orders.2.paid", bad), (no_json, "orders.3.placed", None)],
                         [(event["position"], event["subject"], event.get("behind")) for event in parked])
        self.assertIn("no JSON", parked[2]["error"])
        self.assertIn("order_totals.sql:8", parked[0]["error"])
        self.assertIn("total", parked[0]["error"])  # the constraint, in the words of the database
        self.assertEqual(8, self.ok("projection", "parked", "order_totals", "--to", self.url, "--csv").out.count("\n") * 2)

        self.fails(USAGE, "projection", "parked", "order_totals", "--to", self.url, "--retry", "x")
        self.fails(USAGE, "projection", "parked", "order_totals", "--to", self.url, "--retry", "1", "--skip", "1")
        self.fails(NOT_FOUND, "projection", "parked", "order_totals", "--to", self.url, "--skip", "999")
        self.ok("projection", "parked", "order_totals", "--to", self.url, "--skip", no_json)
        self.ok("projection", "parked", "order_totals", "--to", self.url, "--retry", bad)
        self.assertEqual(2, self.run_once()["parked"])  # still refused
        self.assertEqual([bad, behind], [event["position"] for event in self.parked()])
        self.assertEqual(2, self.parked()[0]["attempts"])
        self.drop_the_check()
        self.ok("projection", "parked", "order_totals", "--to", self.url, "--retry", "all")
        self.assertEqual((2, 0), tuple(self.run_once()[name] for name in ("applied", "parked")))
        self.assertEqual([("1", "shipped", 2), ("2", "paid", 2)], self.rows())

    def test_an_event_that_is_refused_can_stop_it(self):
        self.place("1", 1)
        bad = self.place("2", -5)
        self.append("orders.2.paid", "{}")
        for _ in range(2):
            said = self.fails(ERROR, "projection", "run", self.sql(), "--to", self.url, "--once", "--on-error", "stop",
                              says="orders.2.placed")
            self.assertIn(str(bad), said.err)
        self.assertEqual([("1", "placed", 1)], self.rows())
        done = self.run_once("--on-error", "park-event")
        self.assertEqual((1, 1), tuple(done[name] for name in ("applied", "parked")))

    def test_what_is_wrong_in_a_file_is_said_with_its_place(self):
        self.place("1", 1)
        self.fails(NOT_FOUND, "projection", "check", "nowhere.sql", says="nowhere.sql")
        bad = self.write("bad.sql", "-- projection: p\n-- version: 1\n-- events: >\n-- [on >]\nSELECT :nothing;\n")
        self.fails(ERROR, "projection", "check", bad, says="bad.sql:5:8: :nothing: no such parameter")
        self.fails(ERROR, "projection", "run", bad, "--to", self.url, says="bad.sql:5:8: :nothing: no such parameter")
        self.assertEqual({"projection": "order_totals"}, self.ok("projection", "check", self.sql(), "--json").object())
        self.assertIn("no mistake", self.ok("projection", "check", self.sql()).out)
        wrong = self.sql(text=TOTALS.replace("UPDATE order_totals", "UPDATE\n  no_such_table"))
        self.fails(ERROR, "projection", "run", wrong, "--to", self.url, "--once", says="order_totals.sql:1")
        wrong = self.sql(text=TOTALS.replace("order_id TEXT", "order_id TEXT TEXT ("))
        self.fails(ERROR, "projection", "run", wrong, "--to", self.url, "--once", says="order_totals.sql:5")

    def test_the_database_must_be_named(self):
        self.place("1", 1)
        for verb in ("run", "rebuild", "status", "pause", "resume", "parked", "rm"):
            self.fails(USAGE, "projection", verb, self.sql(), says="--to")
        for database in ("mysql:x", "read.db", "sqlite3:x", ""):
            self.fails(USAGE, "projection", "run", self.sql(), "--to", database, "--once")
        self.fails(USAGE, "projection", "run", self.sql(), "--to", "mysql://u:secret@h/d", "--once", says="--to mysql:…:")
        self.assertEqual([], [name for name in os.listdir(self.directory) if "x" in name])
        self.fails(NOT_FOUND, "projection", "status", "--to", "sqlite:" + self.path("none.db"))
        self.fails(USAGE, "projection", "run", self.sql(), "--to", self.url, "--on-error", "explode")
        self.fails(NOT_FOUND, "projection", "run", self.sql(), "--to", self.url, "-s", "no-store")

    def test_a_new_version_is_built_beside_the_old_one(self):
        self.place("1", 1)
        self.append("orders.1.paid", "{}")
        self.run_once()
        new = TOTALS.replace("'placed', 1", "'new', 1")
        self.fails(CONFLICT, "projection", "run", self.sql(2, new), "--to", self.url, "--once", says="rebuild")
        self.assertEqual([("1", "paid", 2)], self.rows())
        self.place("2", 1)
        done = self.ok("projection", "rebuild", self.sql(2, new), "--to", self.url, "--json").object()
        self.assertEqual((3, 3, 2), tuple(done[name] for name in ("position", "applied", "version")))
        self.assertEqual([("1", "paid", 2), ("2", "new", 1)], self.rows())
        self.place("3", 1)
        self.assertEqual(1, self.ok("projection", "run", self.sql(2, new), "--to", self.url, "--once", "--json").object()["applied"])
        self.assertEqual(2, self.status()["version"])

    def test_a_rebuild_does_not_disturb_the_run(self):
        for order in range(50):
            self.place(order, 1)
        process = self.start("projection", "run", self.sql(), "--to", self.url)
        self.wait_for(lambda: len(self.rows_or_none("order_id") or []), 50)
        self.execute("UPDATE order_totals SET state = 'by hand'")
        self.ok("projection", "rebuild", self.sql(), "--to", self.url)
        self.assertEqual([("placed", 50)], self.query("SELECT state, count(*) FROM order_totals GROUP BY state"))
        self.place("z", 1)
        self.wait_for(lambda: len(self.rows("order_id")), 51)
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(20))

    def test_a_rebuild_ends_while_events_keep_coming(self):
        self.place("first", 1)
        self.ok("append", "--each", "--quiet", "--batch", "-",
                stdin="".join('{"subject":"orders.a%d.placed","data":{"total":1}}\n' % i for i in range(20000)))
        run = self.start("projection", "run", self.sql(), "--to", self.url)
        self.wait_for(lambda: len(self.rows_or_none("order_id") or []), 20001)
        writer = subprocess.Popen([PROGRAM, "append", "--batch", "-", "--each", "--quiet"], cwd=self.directory,
                                  env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.processes.append(writer)
        rebuild = None
        deadline = time.monotonic() + 30
        count = 0
        while time.monotonic() < deadline and (rebuild is None or rebuild.poll() is None):
            for _ in range(20):
                count += 1
                writer.stdin.write(b'{"subject":"orders.%d.placed","data":{"total":1}}\n' % count)
            writer.stdin.flush()
            time.sleep(0.005)
            if count == 2000:
                rebuild = self.start("projection", "rebuild", self.sql(), "--to", self.url)
        self.assertEqual(0, rebuild.poll(), "the rebuild did not end")
        writer.stdin.close()
        self.assertEqual(0, writer.wait(20))
        self.wait_for(lambda: len(self.rows("order_id")), count + 20001)
        self.assertIsNone(run.poll())
        run.send_signal(signal.SIGINT)
        self.assertEqual(0, run.wait(20))

    def test_a_rebuild_ends_where_the_newest_events_were_purged(self):
        self.place("1", 1)
        self.place("2", 1)
        self.run_once()
        self.ok("stream", "purge", "ORDERS", "--force")
        rebuild = self.start("projection", "rebuild", self.sql(), "--to", self.url)
        self.assertEqual(0, rebuild.wait(20))
        self.assertEqual([], self.rows())
        self.place("3", 1)
        self.assertEqual(1, self.run_once()["applied"])
        self.assertEqual([("3", "placed", 1)], self.rows())

    def test_a_checkpoint_beyond_the_end_of_the_store_is_refused(self):
        self.place("1", 1)
        self.place("2", 1)
        self.run_once()
        shutil.rmtree(self.path("daybook-store"))  # or an older backup was restored
        self.place("3", 1)
        self.fails(CONFLICT, "projection", "run", self.sql(), "--to", self.url, "--once", says="rebuild")
        rebuild = self.start("projection", "rebuild", self.sql(), "--to", self.url)
        self.assertEqual(0, rebuild.wait(20))
        self.assertEqual([("3", "placed", 1)], self.rows())
        self.place("4", 1)
        self.assertEqual(1, self.run_once()["applied"])
        self.assertEqual([("3", "placed", 1), ("4", "placed", 1)], self.rows())

    def test_a_store_restored_from_an_older_backup_is_refused(self):
        self.place("1", 1)
        self.ok("backup", "copy")
        self.place("2", 1)
        self.run_once()
        shutil.rmtree(self.path("daybook-store"))
        self.ok("restore", "copy", "--force")
        self.fails(CONFLICT, "projection", "run", self.sql(), "--to", self.url, "--once", says="the store ends at 1")
        self.place("3", 1)  # at the position of the lost one
        self.place("4", 1)
        self.assertIn("the store ends at 1", self.status()["error"])
        told = self.status(self.sql())
        self.assertIn("another event", told["error"])
        self.assertNotIn("lag_events", told)
        self.fails(CONFLICT, "projection", "run", self.sql(), "--to", self.url, "--once", says="restored from an older backup")
        rebuild = self.start("projection", "rebuild", self.sql(), "--to", self.url)
        self.assertEqual(0, rebuild.wait(20))
        self.assertEqual([("1", "placed", 1), ("3", "placed", 1), ("4", "placed", 1)], self.rows())
        told = self.status(self.sql())
        self.assertEqual(0, told["lag_events"])
        self.assertNotIn("error", told)

    def test_removing_asks_and_drops_the_tables(self):
        self.place("1", 1)
        self.run_once()
        self.fails(USAGE, "projection", "rm", "order_totals", "--to", self.url, says="--force")
        self.assertIn("would remove", self.ok("projection", "rm", "order_totals", "--to", self.url, "--dry-run").err)
        self.assertEqual([("1", "placed", 1)], self.rows())
        self.assertIn("a [teardown] of its file was not run",
                      self.ok("projection", "rm", "order_totals", "--to", self.url, "--force").err)
        self.assertIsNone(self.rows_or_none("order_id"))
        self.fails(NOT_FOUND, "projection", "rm", "order_totals", "--to", self.url, "--force")
        self.assertEqual([], self.ok("projection", "status", "--to", self.url, "--json").objects())
        self.fails(NOT_FOUND, "projection", "status", self.sql(), "--to", self.url, "--json")
        self.assertEqual(1, self.run_once()["applied"])


@unittest.skipUnless("sqlite" in built_in(), "SQLite is not built in")
class Sqlite(Projections, Case):
    def setUp(self):
        super().setUp()
        self.url = "sqlite:" + self.path("read.db")

    def query(self, sql):
        connection = sqlite3.connect(self.path("read.db"), timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def execute(self, sql):
        connection = sqlite3.connect(self.path("read.db"), timeout=10)
        with connection:
            connection.execute(sql)
        connection.close()

    def drop_the_check(self):
        connection = sqlite3.connect(self.path("read.db"), timeout=10)
        with connection:
            connection.execute("PRAGMA writable_schema = 1")
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'CHECK (total >= 0)', '') WHERE name = 'order_totals'")
        connection.close()

    def test_a_locked_database_is_waited_for(self):
        self.place("1", 1)
        self.run_once()
        self.place("2", 1)
        holder = sqlite3.connect(self.path("read.db"), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        self.fails(UNAVAILABLE, "projection", "run", self.sql(), "--to", self.url, "--once", "--retries", "1", says="locked")
        process = self.start("projection", "run", self.sql(), "--to", self.url, "--once")
        time.sleep(1)
        self.assertIsNone(process.poll())
        holder.execute("ROLLBACK")
        holder.close()
        self.assertEqual(0, process.wait(60))
        self.assertEqual([("1",), ("2",)], self.rows("order_id"))

    def test_a_lock_that_cannot_be_opened_is_said(self):
        self.place("1", 1)
        os.mkdir(self.path("read.db-projection-order_totals"))
        self.fails(ERROR, "projection", "run", self.sql(), "--to", self.url, "--once",
                   says="cannot open " + self.path("read.db-projection-order_totals"))

    def test_what_is_no_database_is_said(self):
        self.place("1", 1)
        self.write("read.db", b"this is no database, but long enough to be taken for one" * 40)
        result = self.run_program("projection", "run", self.sql(), "--to", self.url, "--once")
        self.assertIn(result.status, (ERROR, 5))
        self.assertIn("read.db", result.err)


@unittest.skipUnless("postgresql" in built_in(), "PostgreSQL is not built in")
@unittest.skipIf(postgres_server.not_available(), "no PostgreSQL server")
class Postgres(Projections, Case):
    CAST = ":data.total!::numeric"

    @classmethod
    def setUpClass(cls):
        cls.server = postgres_server.Server()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        super().setUp()
        self.url = self.server.url
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public")

    def query(self, sql):
        done = subprocess.run(["psql", self.url, "-XAtF", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql], capture_output=True, text=True,
                              check=True)
        return [tuple(int(cell) if cell.isdigit() and i > 0 else cell for i, cell in enumerate(line.split("\t")))
                for line in done.stdout.splitlines()]

    def execute(self, sql):
        subprocess.run(["psql", self.url, "-Xq", "-v", "ON_ERROR_STOP=1", "-c", sql], capture_output=True, check=True)

    def test_a_server_that_is_not_there_is_unavailable(self):
        self.place("1", 1)
        self.url = "postgresql://nobody@127.0.0.1:1/x"
        self.fails(UNAVAILABLE, "projection", "status", "--to", self.url, "--json", says="127.0.0.1")
        said = self.run_program("projection", "run", self.sql(), "--to", self.url, "--once", "--retries", "1")
        self.assertEqual(UNAVAILABLE, said.status)
        self.assertIn("trying again", said.err)

    def test_only_what_the_file_made_belongs_to_it(self):
        with postgres_server.Server() as server:  # where no connection has had a temporary table yet
            self.url = server.url
            self.place("1", 1)
            slow = self.sql(text=TOTALS.replace("-- [on type placed]", "SELECT pg_sleep(1);\n-- [on type placed]"))
            process = self.start("projection", "run", slow, "--to", self.url, "--once")
            time.sleep(0.5)
            self.execute("CREATE TABLE of_somebody_else (x int)")
            self.assertEqual(0, process.wait(20))
            self.assertEqual([("table", "public.order_totals")], self.query("SELECT kind, name FROM daybook_projection_object"))
            self.ok("projection", "rebuild", slow, "--to", self.url)
            self.ok("projection", "rm", "order_totals", "--to", self.url, "--force")
            self.assertEqual([], self.query("SELECT x FROM of_somebody_else"))

    def drop_the_check(self):
        self.execute("ALTER TABLE order_totals DROP CONSTRAINT order_totals_total_check")


if __name__ == "__main__":
    main()
