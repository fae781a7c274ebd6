#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The option parser, help, manual and completion, and what is not built in."""

import re
import shutil
import subprocess

from support import FINE, NOT_FOUND, UNAVAILABLE, USAGE, Case, main

VERBS = ("append read ls state diff why trace snapshot+take snapshot+show snapshot+ls snapshot+rm snapshot+prune machine+check "
         "machine+draw machine+state machine+history machine+move stream+ls stream+add "
         "stream+info stream+edit stream+rm stream+purge stream+delete kv+add kv+ls kv+put kv+get kv+create kv+update "
         "kv+del kv+purge kv+keys kv+history kv+watch kv+rm import+csv import+ndjson import+xes import+git export demo "
         "info verify repair rebuild backup restore bench serve help").split()


class Options(Case):
    def test_help_of_every_verb(self):
        for verb in VERBS:
            words = verb.split("+")
            result = self.ok(*words, "--help")
            self.assertIn("Usage: daybook [-s STORE] " + " ".join(words), result.out)
            self.assertEqual(result.out, self.ok("help", *words).out)
            self.assertEqual(result.out, self.ok("-h", *words).out)
            for line in result.lines():
                self.assertLessEqual(len(line), 110)
                self.assertEqual(line.rstrip(), line)

    def test_overview_names_every_verb(self):
        overview = self.ok("--help").out
        for verb in VERBS:
            self.assertIn("\n  " + verb.replace("+", " ") + " ", overview)
        self.assertEqual(overview, self.ok("help").out)
        self.assertIn("stream purge", self.ok("stream", "--help").out)
        self.assertRegex(self.ok("--version").out, r"^daybook \d+\.\d+\.\d+\n$")

    def test_manual_names_every_verb_and_option(self):
        manual = self.ok("help", "--man").out
        for verb in VERBS:
            self.assertIn(".SS daybook " + verb.replace("+", " "), manual)
            for option in re.findall(r"--([a-z-]+)", self.ok(*verb.split("+"), "--help").out):
                self.assertIn("\\-\\-" + option.replace("-", "\\-"), manual)
        if shutil.which("mandoc"):
            checked = subprocess.run(["mandoc", "-T", "lint", "-W", "error"], input=manual.encode(), capture_output=True, check=False)
            self.assertEqual(b"", checked.stdout)

    def test_completion_is_bash_and_completes(self):
        script = self.write("completion", self.ok("help", "--bash-completion").out)
        self.assertEqual(0, subprocess.run(["bash", "-n", script], check=False).returncode)

        def complete(*words):
            commands = (f". {script}; COMP_WORDS=(daybook {' '.join(words)}); COMP_CWORD={len(words)}; "
                        "compopt() { :; }; _daybook; printf '%s\\n' \"${COMPREPLY[@]}\"")
            done = subprocess.run(["bash", "-c", commands], capture_output=True, check=True)
            return done.stdout.decode().split()
        self.assertEqual(["append"], complete("app"))
        self.assertEqual(["serve", "snapshot", "state", "stream"], sorted(complete("s")))
        self.assertEqual(["info"], complete("stream", "in"))
        self.assertEqual(["--expect-seq", "--expect-subject-seq", "--expect-version"], sorted(complete("append", "--expect")))
        self.assertEqual(["--dry-run"], complete("stream", "rm", "--d"))
        self.assertEqual(["file", "memory"], sorted(complete("stream", "add", "X", "--storage", "''")))
        self.assertEqual(["append"], complete("-s", "x", "app"))

    def test_unknown_and_missing(self):
        self.fails(USAGE, says="missing command")
        self.fails(USAGE, "nonsense", says="nonsense")
        self.fails(USAGE, "stream", says="missing command")
        self.fails(USAGE, "stream", "nonsense", says="stream nonsense")
        self.fails(USAGE, "read", "--nonsense", says="--nonsense")
        self.fails(USAGE, "--type", "x", "read")
        self.fails(USAGE, "read", "--limit", says="--limit")
        self.fails(USAGE, "read", "-s", says="-s")
        self.fails(USAGE, "read", "--count=3", says="--count")
        self.fails(USAGE, "state", says="AGGREGATE")
        self.fails(USAGE, "diff", "a.1", "1", says="V2")
        self.fails(USAGE, "info", "extra", says="extra")
        self.fails(USAGE, "append", "a.1.x", "1", "2", says="2")
        self.fails(USAGE, "read", "--limit", "1", "--limit", "2", says="twice")
        self.fails(USAGE, "append", "a.1.x", "--csv", says="--csv")
        self.fails(USAGE, "help", "nonsense")
        self.fails(USAGE, "-s", "", "read")

    def test_errors_in_arguments_are_objects_too(self):
        for arguments in (["nonsense", "--json"], ["--json", "read", "--limit", "x"], ["read", "--limit", "-3", "--json"]):
            error = self.fails(USAGE, *arguments).error()
            self.assertEqual(("EINVALID", None, None, []),
                             (error["error"], error["expected"], error["actual"], error["missed"]))

    def test_numbers(self):
        self.ok("append", "a.1.x")
        self.assertEqual(1, len(self.events("--to", 2**64 - 1)))
        for number in ("-1", "18446744073709551616", "99999999999999999999999", "1x", "", " 1", "+1", "0x10", "1e3"):
            self.fails(USAGE, "read", "--to", number)
            self.fails(USAGE, "read", f"--limit={number}")

    def test_times_and_durations(self):
        self.ok("append", "a.1.x", "--time", "2026-01-01T00:00:00.123456789+02:00")
        self.assertEqual("2025-12-31T22:00:00.123456789Z", self.events()[0]["time"])
        for time in ("2026-01-01", "2026-01-01 10:00", "2026-01-01T10:00:00", "now", "-90m", "-2d", "+1h"):
            if time == "2026-01-01 10:00":
                continue
            self.ok("read", "--since", time)
        for time in ("", "tomorrow", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "-90", "-90x", "2026-01-01T10:00:00+99:00",
                     "99999-01-01", "1500-01-01", "-99999999999999999999d"):
            self.fails(USAGE, "read", "--since", time)
            self.fails(USAGE, "append", "a.1.x", "--time", time)
        for wait in ("5", "-5s", "x", ""):
            self.fails(USAGE, "read", "--wait", wait)

    def test_not_built_in(self):
        self.fails(UNAVAILABLE, "schema", says="not built in")
        self.fails(UNAVAILABLE, "schema", "ls", "--port", "7", says="not built in")
        for url in ("nats://localhost:4222", "tls://x"):
            self.assertEqual("EUNSUPPORTED", self.fails(UNAVAILABLE, "-s", url, "read", "--json", says="not built in").error()["error"])
            self.fails(UNAVAILABLE, "-s", url, "append", "a.1.x")
        build = self.ok("info", "--build", "--json").object()
        self.assertIn("schema", build["not_built_in"])
        self.assertIn("zstd", build["libraries"])

    def test_quiet_says_nothing_but_what_was_created(self):
        self.assertEqual("", self.ok("stream", "ls", "--quiet", "-s", self.made()).err)

    def made(self):
        self.ok("-s", "store", "append", "a.1.x")
        return "store"


