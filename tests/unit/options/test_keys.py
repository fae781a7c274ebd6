#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keys of the configuration: what is documented, what the tables read, and what somebody looks at.

A key that is read into a field nobody reads is a promise nobody keeps. So:
- a key that docs/reference/serve.md lists is in its table, as one that is served;
- a key that is served is listed there, by one of its names;
- the field it is read into is read outside src/options.
"""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ["DAYBOOK_SOURCE"])
OPTIONS = ROOT / "src" / "options"
# Table in the sources, block in the documents.
TABLES = {
    "dbk_option_top_keys": ("keys.c", "top"),
    "dbk_option_tls_keys": ("tls.c", "`tls`"),
    "dbk_option_jetstream_keys": ("jetstream.c", "`jetstream`"),
    "dbk_option_jetstream_limit_keys": ("jetstream.c", "`jetstream`"),
}
PASSED_OVER = {"IGNORED", "NOT_SERVED", "REFUSED"}
# Blocks, which have rows of their own in the documents; and fields that src/options itself makes of others.
BLOCKS = {"authorization", "accounts", "jetstream", "tls", "websocket", "cluster", "system_account", "limits", "batch"}
MADE_OF_OTHERS = {"dont_listen", "no_auth_user", "enabled"}
# sync_interval is told to the log: it means nothing here.
UNLISTED = {"dont_listen", "enabled", "sync_interval"} | {f"max_batch_{rest}" for rest in ("inflight_per_stream", "inflight_total", "timeout")}


def rows(table, file):
    text = (OPTIONS / file).read_text(encoding="utf-8")
    start = text.index(f"dbk_option_key {table}[] = {{")
    body = text[start : text.index("\n};", start)]
    for row in re.findall(r"\{\.names =\s*([^{}]*)\}", body):
        if row.startswith("NULL"):
            continue
        names = re.match(r'"([^"]*)"', row).group(1).split()
        kind = re.search(r"DBK_OPTION_(\w+)", row[row.index(".kind") :]).group(1)
        field = re.search(r"(?:FIELD|WEBSOCKET)\(([\w.]+)\)", row)
        yield names, kind, field.group(1) if field else None


def documented():
    blocks = {}
    for line in (ROOT / "docs" / "reference" / "serve.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[0] in {"top", "`tls`", "`jetstream`"}:
            blocks[cells[0]] = set(re.findall(r"[a-z][a-z_]+", " ".join(re.findall(r"`([^`]*)`", cells[1]))))
    return blocks


def is_read(field):
    word = re.compile(rf"(?:\.|->){field.split('.')[-1]}\b")
    folders = ("broker", "jetstream", "monitor", "server", "auth")
    files = [file for folder in folders for file in (ROOT / "src" / folder).glob("*.c")]
    return any(word.search(file.read_text(encoding="utf-8")) for file in files)


def main():
    wrong = []
    listed = documented()
    assert len(listed) == 3, listed
    known = {block: {} for block in listed}
    count = 0
    for table, (file, block) in TABLES.items():
        for names, kind, field in rows(table, file):
            count += 1
            for name in names:
                known[block][name] = kind
            if kind in PASSED_OVER:
                continue
            if not set(names) & (listed[block] | BLOCKS | UNLISTED):
                wrong.append(f"{block}: {names[0]} is served and not listed in serve.md")
            if field is not None and not set(names) & (BLOCKS | MADE_OF_OTHERS) and not is_read(field):
                wrong.append(f"{block}: {names[0]} is read into {field}, which nobody reads")
    assert count > 80, count  # the tables were found
    for block, names in listed.items():
        for name in sorted(names - BLOCKS):
            if known[block].get(name) in PASSED_OVER | {None} and name not in {"true"}:
                wrong.append(f"{block}: {name} is listed in serve.md and {known[block].get(name, 'unknown')}")
    print("\n".join(wrong) if wrong else f"{count} rows of keys")
    return 1 if wrong else 0


sys.exit(main())
