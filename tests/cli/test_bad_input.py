#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile and mistaken input: each has its own message and exit status, and nothing stored is lost."""

import json

from support import ERROR, FINE, NOT_FOUND, USAGE, Case, main


class BadInput(Case):
    def setUp(self):
        super().setUp()
        self.append("a.1.x", "1")
        self.addCleanup(self.nothing_is_lost)

    def nothing_is_lost(self):
        self.assertEqual(1, self.events("--limit", "1")[0]["data"])

    def test_subjects(self):
        for subject in ("", ".", "a.", ".a", "a..b", "a b.c", "a\tb.c", "a.*", "a.>", "*", ">", "a.b*.c*.*", "x" * 1025, "a.\x01", "a.\x7f"):
            self.fails(USAGE, "append", subject)
        self.fails(USAGE, "append", b"a.\xff".decode("utf-8", "surrogateescape"))
        self.ok("append", "a." + "x" * 1022)
        self.ok("append", "ä.é.中")

    def test_texts(self):
        for option in ("--id", "--type", "--schema", "--correlation", "--causation", "--actor", "--tag"):
            self.ok("append", "a.1.y", option, "x" * 255)
            self.fails(USAGE, "append", "a.1.y", option, "x" * 256)
            self.fails(USAGE, "append", "a.1.y", option, "line\nbreak")
            self.fails(USAGE, "append", "a.1.y", option, b"\xff".decode("utf-8", "surrogateescape"))
            self.fails(USAGE, "append", "a.1.y", option, "", says="empty")

    def test_empty_options(self):
        """An empty name asks for nothing; taken as not given it would ask for everything."""
        self.ok("kv", "add", "b")
        for verb in (["read"], ["export"], ["ls"]):
            self.fails(USAGE, *verb, "--stream", "", says="cannot use --stream '': it is empty")
            self.fails(USAGE, *verb, "--stream=", says="cannot use --stream '': it is empty")
        for option in ("--type", "--tag", "--correlation", "--causation", "--actor", "--id"):
            self.fails(USAGE, "read", option, "", says=f"cannot use {option} '': it is empty")
        for option in ("--subject", "--time", "--type", "--id", "--actor", "--tag", "--delimiter"):
            self.fails(USAGE, "import", "csv", "-", option, "", says=f"cannot use {option} '': it is empty")
        self.fails(USAGE, "append", "--batch", "", says="cannot use --batch '': it is empty")
        self.fails(USAGE, "append", "a.1.y", "--header", "", says="cannot use --header '': it is empty")
        self.fails(USAGE, "stream", "add", "S", "--subjects", "", says="cannot use --subjects '': it is empty")
        self.fails(USAGE, "stream", "purge", "A", "--force", "--subject", "", says="cannot use --subject ''")
        self.fails(USAGE, "bench", "--only", "", says="cannot use --only '': it is empty")
        self.fails(USAGE, "bench", "--dir", "", says="cannot use --dir '': it is empty")
        self.fails(USAGE, "-s", "", "read", says="cannot use --store '': it is empty")
        # What an option says may be nothing.
        self.ok("stream", "edit", "A", "--description", "", "--force")

    def test_empty_arguments(self):
        self.ok("kv", "add", "b")
        self.ok("kv", "put", "b", "k", "")
        self.ok("append", "a.1.y", "")
        for words in (["append", ""], ["read", ""], ["read", "a.>", ""], ["ls", ""], ["state", ""], ["diff", "", "1", "2"],
                      ["diff", "a.1", "", "1"], ["why", ""], ["trace", ""], ["snapshot", "take", ""], ["snapshot", "show", ""],
                      ["snapshot", "ls", ""], ["snapshot", "rm", "", "--force"], ["stream", "add", ""],
                      ["stream", "add", "S", ""], ["stream", "info", ""], ["stream", "edit", "", "--force"],
                      ["stream", "rm", "", "--force"], ["stream", "purge", "", "--force"],
                      ["stream", "delete", "", "1", "--force"], ["stream", "delete", "A", "", "--force"], ["kv", "add", ""],
                      ["kv", "put", "", "k", "v"], ["kv", "put", "b", "", "v"], ["kv", "get", "b", ""],
                      ["kv", "create", "b", "", "v"], ["kv", "update", "b", "k", "v", ""], ["kv", "del", "b", ""],
                      ["kv", "purge", "b", "", "--force"], ["kv", "keys", ""], ["kv", "keys", "b", ""], ["kv", "history", "b", ""],
                      ["kv", "watch", "b", ""], ["kv", "rm", "", "--force"], ["import", "csv", ""], ["import", "ndjson", ""],
                      ["import", "xes", ""], ["import", "git", ""], ["export", ""], ["demo", ""], ["backup", ""],
                      ["restore", "", "--force"]):
            self.fails(USAGE, *words, says="is empty")

    def test_empty_members(self):
        """In lines as on the command line: what is given has to say something."""
        members = [(name, '""') for name in ("id", "type", "schema", "correlation", "causation", "actor", "time", "subject")]
        for member, value, column in [(name, value, 0) for name, value in members] + [("tags", '["t",""]', 5), ("headers", '{"":"v"}', 1)]:
            head = '{"data":1,' if member == "subject" else '{"subject":"a.1.y",'
            column += len(head) + len(member) + 4
            lines = '{"subject":"a.1.y","id":null}\n' + head + f'"{member}":{value}}}\n'
            for words in (["append", "--batch", "-"], ["append", "--batch", "-", "--each"], ["import", "ndjson", "-"]):
                result = self.fails(ERROR, *words, stdin=lines)
                self.assertIn(f"line 2, column {column}", result.err)
                self.assertIn("empty", result.err)
        self.ok("append", "--batch", "-", stdin='{"subject":"a.1.y","text":"","tags":[],"headers":{"n":""}}\n')

    def test_dollar_subjects_have_owners(self):
        self.fails(NOT_FOUND, "append", "$KV.later.key", "v", says="begin with $")
        self.ok("kv", "add", "later")
        self.ok("append", "$KV.later.key", "v")

    def test_headers(self):
        for header in ("", "novalue", ":v", "na me:v", "né:v", "n:" + "x" * 65536, "n:a\nb", "x" * 256 + ":v",
                       b"n:\xff".decode("utf-8", "surrogateescape")):
            self.fails(USAGE, "append", "a.1.y", "--header", header)
        self.ok("append", "a.1.y", "--header", "n:", "--header", "m:" + "x" * 65535)

    def test_too_many(self):
        self.assertIn(self.run_program("append", "a.1.y", *[word for n in range(129) for word in ("--tag", f"t{n}")]).status, (ERROR, USAGE))
        self.ok("append", "a.1.y", *[word for n in range(128) for word in ("--tag", f"t{n}")])
        million = '{"subject":"a.1.y","tags":[' + ",".join('"t"' for _ in range(1000000)) + "]}\n"
        self.fails(ERROR, "append", "--batch", "-", stdin=million, says="tags")
        headers = json.dumps({"subject": "a.1.y", "headers": {f"h{n}": "v" for n in range(257)}})
        self.fails(ERROR, "append", "--batch", "-", stdin=headers, says="headers")

    def test_large_data(self):
        self.ok("append", "a.1.y", "-", stdin=b"x" * (8 << 20))
        self.assertEqual(8 << 20, len(self.events("--last", "1")[0]["text"]))
        self.fails(ERROR, "append", "a.1.y", "-", stdin=b"x" * (17 << 20))
        self.fails(ERROR, "append", "--batch", "-", stdin=b'{"subject":"a.1.y","text":"' + b"x" * (17 << 20) + b'"}\n')

    def test_json_lines(self):
        for line in (b"{", b"[]", b"null", b'"x"', b'{"subject"}', b'{"subject":}', b"\xff", b"\x00", b"{" * 100000,
                     b'{"subject":"a.1.y","data":' + b"[" * 100000, b'{"subject":"a.1.y","data":01}', b'{"subject":"a.1.y",}',
                     b'{"subject":"a.1.y","data":1}}', b"{'subject':'a'}", b'\xef\xbb\xbf{"subject":"a.1.y"}'):
            for each in ([], ["--each"]):
                result = self.fails(ERROR, "append", "--batch", "-", *each, stdin=line, says="line 1")
                self.assertIn("column", result.err)

    def test_fields_of_lines(self):
        for member, value in (("id", "x" * 256), ("type", "a\nb"), ("tags", ["x" * 256]), ("tags", [1]), ("headers", {"a b": "v"}),
                              ("headers", {"n": 1}), ("headers", {"n": "x" * 65536}), ("time", 5), ("time", "never"), ("actor", True),
                              ("subject", "a.>"), ("correlation", [])):
            line = json.dumps({"subject": "a.1.y", member: value})
            result = self.fails(ERROR, "append", "--batch", "-", stdin='{"subject":"a.1.y"}\n' + line)
            self.assertIn("line 2", result.err)
        self.assertEqual("1\n", self.ok("read", "--count").out)

    def test_memory_store_leaves_no_files(self):
        import os
        before = sorted(os.listdir(self.directory))
        self.ok("-s", ":memory:", "append", "a.1.x")
        self.assertEqual(before, sorted(os.listdir(self.directory)))


if __name__ == "__main__":
    main()