class Asking(Case):
    def test_destructive_verbs_need_force_where_nobody_can_be_asked(self):
        self.ok("append", "a.1.x", "{}")
        self.ok("kv", "add", "b")
        self.ok("kv", "put", "b", "k", "v")
        self.ok("snapshot", "take", "a.1")
        for words in (["stream", "rm", "A"], ["stream", "purge", "A"], ["stream", "delete", "A", "1"],
                      ["stream", "edit", "A", "--max-msgs", "1"], ["kv", "rm", "b"], ["kv", "purge", "b", "k"],
                      ["snapshot", "rm", "a.1"], ["repair"], ["restore", "copy"]):
            self.fails(USAGE, *words, says="--force")
            if words[0] != "restore":
                self.ok(*words, "--dry-run")
        self.assertEqual("1\n", self.ok("read", "--count").out)
        self.assertEqual("v\n", self.ok("kv", "get", "b", "k").out)
        self.ok("snapshot", "show", "a.1")

    def test_asks_on_a_terminal(self):
        import os
        import pty
        self.ok("append", "a.1.x", "{}")
        for answer, status, left in ((b"n\n", 1, 1), (b"\n", 1, 1), (b"y\n", 0, 0)):
            child, terminal = pty.fork()
            if child == 0:
                os.chdir(self.directory)
                from support import PROGRAM
                os.execv(PROGRAM, [PROGRAM, "stream", "rm", "A"])
            os.write(terminal, answer)
            shown = b""
            while True:
                try:
                    chunk = os.read(terminal, 4096)
                except OSError:
                    break
                if not chunk:
                    break
                shown += chunk
            os.close(terminal)
            self.assertEqual(status, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown)
            self.assertIn(b"[y/N]", shown)
            self.assertEqual(left, len(self.ok("stream", "ls", "--json").objects()))


if __name__ == "__main__":
    main()
