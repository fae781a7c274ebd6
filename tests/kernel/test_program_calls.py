#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each system call of the whole program fails, by strace: one verb at a time, each call at each place, with errors a
kernel gives, once or from there on. What must hold is known from outside only, by what the program prints:

  - it ends by itself, with a status of its own and a message
  - status 0: what it did is there and what it printed is what it prints without failure
  - refused: nothing of it is there; or it is there as a whole, and that was said, or cannot be known
  - what was acknowledged on standard output is there, with its seq; of many single events those that are there are
    the first ones
  - what only reads changes nothing, and prints no line it does not print without failure
  - no copy is said to be made that is not whole, no old one is spoilt
  - afterwards the store is sound, and the same command without failure succeeds and leaves what it should

DAYBOOK_CASES (default 1000) bounds the cases, spread over all verbs and places; 0: all of them (some hours on two
cores). DAYBOOK_VERBS bounds the verbs, by how their names begin. DAYBOOK_CASE=append/openat:7+:EIO runs one and prints
what was said. Skipped where strace cannot trace.
"""

import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

PROGRAM = os.environ["DAYBOOK"]
SKIPPED = 77
TIMEOUT = 20
# Thousands of stores: in memory, where there is such a place, since it is the calls that matter here.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TIME = "2026-01-02T03:04:05Z"

# "=0": the call returns 0, as at the end of a file. With + the error stays; these come once only.
ERRORS = {
    "openat": "EIO ENOSPC EMFILE EACCES ENOMEM",
    "newfstatat": "EIO ENOMEM EACCES",
    "getdents64": "EIO ENOMEM",
    "pread64": "EIO EINTR EAGAIN ENOMEM =0",
    "pwrite64": "EIO ENOSPC EINTR EAGAIN =0",
    "fdatasync": "EIO ENOSPC EINTR",
    "fsync": "EIO ENOSPC EINTR",
    "ftruncate": "EIO ENOSPC EINTR",
    "fallocate": "EIO ENOSPC EINTR EOPNOTSUPP",
    "rename": "EIO ENOSPC EACCES",
    "unlink": "EIO EACCES",
    "link": "EIO EXDEV EMLINK",
    "linkat": "EIO EXDEV",
    "mkdir": "EIO ENOSPC EACCES",
    "flock": "EIO EINTR EAGAIN ENOLCK",
    "fcntl": "EIO",
    "statfs": "EIO ENOSYS",
    "mmap": "ENOMEM EMFILE",
    "clone3": "EAGAIN",
    "getrandom": "EIO EINTR",
    "read": "EIO",
    "write": "EIO ENOSPC EAGAIN",
    "close": "EIO",
}
ONCE = ("EINTR", "EAGAIN", "=0")

ONE = ("orders.1.n", '{"z":1}', "--id", "new", "--time", TIME, "--json")

# name: (store it begins with, what must hold, arguments, statuses of a second run after one that succeeded). {scratch}
# is the place of all stores of the case, {import} the file to import, - the lines of that many events.
VERBS = {
    "append": ("used", "whole", ("append", *ONE), (0,)),
    "append-new": ("none", "whole", ("append", *ONE), (0,)),
    "append-killed": ("killed", "whole", ("append", *ONE), (0,)),
    "append-stream": ("used", "whole", ("append", "zoo" + ONE[0], *ONE[1:]), (0,)),
    "batch": ("used", "whole", ("append", "--batch", "-", "--json"), (0,)),
    "each": ("used", "each", ("append", "--batch", "-", "--each", "--json"), (0,)),
    "import": ("used", "import", ("import", "ndjson", "{import}"), (0,)),
    "import-new": ("none", "import", ("import", "ndjson", "{import}"), (0,)),
    "stream-add": ("used", "whole", ("stream", "add", "NEW", "new.>"), (1,)),
    "stream-edit": ("used", "trim", ("stream", "edit", "ORDERS", "--max-msgs", "20", "--force"), (0,)),
    "purge": ("used", "whole", ("stream", "purge", "ORDERS", "--subject", "orders.2.>", "--force"), (0,)),
    "purge-erase": ("used", "erase", ("stream", "purge", "ORDERS", "--keep", "4", "--erase", "--force"), (0,)),
    "delete": ("used", "whole", ("stream", "delete", "ORDERS", "7", "--force"), (0, 4)),
    "delete-erase": ("used", "erase", ("stream", "delete", "ORDERS", "35", "--erase", "--force"), (0, 4)),
    "stream-rm": ("used", "whole", ("stream", "rm", "PAY", "--force"), (4,)),
    "kv-add": ("used", "whole", ("kv", "add", "OTHER"), (1,)),
    "kv-put": ("used", "put", ("kv", "put", "CFG", "k1", "value"), (0,)),
    "kv-create": ("used", "whole", ("kv", "create", "CFG", "ky", "value"), (3,)),
    "kv-purge": ("used", "put", ("kv", "purge", "CFG", "k1", "--force"), (0, 4)),
    "kv-rm": ("used", "whole", ("kv", "rm", "CFG", "--force"), (4,)),
    "snapshot-take": ("used", "put", ("snapshot", "take", "orders.3"), (0,)),
    "snapshot-rm": ("used", "whole", ("snapshot", "rm", "orders.1", "--force"), (4,)),
    "backup": ("used", "backup", ("backup", "{scratch}/copy"), (0,)),
    "backup-again": ("used", "backup", ("backup", "{scratch}/old"), (0,)),
    "restore": ("used", "restore", ("restore", "{scratch}/old", "--force"), (1,)),
    "consumer-add": ("consumed", "whole", ("consumer", "add", "ORDERS", "other"), (0,)),
    "consumer-add-first": ("used", "whole", ("consumer", "add", "ORDERS", "first"), (0,)),
    "consumer-edit": ("consumed", "whole", ("consumer", "edit", "ORDERS", "mailer", "--ack-wait", "5s"), (0,)),
    "consumer-pause": ("consumed", "whole", ("consumer", "pause", "ORDERS", "mailer", "2099-01-01T00:00:00Z"), (0,)),
    "consumer-rm": ("consumed", "whole", ("consumer", "rm", "ORDERS", "mailer", "--force"), (4,)),
    "consumer-next": ("consumed", "answers", ("consumer", "next", "ORDERS", "mailer", "--batch", "4", "--json"), (0,)),
    "consumer-ack": ("consumed", "answers", ("consumer", "ack", "ORDERS", "mailer", "4", "6"), (0, 4)),
    "consumer-ls": ("consumed", "value", ("consumer", "ls"), None),
    "consumer-info": ("consumed", "value", ("consumer", "info", "ORDERS", "mailer", "--json"), None),
    "machine-move": ("consumed", "whole", ("machine", "move", "{machine}", "7", "closed", "--from", "begun"), (3,)),
    "machine-state": ("consumed", "value", ("machine", "state", "{machine}", "7"), None),
    "machine-history": ("consumed", "read", ("machine", "history", "{machine}", "7"), None),
    "append-consumed": ("consumed", "whole", ("append", *ONE), (0,)),
    "stream-rm-consumed": ("consumed", "whole", ("stream", "rm", "PAY", "--force"), (4,)),
    "backup-consumed": ("consumed", "backup", ("backup", "{scratch}/copy"), (0,)),
    "verify-consumed": ("consumed", "check", ("verify",), None),
    "repair-consumed": ("consumed", "repair", ("repair", "--force"), (0,)),
    "rebuild-consumed": ("consumed", "repair", ("rebuild", "--force"), (0,)),
    "rebuild": ("used", "repair", ("rebuild", "--force"), (0,)),
    "export": ("used", "read", ("export",), None),
    "read": ("used", "read", ("read", "--json", "--all"), None),
    "read-killed": ("killed", "read", ("read", "--json", "--all"), None),
    "read-reverse": ("used", "read", ("read", "--json", "--reverse", "--tag", "t:1"), None),
    "count": ("used", "value", ("read", "--count"), None),
    "kv-get": ("used", "value", ("kv", "get", "CFG", "k1"), None),
    "state": ("used", "value", ("state", "orders.1", "--json"), None),
    "diff": ("used", "value", ("diff", "orders.2", "2", "4"), None),
    "ls": ("used", "read", ("ls", "--json"), None),
    "stream-ls": ("used", "read", ("stream", "ls", "--json"), None),
    "verify": ("used", "check", ("verify",), None),
    "verify-killed": ("killed", "check", ("verify",), None),
    "repair": ("used", "repair", ("repair", "--force"), (0,)),
    "repair-killed": ("killed", "repair", ("repair", "--force"), (0,)),
}


class Wrong(Exception):
    pass


def run(*words, stdin=b""):
    return subprocess.run([PROGRAM, *words], input=stdin, capture_output=True, timeout=60, check=False)


def must(*words, stdin=b""):
    done = run(*words, stdin=stdin)
    if done.returncode != 0:
        raise Wrong(f"without failure {words} ends with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def event_lines(count, first, subject="orders.%d.x"):
    """NDJSON of events o<first>..., on seven aggregates."""
    return "".join(json.dumps({"subject": subject % (number % 7), "id": f"{subject[0]}{number}", "time": TIME,
                               "tags": [f"t:{number % 3}"], "data": {"n": number, f"k{number % 4}": number}}) + "\n"
                   for number in range(first, first + count)).encode()


def make_stores(directory):
    """`used`: a segment and a journal behind it, streams, a bucket, snapshots, removed events; `old` beside it is a
    backup of its beginning. `killed`: the same, its writer killed. `consumed`: with a consumer that has messages in
    flight and a machine that has moved. `none`: nothing."""
    used = os.path.join(directory, "used")
    first, old, store = (os.path.join(used, name) for name in ("first", "old", "store"))
    os.makedirs(used)
    os.makedirs(os.path.join(directory, "none"))
    must("-s", first, "append", "--batch", "-", stdin=event_lines(30, 0) + event_lines(8, 0, "pay.%d.y"))
    must("-s", first, "kv", "add", "CFG", "--history", "3")
    for number in range(5):
        must("-s", first, "kv", "put", "CFG", f"k{number % 3}", f"v{number}")
    must("-s", first, "snapshot", "take", "orders.1")
    must("-s", first, "stream", "delete", "ORDERS", "3", "--force")
    must("-s", first, "backup", old)
    must("-s", store, "restore", old, "--force")
    shutil.rmtree(first)
    must("-s", store, "append", "--batch", "-", stdin=event_lines(10, 30))
    must("-s", store, "kv", "put", "CFG", "k1", "v9")
    must("-s", store, "stream", "delete", "ORDERS", "5", "--force")
    must("-s", store, "snapshot", "take", "orders.2")

    shutil.copytree(used, os.path.join(directory, "killed"))
    with subprocess.Popen([PROGRAM, "-s", os.path.join(directory, "killed", "store"), "append", "--batch", "-", "--each"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdin.write(event_lines(10, 40))
        writer.stdin.flush()
        for _ in range(10):
            writer.stdout.readline()
        writer.kill()
    shutil.copytree(used, os.path.join(directory, "consumed"))
    consumed = os.path.join(directory, "consumed", "store")
    machine = os.path.join(directory, "machine.json")
    with open(machine, "w", encoding="utf-8") as file:
        json.dump({"machine": "ticket", "category": "tickets", "initial": "open",
                   "transitions": [{"from": "open", "to": "begun"}, {"from": "begun", "to": "closed"}]}, file)
    must("-s", consumed, "machine", "move", machine, "7", "begun")
    must("-s", consumed, "consumer", "add", "ORDERS", "mailer")
    must("-s", consumed, "consumer", "add", "PAY", "teller")
    must("-s", consumed, "consumer", "next", "ORDERS", "mailer", "--batch", "2")
    must("-s", consumed, "consumer", "next", "ORDERS", "mailer", "--batch", "3", "--no-ack")
    with open(os.path.join(directory, "import.ndjson"), "wb") as file:
        file.write(event_lines(1500, 1000))


State = collections.namedtuple("State", "status events streams consumers")


def look(store):
    """What is in a store, without what differs from run to run. Wrong where it contradicts itself."""
    done = run("-s", store, "read", "--all", "--json")
    events, position = [], 0
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event["position"] <= position:
            raise Wrong(f"position {event['position']} comes behind {position}")
        position = event["position"]
        data = event.get("data", event.get("text"))
        if event["stream"] == "KV_SNAPSHOTS" and isinstance(data, dict):
            data = {name: data[name] for name in ("aggregate", "version", "state")}
        made_by_store = event["stream"].startswith("KV_") or event["stream"] == "TICKETS"
        events.append((event["stream"], event["seq"], event["subject"], None if made_by_store else event["id"],
                       event.get("version"), json.dumps(data, sort_keys=True)))
    streams = []
    for line in run("-s", store, "stream", "ls", "--json").stdout.splitlines():
        stream = json.loads(line)
        count = sum(event[0] == stream["stream"] for event in events)
        if done.returncode == 0 and stream["messages"] != count:
            raise Wrong(f"{stream['stream']} counts {stream['messages']} events, {count} can be read")
        streams.append((stream["stream"], tuple(stream["subjects"]), stream["last_seq"], stream["max_msgs"]))
    consumers = []
    for line in run("-s", store, "consumer", "ls", "--json").stdout.splitlines():
        consumer = json.loads(line)
        unsettled = consumer["pending"] + consumer["ack_pending"]
        consumers.append((consumer["stream"], consumer["consumer"], unsettled, consumer["paused"], consumer["ack_wait"]))
    # How consumers are saved is their business.
    return State(done.returncode, tuple(event for event in events if event[0][0] != "$"),
                 tuple(stream for stream in streams if stream[0][0] != "$"), tuple(consumers))


def plain(output):
    """Output without times, paths and ids made by the store."""
    return re.sub(rb"\d+\.\d+ s|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|/\S*/case-\w+", b"#", output)


class Place:
    """A fresh copy of the stores that a verb begins with."""

    def __init__(self, root, verb):
        self.origin, self.rule, words, self.again = VERBS[verb]
        self.scratch = tempfile.mkdtemp(dir=root, prefix="case-")
        shutil.copytree(os.path.join(root, self.origin), self.scratch, dirs_exist_ok=True)
        self.store = os.path.join(self.scratch, "restored" if self.rule == "restore" else "store")
        self.words = ["-s", self.store] + [word.replace("{scratch}", self.scratch).replace(
            "{import}", os.path.join(root, "import.ndjson")).replace(
            "{machine}", os.path.join(root, "machine.json")) for word in words]
        self.stdin = event_lines(60 if self.rule == "each" else 12, 60) if "-" in words else b""

    def remove(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


Expected = collections.namedtuple("Expected", "before after output calls skipped")


def measure(root, verb):
    """What the verb does without failure, and which calls it makes; those before it touches a store are left out."""
    place = Place(root, verb)
    try:
        before = look(place.store)
        output = must(*place.words, stdin=place.stdin)
        after = look(place.store)
    finally:
        place.remove()
    place = Place(root, verb)
    try:
        trace = os.path.join(root, f"trace-{verb}")
        subprocess.run(["strace", "-f", "-o", trace, PROGRAM, *place.words], input=place.stdin, capture_output=True,
                       timeout=60, check=True)
        calls = collections.defaultdict(collections.Counter)
        skipped = None
        with open(trace, encoding="utf-8", errors="replace") as file:
            for line in file:
                match = re.match(r"(\d+) +(\w+)\(", line)
                if match is None:
                    continue
                thread, call = match.groups()
                if skipped is None and root in line and call != "execve":
                    skipped = dict(calls[thread])
                calls[thread][call] += 1
    finally:
        place.remove()
    most = collections.Counter()
    for counts in calls.values():
        for call, count in counts.items():
            most[call] = max(most[call], count)
    return Expected(before, after, output, most, skipped or {})


def cases_of(verb, expected):
    for call, errors in ERRORS.items():
        for number in range(expected.skipped.get(call, 0) + 1, expected.calls[call] + 1):
            for error in errors.split():
                yield f"{verb}/{call}:{number}:{error}"
                if error not in ONCE:
                    yield f"{verb}/{call}:{number}+:{error}"


def inject(place, call, number, error):
    how = f"retval={error[1:]}" if error[0] == "=" else f"error={error}"
    tracer = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "signal=none", "-e", f"trace={call}",
              "-e", f"inject={call}:{how}:when={number}"]
    with subprocess.Popen([*tracer, PROGRAM, *place.words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            out, err = process.communicate(place.stdin, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise Wrong(f"still runs after {TIMEOUT} s") from None
    return process.returncode, out, err.decode("utf-8", "replace").strip()


def judge_end(status, err, call, error):
    if status not in (0, 1, 3, 4, 5, 6):
        raise Wrong(f"ends with {status}")
    if status != 0 and "daybook: " not in err and '{"error"' not in err and call != "write":
        raise Wrong(f"ends with {status} and no message")
    if error == "EINTR" and status != 0:
        raise Wrong("an interrupted call is noticed")
    if status == 5 and error not in ("EIO", "EAGAIN", "=0"):
        raise Wrong("calls that damage")


def judge_reading(rule, expected, status, out, now):
    if now != expected.before:
        raise Wrong("reading changed the store")
    if rule == "check":
        if status == 0 and b"sound" not in out:
            raise Wrong("neither sound nor a failure")
    elif status == 0:
        if plain(out) != plain(expected.output):
            raise Wrong(f"status 0, but prints {len(out)} bytes, not {len(expected.output)}, or others")
    elif rule == "read":
        # The last line may be cut where the output failed.
        lines = set(expected.output.splitlines())
        if any(line not in lines for line in out[:out.rfind(b"\n") + 1].splitlines()):
            raise Wrong("prints a line that is not so")


def judge_change(rule, expected, status, out, err, call, now):
    """Of one change, all or nothing."""
    done = now == expected.after
    if rule in ("trim", "put") and not done:
        # What a limit takes away may follow with the next append.
        done = now.streams == expected.after.streams and set(expected.after.events) <= set(now.events)
    acknowledged = out != b"" and plain(out) == plain(expected.output)
    if (status == 0 or acknowledged) and not done:
        raise Wrong("acknowledged, but not there")
    if status == 0 or now == expected.before:
        return
    if not done:
        # A new store or stream may stay behind, empty.
        if now.events != expected.before.events or len(now.streams) < len(expected.before.streams):
            raise Wrong("refused, and half there")
    elif not acknowledged and rule != "erase" and call != "write" and \
            not re.search("unknown|closing the store", err):
        raise Wrong("refused, and there")


def judge_answers(expected, status, now):
    """What was printed or named is settled, or comes again; nothing else changes."""
    if now._replace(consumers=()) != expected.before._replace(consumers=()):
        raise Wrong("answering changed what is stored")
    before, after, here = (state.consumers[0][2] if state.consumers else -1
                           for state in (expected.before, expected.after, now))
    if status == 0 and here != after:
        raise Wrong(f"answered, but {here} messages are not settled, expected {after}")
    if not after <= here <= before:
        raise Wrong(f"{here} messages are not settled, of {before} before and {after} behind")


def judge_prefix(expected, first, now):
    """Of many single events those that are there are the first ones, in their order."""
    ids = [event[3] for event in now.events if event not in expected.before.events]
    if ids != [f"o{first + number}" for number in range(len(ids))]:
        raise Wrong(f"of the events {len(ids)} are there, not the first ones, or not in order")
    return len(ids)


def judge_each(expected, status, out, now):
    first = 60
    have = {event[1]: event[3] for event in now.events if event[0] == "ORDERS"}
    receipts = [json.loads(line) for line in out[:out.rfind(b"\n") + 1].splitlines()]
    for number, receipt in enumerate(receipts):
        if receipt["id"] != f"o{first + number}" or have.get(receipt["seq"]) != receipt["id"]:
            raise Wrong(f"the acknowledged {receipt['id']} is not there")
    if status == 0 and now != expected.after:
        raise Wrong("acknowledged, but not there")
    judge_prefix(expected, first, now)


def judge_import(expected, status, err, now):
    if status == 0 and now != expected.after:
        raise Wrong("imported, but not there")
    count = judge_prefix(expected, 1000, now)
    said = re.search(r"([\d,]+) events? (?:was|were) imported", err)
    if status != 0 and said is not None and int(said.group(1).replace(",", "")) > count:
        raise Wrong(f"{said.group(0)}, {count} are there")


def judge_backup(place, expected, status, now, root):
    if now != expected.before:
        raise Wrong("a backup changed the store")
    copy = look(place.words[-1])
    if status == 0 and copy != expected.before:
        raise Wrong("a backup is not whole")
    before = look(os.path.join(root, place.origin, os.path.basename(place.words[-1])))
    nothing = before.status != 0 and copy.status != 0 and not copy.events
    if copy not in (expected.before, before) and not nothing:
        raise Wrong("a refused backup leaves something else than the old one")


def judge_again(place, expected, status, now):
    """The same command without failure, and whether all is well then."""
    if place.rule == "restore" and now.status == 5 and not now.events:
        return  # what was brought could not be taken away again either; nobody takes it for a store
    if place.again is not None:
        done = run(*place.words, stdin=place.stdin)
        allowed = place.again if status == 0 or now == expected.after else (0,)
        if done.returncode not in (*allowed, 0):
            raise Wrong(f"again without failure: ends with {done.returncode}: {done.stderr.decode()}")
        if done.returncode == 0 and place.rule in ("whole", "each", "restore") and status != 0:
            if look(place.store) != expected.after:
                raise Wrong("again without failure: something else is there")
    done = run("-s", place.store, "verify")
    if done.returncode != 0:
        raise Wrong(f"the store is not sound: {(done.stdout + done.stderr).decode()}")


def attempt(root, case, expected):
    verb, injected = case.split("/")
    call, number, error = injected.split(":")
    place = Place(root, verb)
    said = ""
    try:
        status, out, err = inject(place, call, number, error)
        said = f"status {status}\n{out.decode('utf-8', 'replace')}{err}"
        judge_end(status, err, call, error)
        if place.rule == "repair" and error in ("EIO", "EAGAIN", "=0"):
            return None, said  # it leaves out what the disk does not give
        now = look(place.store)
        if place.again is None:
            judge_reading(place.rule, expected, status, out, now)
        elif place.rule in ("whole", "trim", "put", "erase"):
            judge_change(place.rule, expected, status, out, err, call, now)
        elif place.rule == "answers":
            judge_answers(expected, status, now)
        elif place.rule == "each":
            judge_each(expected, status, out, now)
        elif place.rule == "import":
            judge_import(expected, status, err, now)
        elif place.rule == "backup":
            judge_backup(place, expected, status, now, root)
        elif place.rule == "restore":
            if now.status == 0 and now != expected.after or status == 0 and now.status != 0:
                raise Wrong("what was restored is not whole")
        elif now != expected.before:
            raise Wrong("a repair changed a sound store")
        judge_again(place, expected, status, now)
        return None, said
    except Wrong as wrong:
        return str(wrong), said
    finally:
        place.remove()


def why_not():
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() or "strace cannot trace" if done.returncode != 0 else None


def choose(cases):
    bound = int(os.environ.get("DAYBOOK_CASES", "1000"))
    if "DAYBOOK_CASE" in os.environ:
        return [os.environ["DAYBOOK_CASE"]]
    if 0 < bound < len(cases):
        return [cases[index * len(cases) // bound] for index in range(bound)]
    return cases


def main():
    reason = why_not()
    if reason is not None:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    root = tempfile.mkdtemp(prefix="daybook-calls-", dir=SCRATCH)
    try:
        make_stores(root)
        with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 2)) as pool:
            only = os.environ.get("DAYBOOK_CASE", "").split("/")[0]
            named = tuple(os.environ.get("DAYBOOK_VERBS", "").split())
            verbs = [only] if only else [verb for verb in VERBS if not named or verb.startswith(named)]
            expected = dict(zip(verbs, pool.map(lambda verb: measure(root, verb), verbs)))
            cases = [case for verb in verbs for case in cases_of(verb, expected[verb])]
            total = len(cases)
            chosen = choose(cases)
            results = list(pool.map(lambda case: attempt(root, case, expected[case.split("/")[0]]), chosen))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    wrong = 0
    for case, (problem, said) in zip(chosen, results):
        if problem is not None:
            wrong += 1
            print(f"DAYBOOK_CASE={case}: {problem}\n  {said[-600:]}")
        elif only:
            print(said)
    print(f"{len(chosen)} of {total} cases, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
