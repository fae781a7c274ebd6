#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""import, export, demo, bench: against counts and events worked out here, without the program."""

import ast
import csv
import datetime
import glob
import gzip
import io
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
import unittest
from xml.sax.saxutils import quoteattr

from support import CONFLICT, ERROR, FINE, SERVED, USAGE, Case, main

SHARED_DATA = pathlib.Path(os.environ.get("DAYBOOK_TEST_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"))


def encoded(value):
    """A value as one token of a subject."""
    out = bytearray()
    for byte in value.encode():
        if byte <= 0x20 or byte == 0x7F or byte in b".*>%":
            out += b"%%%02X" % byte
        else:
            out.append(byte)
    return out.decode()


def slug(value):
    return re.sub(r"[\x00-\x2f\x3a-\x60\x7b-\x7f]+", "_", "".join(c.lower() if c < "\x80" else c for c in value)).strip("_")


def utc(text):
    """RFC 3339 as daybook prints it."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?", text)
    day, clock, fraction, zone = match.groups()
    moment = datetime.datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in (None, 'Z') else zone}")
    moment = moment.astimezone(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + "." + (fraction or "").ljust(9, "0") + "Z"


def elements(cell):
    if not cell.strip():
        return []
    return [str(e) for e in ast.literal_eval(cell)] if cell.lstrip().startswith("[") else [cell]


class Import(Case):
    def assert_events(self, expected, *filters):
        """Compare those members of the stored events that the expected ones name."""
        stored = self.events(*filters)
        self.assertEqual(len(expected), len(stored))
        for want, have in zip(expected, stored):
            if want.get("tags"):  # the store keeps them in order of bytes
                want = dict(want, tags=sorted(want["tags"], key=str.encode))
            self.assertEqual(want, {key: have.get(key) for key in want})

    def import_fails(self, says, *arguments, imported=0, **options):
        result = self.fails(ERROR, "import", *arguments, says=says, **options)
        counted = self.run_program("read", "--count")
        self.assertEqual(str(imported), counted.out.strip() or "0")
        return result


class Csv(Import):
    SUBJECT = ("--subject", "p.{case}.{act|slug}", "--time", "at")

    def test_rows_become_events_in_order_of_time(self):
        path = self.write("log.csv", "case,act,at,who,note\r\n"
                                     "c.1,Do It!,2020-01-02 10:00:00+02:00,ann,\"a \"\"quoted\"\"\r\nnote, long\"\r\n"
                                     "c 2,Größe,2020-01-01T00:00:00.5Z,,\r\n"
                                     "c.1,Done,2020-01-02,bob,x\r\n")
        out = self.ok("import", "csv", path, *self.SUBJECT, "--actor", "who").out
        self.assertTrue(out.startswith("3 events imported"), out)
        self.assert_events([
            {"subject": "p.c%202.größe", "actor": None, "time": "2020-01-01T00:00:00.500000000Z", "type": "größe",
             "data": {"case": "c 2", "act": "Größe", "at": "2020-01-01T00:00:00.5Z"}},
            {"subject": "p.c%2E1.done", "actor": "bob", "time": "2020-01-02T00:00:00.000000000Z",
             "data": {"case": "c.1", "act": "Done", "at": "2020-01-02", "who": "bob", "note": "x"}},
            {"subject": "p.c%2E1.do_it", "actor": "ann", "time": "2020-01-02T08:00:00.000000000Z",
             "data": {"case": "c.1", "act": "Do It!", "at": "2020-01-02 10:00:00+02:00", "who": "ann",
                      "note": "a \"quoted\"\r\nnote, long"}},
        ])

    def test_equal_times_keep_the_order_of_the_file(self):
        rows = "".join(f"c,{n},2020-01-01\n" for n in range(500))
        self.ok("import", "csv", "-", *self.SUBJECT, stdin="case,act,at\n" + rows)
        self.assert_events([{"type": str(n)} for n in range(500)])

    def test_order_file(self):
        self.ok("import", "csv", "-", *self.SUBJECT, "--order", "file", stdin="case,act,at\nc,a,2020-01-02\nc,b,2020-01-01\n")
        self.assert_events([{"type": "a"}, {"type": "b"}])

    def test_importing_again_adds_nothing_and_equal_rows_are_two_events(self):
        rows = "case,act,at\nc,a,2020-01-01\nc,a,2020-01-01\nc,b,2020-01-01\n"
        self.ok("import", "csv", "-", *self.SUBJECT, stdin=rows)
        again = self.ok("import", "csv", "-", *self.SUBJECT, stdin=rows)
        self.assertIn("nothing new", again.out)
        counts = self.ok("import", "csv", "-", *self.SUBJECT, "--json", stdin=rows + "c,a,2020-01-01\nc,c,2019-01-01\n").object()
        self.assertEqual((2, 3, 0), (counts["imported"], counts["duplicates"], counts["differs"]))
        self.assertEqual(5, len(self.events()))

    def test_given_ids(self):
        rows = "case,act,at,n\nc,a,2020-01-01,1\nc,b,2020-01-02,1\nc,c,2020-01-03,\n"
        counts = self.ok("import", "csv", "-", *self.SUBJECT, "--id", "n", "--json", stdin=rows).object()
        self.assertEqual((2, 1, 1), (counts["imported"], counts["duplicates"], counts["differs"]))
        events = self.events()
        self.assertEqual(["a", "c"], [event["type"] for event in events])
        self.assertEqual("1", events[0]["id"])
        self.assertRegex(events[1]["id"], r"^[0-9a-f]{8}-")

    def test_line_breaks_in_names(self):
        """One activity with a line break does not keep a log out; the data keeps it."""
        rows = 'case,act,at,who\nc,"Check\r\n it",2020-01-01,"ann\n"\nc,b,2020-01-02,"\t"\nc,c,2020-01-03,bob\n'
        options = (*self.SUBJECT, "--type", "act", "--actor", "who", "--tag", "by:{who}")
        out = self.ok("import", "csv", "-", *options, stdin=rows)
        self.assertTrue(out.out.startswith("3 events imported"), out.out)
        self.assertIn("3 values of type, actor or tag had line breaks or control characters: replaced by a space; the data "
                      "keeps them", out.err)
        self.assert_events([
            {"subject": "p.c.check_it", "type": "Check it", "actor": "ann", "tags": ["by:ann"],
             "data": {"case": "c", "act": "Check\r\n it", "at": "2020-01-01", "who": "ann\n"}},
            {"type": "b", "actor": None, "tags": None},
            {"type": "c", "actor": "bob", "tags": ["by:bob"]}])
        again = self.ok("import", "csv", "-", *options, "--json", stdin=rows)
        self.assertEqual((0, 3, 3), tuple(again.object()[name] for name in ("imported", "duplicates", "replaced")))
        quiet = self.ok("import", "csv", "-", *options, "-q", stdin=rows)
        self.assertEqual("", quiet.err)
        plain = self.ok("import", "csv", "-", *self.SUBJECT, stdin="case,act,at\nc,a,2020-01-01\n")
        self.assertNotIn("replaced", plain.err)
        self.import_fails("line 2, column 14: the id has a control character", "csv", "-", *self.SUBJECT, "--id", "id",
                          stdin='case,at,id,act\nc,2020-01-01,"a\nb",x\n', imported=4)

    def test_types_tags_and_delimiter(self):
        rows = "case;act;at;kind;items\nc;a;2020-01-01;K;['x','y']\nc;b;2020-01-02;;\n"
        self.ok("import", "csv", "-", *self.SUBJECT, "--type", "kind", "--tag", "item:{items|each}", "--tag", "case:{case}",
                "--delimiter", ";", stdin=rows)
        self.assert_events([{"type": "K", "tags": ["item:x", "item:y", "case:c"]}, {"type": "b", "tags": ["case:c"]}])

    def test_malformed_rows_say_where_and_what_was_imported(self):
        head, good = "case,act,at\n", "c,a,2020-01-01\n"
        self.import_fails("line 3, column 1: the row ends", "csv", "-", *self.SUBJECT, stdin=head + good + "c\n")
        self.import_fails("nothing was imported", "csv", "-", *self.SUBJECT, stdin=head + good + 'c,"a,2020-01-01\n')
        self.import_fails("line 3, column 6: there is text behind", "csv", "-", *self.SUBJECT,
                          stdin=head + good + 'c,"a"x,2020-01-01\n')
        self.import_fails("line 3, column 4: a quote inside", "csv", "-", *self.SUBJECT,
                          stdin=head + good + 'c,a"x,2020-01-01\n')

    def test_malformed_values_say_where(self):
        head, good = "case,act,at\n", "c,a,2020-01-01\n"
        self.import_fails("line 3, column 5: \"2020-99-01\" is no time", "csv", "-", *self.SUBJECT,
                          stdin=head + good + "c,a,2020-99-01\n")
        self.import_fails("line 3, column 1: \"case\" is empty", "csv", "-", *self.SUBJECT,
                          stdin=head + good + ",a,2020-01-01\n")
        self.import_fails("line 2, column 5: \"at\" is empty", "csv", "-", *self.SUBJECT, stdin=head + "c,a,\n" + good)
        self.import_fails("line 2, column 4: the byte 0xff", "csv", "-", *self.SUBJECT, stdin=b"case,act,at\nc,a\xff,2020-01-01\n")
        self.import_fails("the file is empty", "csv", "-", *self.SUBJECT, stdin="")
        for option in ("--type", "--actor", "--id"):
            self.import_fails(f"line 2, column 3: the {option[2:]} has 256 bytes", "csv", "-", "--subject", "a.{case}.x",
                              "--time", "at", option, "act", stdin=head + 'c,"' + 256 * "x" + '",2020-01-01\n')
        self.import_fails("line 2, column 3: the tag has 257 bytes", "csv", "-", "--subject", "a.{case}.x",
                          "--time", "at", "--tag", "act:{act}", stdin=head + 'c,"' + 253 * "x" + '",2020-01-01\n')

    def test_in_order_of_the_file_what_stands_before_is_imported(self):
        rows = "case,act,at\n" + "".join(f"c,a{n},2020-01-01\n" for n in range(1000)) + "c,b,never\n"
        result = self.import_fails("line 1002, column 5", "csv", "-", *self.SUBJECT, "--order", "file", stdin=rows, imported=1000)
        self.assertIn("1,000 events were imported before it", result.err)
        error = self.fails(ERROR, "import", "csv", "-", *self.SUBJECT, "--order", "file", "--json", stdin=rows).error()
        self.assertEqual((1002, 5), (error["line"], error["column"]))

    def test_malformed_arguments(self):
        path = self.write("log.csv", "case,act,at\nc,a,2020-01-01\n")
        self.fails(USAGE, "import", "csv", path, says="--subject is missing")
        self.fails(USAGE, "import", "csv", path, "--subject", "p.{case}", says="--time is missing")
        self.fails(USAGE, "import", "csv", path, "--subject", "p.{nope}", "--time", "at", says="case, act, at")
        self.fails(USAGE, "import", "csv", path, "--subject", "p.{case", "--time", "at", says="has no }")
        self.fails(USAGE, "import", "csv", path, "--subject", "p..{case}", "--time", "at", says="it gives no subject")
        self.fails(USAGE, "import", "csv", path, *self.SUBJECT, "--delimiter", ";;", says="--delimiter")
        self.fails(USAGE, "import", "csv", path, *self.SUBJECT, "--order", "random")
        self.fails(USAGE, "import", "csv", path, *self.SUBJECT, "--tag", "{a|each}{b|each}", says="second")
        self.fails(ERROR, "import", "csv", self.path("nothing.csv"), *self.SUBJECT, says="No such file")
        self.fails(ERROR, "import", "csv", self.directory, *self.SUBJECT, says="directory")
        self.assertFalse(os.path.exists(self.path("daybook-store")))

    def test_a_cut_gzip_file_is_refused(self):
        packed = gzip.compress(b"case,act,at\n" + b"".join(b"c%d,a,2020-01-01\n" % n for n in range(5000)))
        self.ok("import", "csv", self.write("log.csv.gz", packed), *self.SUBJECT)
        self.assertEqual(5000, len(self.events()))
        self.fails(ERROR, "import", "csv", self.write("cut.gz", packed[:-100]), *self.SUBJECT, says="ends too early")

    def test_no_create(self):
        path = self.write("log.csv", "case,act,at\nc,a,2020-01-01\n")
        self.assertNotEqual(FINE, self.run_program("import", "csv", path, *self.SUBJECT, "--no-create").status)
        self.assertFalse(os.path.exists(self.path("daybook-store")))
        self.assertNotEqual(FINE, self.run_program("import", "csv", path, *self.SUBJECT, "--read-only").status)
        created = self.ok("import", "csv", path, *self.SUBJECT).err
        self.assertIn("created store ./daybook-store", created)
        self.assertIn("created stream P", created)
        other = self.write("other.csv", "case,act,at\nc,a,2020-01-01\n")
        self.assertNotEqual(FINE, self.run_program("import", "csv", other, "--subject", "q.{case}.{act}", "--time", "at",
                                                   "--no-create").status)

    def test_a_hundred_thousand_rows(self):
        """Larger than what is sorted in memory in one piece, out of order, against a count of its own."""
        draw = random.Random(5)
        text, expected = io.StringIO(), []
        writer = csv.writer(text)
        writer.writerow(["case", "act", "at", "pad"])
        for n in range(120000):
            moment = 1600000000 + draw.randrange(10_000_000)
            at = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
            case, act = f"k{draw.randrange(30000)}", draw.choice(["Open it", "Close, it", 'Say "it"', "Line\nbreak"])
            pad = "x" * draw.randrange(900)
            writer.writerow([case, act, at, pad])
            expected.append((moment, n, f"p.{case}.{slug(act)}"))
        path = self.write("log.csv", text.getvalue())
        counts = self.ok("import", "csv", path, *self.SUBJECT, "--json", timeout=200).object()
        self.assertEqual(120000, counts["imported"])
        subjects = [json.loads(line)["subject"] for line in self.ok("read", "--json", timeout=200).lines()]
        self.assertEqual([subject for _, _, subject in sorted(expected)], subjects)
        self.assertEqual([], glob.glob(self.path("daybook-import-*")))
        again = self.ok("import", "csv", path, *self.SUBJECT, "--json", timeout=200).object()
        self.assertEqual((0, 120000), (again["imported"], again["duplicates"]))


class RealLogs(Import):
    def table(self, name):
        path = SHARED_DATA / name
        if not path.exists():
            print(f"SKIP: {name} is not there: the real logs are no part of this repository", flush=True)
            self.skipTest("no real logs")
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            return path, list(csv.DictReader(file))

    def test_permits(self):
        path, rows = self.table("receipt.csv.gz")
        self.ok("import", "csv", path, "--subject", "permits.{case:concept:name}.{concept:name|slug}", "--time", "time:timestamp",
                "--actor", "org:resource", "--tag", "group:{org:group}")
        rows.sort(key=lambda row: utc(row["time:timestamp"]))
        expected = []
        for row in rows:
            tags = ["group:" + row["org:group"]] if row["org:group"].strip() else None
            expected.append({
                "subject": f"permits.{encoded(row['case:concept:name'])}.{slug(row['concept:name'])}",
                "time": utc(row["time:timestamp"]), "actor": row["org:resource"].strip() or None, "tags": tags,
                "data": {key: value for key, value in row.items() if value}})
        self.assertEqual(8577, len(expected))
        self.assert_events(expected)
        versions = {}
        for event in self.events():
            versions[event["aggregate"]] = versions.get(event["aggregate"], 0) + 1
            self.assertEqual(versions[event["aggregate"]], event["version"])
        self.assertEqual(1434, len(versions))
        self.assertEqual(27, len(self.ok("ls", "--types", "--json").objects()))

    def test_orders_that_name_many_objects(self):
        path, rows = self.table("order-process.ocel.csv.gz")
        kinds = ["customers", "items", "orders", "packages", "products"]
        tags = [part for kind in kinds for part in ("--tag", f"{kind}:{{ocel:type:{kind}|each}}")]
        self.ok("import", "csv", path, "--subject", "process.{ocel:eid}.{ocel:activity|slug}", "--time", "ocel:timestamp",
                "--id", "ocel:eid", *tags)
        rows.sort(key=lambda row: utc(row["ocel:timestamp"]))
        expected = []
        for row in rows:
            made = [f"{kind}:{e}" for kind in kinds for e in elements(row[f"ocel:type:{kind}"])]
            expected.append({"subject": f"process.{encoded(row['ocel:eid'])}.{slug(row['ocel:activity'])}", "id": row["ocel:eid"],
                             "tags": made or None, "data": {key: value for key, value in row.items() if value}})
        self.assert_events(expected)
        item = next(e for row in rows for e in elements(row["ocel:type:items"]))
        count = sum(item in elements(row["ocel:type:items"]) for row in rows)
        self.assertEqual(f"{count}\n", self.ok("read", "--tag", f"items:{item}", "--count").out)


class Xes(Import):
    SUBJECT = ("--subject", "cases.{case:concept:name}.{concept:name|slug}")

    def test_events_and_traces(self):
        log = ('<?xml version="1.0"?><log><trace><string key="concept:name" value="c.1"/><int key="amount" value="7"/>'
               '<event><string key="concept:name" value="Do &quot;it&quot;"/><date key="time:timestamp" '
               'value="2020-01-02T10:00:00.000+02:00"/><string key="org:resource" value="ann"/><boolean key="ok" value="true"/>'
               '<float key="cost" value="1.50"/><list key="parts"><string key="p" value="a"/><string key="p" value="b"/></list>'
               '</event><event><string key="concept:name" value="First"/><date key="time:timestamp" '
               'value="2020-01-01T00:00:00Z"/></event></trace></log>')
        for name, content in (("log.xes", log.encode()), ("log.xes.gz", gzip.compress(log.encode()))):
            self.ok("import", "xes", self.write(name, content), *self.SUBJECT, "--actor", "org:resource", "--tag", "part:{parts|each}")
        self.assert_events([
            {"subject": "cases.c%2E1.first", "actor": None, "tags": None},
            {"subject": "cases.c%2E1.do_it", "actor": "ann", "tags": ["part:a", "part:b"],
             "time": "2020-01-02T08:00:00.000000000Z",
             "data": {"concept:name": 'Do "it"', "time:timestamp": "2020-01-02T10:00:00.000+02:00", "org:resource": "ann",
                      "ok": True, "cost": 1.5, "parts": ["a", "b"], "case:concept:name": "c.1", "case:amount": 7}},
        ])

    def test_malformed(self):
        event = '<event><string key="concept:name" value="a"/><date key="time:timestamp" value="2020-01-01T00:00:00Z"/></event>'
        log = f'<log>\n<trace><string key="concept:name" value="c"/>\n{event}\n'
        self.import_fails("line 4, column 3: malformed XML", "xes", self.write("a", log + "</log>"), *self.SUBJECT)
        self.import_fails("line 4, column 1", "xes", self.write("b", log), *self.SUBJECT)
        self.import_fails("line 4, column 1: \"time:timestamp\" is missing", "xes",
                          self.write("c", log + '<event><string key="concept:name" value="a"/></event></trace></log>'), *self.SUBJECT)
        self.import_fails("line 5, column 3: the id has a control character", "xes",
                          self.write("t", log + '<event>\n  <string key="concept:name" value="a&#9;b"/>'
                                     '<date key="time:timestamp" value="2020-01-01"/></event></trace></log>'),
                          *self.SUBJECT, "--id", "concept:name")
        bomb = '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>' + log
        self.import_fails("declares the entity", "xes", self.write("d", bomb + "</trace></log>"), *self.SUBJECT)
        self.fails(USAGE, "import", "xes", self.write("e", log), says="--subject is missing")

    def test_line_breaks_in_names(self):
        log = ('<log><trace><string key="concept:name" value="c"/><event><string key="concept:name" value="a&#10;&#9;b"/>'
               '<string key="org:resource" value="ann&#13;"/><date key="time:timestamp" value="2020-01-01"/></event></trace></log>')
        counts = self.ok("import", "xes", self.write("t", log), *self.SUBJECT, "--type", "concept:name", "--actor", "org:resource",
                         "--tag", "by:{org:resource}", "--json").object()
        self.assertEqual((1, 3), (counts["imported"], counts["replaced"]))
        self.assert_events([{"type": "a b", "actor": "ann", "tags": ["by:ann"],
                             "data": {"concept:name": "a\n\tb", "org:resource": "ann\r", "time:timestamp": "2020-01-01",
                                      "case:concept:name": "c"}}])

    def test_a_hundred_thousand_events(self):
        draw = random.Random(6)
        lines, expected = ['<log xes.version="1849.2016">'], []
        count = 0
        while count < 100000:
            case = f"case {draw.randrange(10**9)}"
            lines.append(f'<trace><string key="concept:name" value={quoteattr(case)}/>')
            for _ in range(draw.randrange(1, 40)):
                moment = 1500000000 + draw.randrange(10_000_000)
                at = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000+00:00")
                act = draw.choice(["A & B", "<C>", 'D "d"', "É"])
                lines.append(f'<event><string key="concept:name" value={quoteattr(act)}/><date key="time:timestamp" value="{at}"/>'
                             f'<int key="n" value="{count}"/></event>')
                expected.append((moment, count, f"cases.{encoded(case)}.{slug(act)}"))
                count += 1
            lines.append("</trace>")
        lines.append("</log>")
        path = self.write("log.xes.gz", gzip.compress("\n".join(lines).encode(), 1))
        self.assertEqual(count, self.ok("import", "xes", path, *self.SUBJECT, "--json", timeout=200).object()["imported"])
        stored = [(event["subject"], event["data"]["n"]) for event in self.events()]
        self.assertEqual([(subject, n) for _, n, subject in sorted(expected)], stored)


@unittest.skipUnless(shutil.which("git"), "git is not installed")
class Git(Import):
    def git(self, *arguments, when="2020-01-01T00:00:00Z"):
        environment = dict(os.environ, GIT_AUTHOR_NAME="Ann Author", GIT_AUTHOR_EMAIL="ann@example.org", GIT_COMMITTER_NAME="c",
                           GIT_COMMITTER_EMAIL="c@example.org", GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when,
                           GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
        done = subprocess.run(["git", "-C", self.path("repository"), *arguments], env=environment, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, message, when, **files):
        for name, content in files.items():
            path = pathlib.Path(self.path("repository"), name.replace("__", "."))
            if content is None:
                path.unlink()
            else:
                path.write_text(content, encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message, when=when)
        return self.git("rev-parse", "HEAD")

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("repository"))
        self.git("init", "-q", "-b", "main")

    def test_history(self):
        first = self.commit("Begin", "2020-01-01T10:00:00Z", a__txt="1", b="1")
        second = self.commit("Go \"on\"", "2020-01-02T10:00:00+02:00", a__txt="2", b=None)
        path = pathlib.Path(self.path("repository"), "a b*>%ü\n")
        path.write_text("x", encoding="utf-8")
        third = self.commit("Odd", "2020-01-03T10:00:00Z")
        self.ok("import", "git", self.path("repository"))
        blob = self.git("rev-parse", f"{second}:a.txt")
        self.assert_events([
            {"subject": "git.a%2Etxt.added", "type": "added", "actor": "Ann Author", "correlation": first,
             "time": "2020-01-01T10:00:00.000000000Z"},
            {"subject": "git.b.added", "correlation": first},
            {"subject": "git.a%2Etxt.modified", "correlation": second, "time": "2020-01-02T08:00:00.000000000Z",
             "data": {"commit": second, "blob": blob, "mode": "100644", "summary": "Go \"on\""}},
            {"subject": "git.b.deleted", "data": {"commit": second, "blob": None, "mode": None, "summary": "Go \"on\""}},
            {"subject": f"git.{encoded(path.name)}.added", "correlation": third},
        ])
        self.commit("More", "2020-01-04T10:00:00Z", a__txt="3")
        counts = self.ok("import", "git", self.path("repository"), "--json").object()
        self.assertEqual((1, 5), (counts["imported"], counts["duplicates"]))
        self.assertIn("nothing new", self.ok("import", "git", self.path("repository")).out)

    def test_merges_show_what_they_brought(self):
        self.commit("Begin", "2020-01-01T10:00:00Z", a="1")
        self.git("checkout", "-q", "-b", "side")
        self.commit("Aside", "2020-01-02T10:00:00Z", side="1")
        self.commit("Aside again", "2020-01-02T11:00:00Z", side="2")
        self.git("checkout", "-q", "main")
        self.commit("Ahead", "2020-01-03T10:00:00Z", a="2")
        self.git("merge", "-q", "--no-ff", "-m", "Merge side", "side", when="2020-01-04T10:00:00Z")
        self.ok("import", "git", self.path("repository"))
        self.assert_events([{"subject": "git.a.added"}, {"subject": "git.a.modified"}, {"subject": "git.side.added"}])
        self.assertEqual("Merge side", self.events()[-1]["data"]["summary"])

    def test_what_is_no_repository(self):
        self.fails(ERROR, "import", "git", self.directory + "/nowhere", says="git says")
        self.fails(ERROR, "import", "git", self.path("repository"), says="git says")  # no commit yet


class NdjsonAndExport(Import):
    def test_round_trip_keeps_every_byte(self):
        odd = [{"subject": "a.1.x", "text": '{ "spaced" :\n 1 }'}, {"subject": "a.1.y", "data_base64": "/wA="},
               {"subject": "a.2.x", "data": {"n": 12345678901234567890.5}, "tags": ["t:1", "ü"], "headers": {"H": ["1", "2"]},
                "id": "mine", "schema": "1.0.0", "correlation": "c", "causation": "d", "actor": "e", "type": "own",
                "time": "2020-01-01T00:00:00.123456789Z"}, {"subject": "a.3.x"}, {"subject": "b.1.x", "text": "plain"}]
        self.ok("append", "--batch", "-", stdin="".join(json.dumps(event) + "\n" for event in odd))
        exported = self.ok("export")
        self.assertEqual(5, len(exported.lines()))
        self.assertIn("5 events exported", exported.err)
        self.ok("-s", "other", "import", "ndjson", "-", stdin=exported.out_bytes)
        strip = lambda lines: [{key: value for key, value in json.loads(line).items() if key != "recorded"} for line in lines]
        self.assertEqual(strip(exported.lines()), strip(self.ok("-s", "other", "export", "--quiet").lines()))
        self.assertEqual(self.ok("read", "a.1.x", "--data").out_bytes, self.ok("-s", "other", "read", "a.1.x", "--data").out_bytes)
        self.assertIn("nothing new", self.ok("-s", "other", "import", "ndjson", "-", stdin=exported.out_bytes).out)
        self.assertEqual(4, len(self.ok("export", "a.>").lines()))
        self.assertEqual(1, len(self.ok("export", "--stream", "B").lines()))

    def test_times_to_live_are_kept(self):
        lines = ['{"subject":"t.1","ttl":3600,"time":"2020-01-02T00:00:00Z"}', '{"subject":"t.2","ttl":"never"}', '{"subject":"t.3"}',
                 '{"subject":"t.4","ttl":null}', '{"subject":"t.5","ttl":2147483647,"time":"2020-01-01T00:00:00Z"}']
        lives = {"t.1": 3600, "t.2": "never", "t.3": None, "t.4": None, "t.5": 2147483647}
        read = lambda *words: {event["subject"]: event.get("ttl")
                               for event in map(json.loads, self.ok(*words, "--stream", "T").lines())}
        for store in ("one", "two", "three"):
            self.ok("-s", store, "append", "other.x", "x")
            self.ok("-s", store, "stream", "add", "T", "t.>", "--allow-ttl")
        self.ok("-s", "one", "append", "--batch", "-", stdin="\n".join(lines))
        self.assertEqual(lives, read("-s", "one", "export"))
        self.assertEqual(lives, read("-s", "one", "read", "--json"))
        exported = self.ok("-s", "one", "export", "t.>").out_bytes
        self.ok("-s", "two", "import", "ndjson", "-", stdin=exported)  # sorted by time
        self.assertEqual(lives, read("-s", "two", "export"))
        self.ok("-s", "three", "import", "ndjson", "-", "--order", "file", stdin=exported)
        self.assertEqual(lives, read("-s", "three", "export"))
        for ttl in ("0", "-1", "1.5", '"1h"', "2147483648", "99999999999999999999", "true", "[]", '""'):
            self.fails(ERROR, "-s", "one", "append", "--batch", "-", stdin='{"subject":"t.6","ttl":%s}' % ttl, says="time to live")
        self.fails(USAGE, "-s", "none", "import", "ndjson", "-", stdin=exported, says="time to live")

    def test_malformed_lines_stop_it_and_what_stands_before_is_imported(self):
        lines = '{"subject":"a.1.x"}\n{"subject":"a.2.x"}\n{"subject":"a.*.x"}\n{"subject":"a.4.x"}\n'
        result = self.import_fails("line 3", "ndjson", "-", stdin=lines, imported=2)
        self.assertIn("2 events were imported before it", result.err)
        self.import_fails("line 1", "ndjson", "-", stdin='{"subject":\n', imported=2)

    def test_any_objects_with_a_mapping(self):
        lines = '{"k":"a.b", "n": 1, "tags":["x","y"],"at":"2020-01-02"}\n\n{"k":"c","n":2.50,"at":"2020-01-01","tags":null}\n'
        self.ok("import", "ndjson", "-", "--subject", "s.{k}.n{n}", "--time", "at", "--tag", "t:{tags|each}", stdin=lines)
        self.assert_events([{"subject": "s.a%2Eb.n1", "tags": ["t:x", "t:y"], "data": {"k": "a.b", "n": 1, "tags": ["x", "y"],
                                                                                     "at": "2020-01-02"}},
                            {"subject": "s.c.n2%2E50", "tags": None}])
        self.fails(USAGE, "import", "ndjson", "-", "--time", "at", stdin=lines, says="--subject is missing")
        self.ok("-s", "other", "import", "ndjson", "-", "--subject", "s.{k}.n", "--time", "at", "--order", "time", stdin=lines)
        self.assertEqual("s.c.n", self.ok("-s", "other", "read", "--json").objects()[0]["subject"])


class Demo(Case):
    def test_the_same_seed_gives_the_same_shop(self):
        first = self.ok("demo", "one", "--orders", 300, "--seed", 7)
        self.ok("demo", "two", "--orders", 300, "--seed", 7, "--quiet")
        self.ok("demo", "three", "--orders", 300, "--seed", 8, "--quiet")
        shops = []
        for name in ("one", "two", "three"):
            events = self.ok("-s", name, "read", "--json").objects()
            shops.append([{key: value for key, value in event.items() if key != "recorded"} for event in events])
        self.assertEqual(shops[0], shops[1])
        self.assertNotEqual(shops[0], shops[2])
        self.assertTrue(4 <= len(shops[0]) / 300 <= 7)
        ids = {event["id"] for event in shops[0]}
        self.assertEqual(len(ids), len(shops[0]))
        self.assertTrue(all(event["causation"] in ids for event in shops[0] if "causation" in event))
        self.assertIn("created stream ORDERS", first.err)

    def test_what_it_says_to_try_works(self):
        out = self.ok("demo", "shop").out
        commands = re.findall(r"^  daybook (.*?)\s+# ", out, re.M)
        self.assertGreaterEqual(len(commands), 7)
        for command in commands:
            status = self.run_program(*shlex.split(command)).status
            self.assertEqual(CONFLICT if "--fail-if" in command else FINE, status, command)

    def test_it_wants_a_store_of_its_own(self):
        self.ok("append", "a.1.x")
        self.fails(ERROR, "demo", "daybook-store", says="name another folder")
        self.fails(USAGE, "demo", "shop", "--orders", 0)


@unittest.skipIf(SERVED, "a measurement makes stores of its own")
class Bench(Case):
    MEMBERS = {"row", "value", "unit", "p50", "p99", "p999", "floor", "ratio", "target", "met"}

    def test_one_row(self):
        before = set(os.listdir(self.directory))
        row = self.ok("bench", "--events", 1000, "--only", "append_1", "--json").object()
        self.assertEqual(self.MEMBERS, set(row))
        self.assertEqual(("append_1", "commits/s"), (row["row"], row["unit"]))
        self.assertAlmostEqual(row["ratio"], row["value"] / row["floor"], delta=0.01)
        self.assertEqual(before, set(os.listdir(self.directory)))

    def test_every_row(self):
        rows = self.ok("bench", "--dir", self.directory, "--events", 20000, "--json", timeout=200).objects()
        self.assertEqual({"append_1", "append_64", "append_batch", "append_sustained", "condition", "load", "load_spread", "replay",
                          "open_clean", "open_killed", "memory", "disk"}, {row["row"] for row in rows})
        for row in rows:
            self.assertEqual(self.MEMBERS, set(row))
            self.assertGreater(row["value"], 0, row)
            self.assertTrue(row["met"] is None or row["row"] == "append_1", row)
        self.assertEqual([], os.listdir(self.directory))

    def test_kept_stores_are_used_again(self):
        kept = os.path.join(self.directory, "kept")
        rows = ("bench", "--dir", self.directory, "--keep", kept, "--events", 20000, "--only", "load", "--only", "load_spread")
        self.ok(*rows, "--json")
        self.assertEqual(["kept"], os.listdir(self.directory))
        self.assertEqual(["orders-apart-20000", "orders-together-20000"], sorted(os.listdir(kept)))
        manifests = {name: os.stat(os.path.join(kept, name)).st_ino for name in os.listdir(kept)}
        os.mkdir(os.path.join(kept, "orders-unfinished"))
        self.assertEqual(2, len(self.ok(*rows, "--json").objects()))
        self.assertEqual(manifests, {name: os.stat(os.path.join(kept, name)).st_ino for name in manifests})
        self.fails(ERROR, "bench", "--keep", "/nonexistent/kept", says="--keep")

    def test_a_signal_removes_the_folder(self):
        process = self.start("bench", "--events", 3000000, "--only", "append_64")
        deadline = time.monotonic() + 10
        while not os.listdir(self.directory) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertNotEqual([], os.listdir(self.directory))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        self.assertNotEqual(0, process.returncode)
        self.assertEqual([], os.listdir(self.directory))

    def test_malformed_arguments(self):
        self.fails(USAGE, "bench", "--only", "nothing", says="append_1")
        self.fails(USAGE, "bench", "--events", 1)
        self.fails(ERROR, "bench", "--dir", "/nonexistent", says="--dir")


if __name__ == "__main__":
    main()
