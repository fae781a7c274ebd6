#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The monitor's pages beside nats-server's: both are started, have the same clients, streams and consumers, and are asked
for the same targets. Compared are status, content type, names and order of JSON members, their types, values where they
must agree, and the texts of refusals. What differs on purpose stands in KNOWN, with the reason; nothing else may.

    test_monitor_pages.py [NATS-SERVER…]      else $DAYBOOK_NATS_SERVER, else the one on the PATH

daybook says it is of the version it is compared with.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

SECONDS = 20

# Server's version (beginning), target, place within the answer: why ours is another. Patterns; the first that fits.
KNOWN = [
    # Whole answers.
    ("", r"(POST|PUT|DELETE|OPTIONS) .*", "", "only GET and HEAD are served: the pages change nothing"),
    ("", r"GET /", "body", "an own page"),
    ("", r"GET /(ipqueuesz|raftz|stacksz|debug/vars|expvarz)", "", "about the inside of the other program"),
    ("", r".*callback=1.*", "", "what is no name is not written in front of a page"),
    ("2.9", r"GET /healthz\?.*(stream|account)=.*", "", "since 2.10; here in every version"),
    ("2.9", r"GET /connz\?.*sort=rtt.*", "", "since 2.10; here in every version"),
    # Members.
    ("", r"GET /connz\?.*sort=(pending|rtt).*", r"connections\[\]\..*", "equal ones, and round trips, come as it happens"),
    ("", r"GET /(varz|jsz).*", r".*config\.sync_(interval|always)", "what is acknowledged is on disk"),
    ("", r"GET /(varz|jsz).*", r".*config\.compress_ok", "about traffic between servers"),
    ("", r"GET /connz\?.*state=(closed|any|all|ANY).*", r".*\.subscriptions_list(_detail)?",
     "of ended ones the number is kept; there even who did not ask for the list sees it, once somebody did"),
    ("", r"GET /subsz\?.*(limit|offset)=1.*", r"subscriptions_list\[\]\..*", "which come first is nowhere said"),
    ("2.9", r"GET /(subsz|subscriptionsz).*", r"server_id|now|total|offset|limit", "left out there where no list was asked for"),
    ("", r"GET /jsz.*", r".*\.cluster", "there is no cluster"),
    ("", r"GET /jsz.*", r".*\.config\..*", "as in the answers of the API, which are compared there"),
    ("", r"GET /accountz\?acc.*", r"account_detail\.(imports|exports|mappings).*", "nothing is imported: services are the server's own"),
    ("2.9", r"GET /leafz.*", "leafs", "null there"),
]
# Members whose values are the server's own; their types must agree.
OWN = re.compile(
    r"(.*\.)?(server_id|server_name|now|start|uptime|go|port|http_port|https_port|tls_cipher_suite|mem|cpu|cores|gomaxprocs|config_load_time|max_memory"
    r"|max_storage|store_dir|sync_interval|rtt|last_activity|idle|stop|created|ts|update_time|first_ts|last_ts|last_active"
    r"|num_subscriptions|num_cache|num_inserts|num_removes|num_matches|cache_hit_rate|max_fanout|avg_fanout"
    r"|pending_bytes|config_digest|storage|bytes|out_bytes|in_bytes|reserved_memory|reserved_storage|subscriptions|system_account)")
# Maps there: in any order.
UNORDERED = re.compile(r"(.*\.)?(subscriptions_list|subscriptions_list_detail|accounts|account_statz|stream_detail|consumer_detail)")
# Numbers of connections are given to the server's own things, too.
CID = re.compile(r"(.*\.)?cid")

TARGETS = """
GET /
GET /varz
GET /varz/
GET /nothing
GET /varz?callback=cb
GET /varz?callback=1
GET /connz
GET /connz?subs=1
GET /connz?subs=detail
GET /connz?subs=DETAIL
GET /connz?subs=x
GET /connz?auth=1
GET /connz?auth=x
GET /connz?auth=1&subs=detail
GET /connz?sort=cid
GET /connz?sort=start
GET /connz?sort=subs
GET /connz?sort=pending
GET /connz?sort=msgs_to
GET /connz?sort=msgs_from
GET /connz?sort=bytes_to
GET /connz?sort=bytes_from
GET /connz?sort=last
GET /connz?sort=uptime
GET /connz?sort=nothing
GET /connz?sort=stop
GET /connz?sort=reason
GET /connz?sort=rtt
GET /connz?limit=1
GET /connz?limit=1&offset=1
GET /connz?limit=1&sort=subs
GET /connz?limit=x
GET /connz?limit=-1
GET /connz?limit=0
GET /connz?offset=-1
GET /connz?offset=99
GET /connz?offset=x
GET /connz?cid=CID
GET /connz?cid=CID&subs=1
GET /connz?cid=GONE
GET /connz?cid=GONE&state=closed
GET /connz?cid=GONE&state=any
GET /connz?cid=999999
GET /connz?cid=x
GET /connz?cid=-1
GET /connz?state=open
GET /connz?state=closed
GET /connz?state=closed&subs=1
GET /connz?state=closed&subs=detail
GET /connz?state=closed&sort=stop
GET /connz?state=closed&sort=reason
GET /connz?state=closed&limit=1
GET /connz?state=any
GET /connz?state=all
GET /connz?state=ANY
GET /connz?state=x
GET /connz?state=1
GET /connz?user=x
GET /connz?user=x&auth=1
GET /connz?acc=$G
GET /connz?acc=$G&auth=1
GET /connz?acc=NO
GET /connz?mqtt_client=x
GET /connz?callback=a.b
GET /subsz
GET /subsz?subs=1&acc=$G&test=x.y
GET /subsz?subs=1&test=x.y
GET /subsz?subs=1&test=x.y&limit=1
GET /subsz?subs=1&test=x.y&offset=1
GET /subsz?test=x.y
GET /subsz?subs=1&test=x.*
GET /subsz?subs=x
GET /subsz?limit=x
GET /subsz?offset=x
GET /subsz?subs=detail
GET /subsz?acc=NO&subs=1
GET /subscriptionsz
GET /jsz
GET /jsz?accounts=1
GET /jsz?streams=1
GET /jsz?consumers=1
GET /jsz?config=1
GET /jsz?streams=1&config=1
GET /jsz?consumers=1&config=1
GET /jsz?acc=$G
GET /jsz?acc=$G&streams=1
GET /jsz?acc=NO
GET /jsz?accounts=1&limit=1
GET /jsz?accounts=1&offset=1
GET /jsz?accounts=x
GET /jsz?streams=x
GET /jsz?consumers=x
GET /jsz?config=x
GET /jsz?limit=x
GET /jsz?offset=x
GET /jsz?leader-only=1
GET /jsz?leader-only=x
GET /healthz
GET /healthz?js-enabled=1
GET /healthz?js-enabled=x
GET /healthz?js-enabled-only=1
GET /healthz?js-enabled-only=x
GET /healthz?js-server-only=1
GET /healthz?js-server-only=x
GET /healthz?stream=ORDERS
GET /healthz?stream=NONE
GET /healthz?consumer=mail&account=$G
GET /healthz?stream=ORDERS&account=$G
GET /healthz?stream=NONE&account=$G
GET /healthz?stream=ORDERS&account=NO
GET /healthz?stream=ORDERS&account=$G&consumer=mail
GET /healthz?stream=ORDERS&account=$G&consumer=none
GET /healthz?account=$G
GET /healthz?account=NO
GET /healthz?details=1
GET /healthz?details=1&stream=NONE&account=$G
GET /healthz?details=1&stream=ORDERS
GET /healthz?details=1&account=NO
GET /healthz?details=1&stream=ORDERS&account=$G&consumer=none
GET /healthz?callback=cb
GET /routez
GET /routez?subs=1
GET /routez?subs=x
GET /gatewayz
GET /gatewayz?accs=1
GET /gatewayz?accs=x
GET /leafz
GET /leafz?subs=1
GET /leafz?subs=x
GET /accountz
GET /accountz?acc=$G
GET /accountz?acc=$SYS
GET /accountz?acc=NO
GET /accstatz
GET /accstatz?unused=1
GET /accstatz?acc=$G
GET /accstatz?unused=x
GET /ipqueuesz
GET /raftz
HEAD /varz
POST /varz
PUT /varz
DELETE /connz
OPTIONS /varz
"""
# Asked of servers without JetStream and with users.
TARGETS_SECURED = """
GET /varz
GET /connz?auth=1
GET /connz?user=ann
GET /connz?user=ann&auth=1&subs=detail
GET /connz?user=bob&auth=1
GET /connz?state=closed&auth=1
GET /connz?state=closed&user=bob&auth=1
GET /jsz
GET /jsz?streams=1
GET /jsz?acc=$G
GET /healthz
GET /healthz?js-enabled-only=1
GET /healthz?js-enabled=1
GET /healthz?js-server-only=1
GET /healthz?js-enabled-only=1&details=1
GET /healthz?account=$G&stream=ORDERS
GET /accountz?acc=$G
GET /accstatz
"""


# Asked of servers with TLS, limits, tags and a base path, over HTTPS.
TARGETS_LIMITED = """
GET /nats/varz
GET /nats/connz
GET /nats/connz?subs=detail&auth=1
GET /nats/jsz
GET /nats/jsz?accounts=1
GET /nats/jsz?streams=1&config=1
GET /nats/healthz
GET /nats/accountz?acc=$G
GET /varz
GET /natsvarz
"""
LIMITED = """
server_name: me, server_tags: ["a:b", "c"], http_base_path: "/nats/", max_payload: 4096, max_subscriptions: 100
max_connections: 50, max_pending: 1MB, max_control_line: 2048, ping_interval: "30s", ping_max: 3, write_deadline: "3s"
tls { cert_file: "DIR/cert.pem", key_file: "DIR/key.pem", timeout: 5 }
jetstream { max_mem: 64MB, max_file: 1GB, domain: "here", store_dir: "STORE"
    limits { max_request_batch: 10, max_ack_pending: 100, duplicate_window: "1m" } }
"""


def unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """A NATS client that waits for each answer."""

    def __init__(self, port, **options):
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        info = b""
        while not info.endswith(b"\r\n"):  # nothing behind it may be read before TLS
            info += self.socket.recv(1)
        self.info = json.loads(info[5:])
        if self.info.get("tls_required"):
            self.socket = unverified().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        self.count = 0
        self.say("CONNECT " + json.dumps({"verbose": False, "headers": True, "no_responders": True, **options}) + "\r\n")
        self.sync()

    def say(self, text):
        self.socket.sendall(text.encode())

    def line(self):
        line = self.file.readline()
        if not line:
            raise EOFError
        if line.startswith(b"PING"):
            self.say("PONG\r\n")
            return self.line()
        return line

    def sync(self):
        self.say("PING\r\n")
        while (line := self.line()) != b"PONG\r\n":
            if line.startswith((b"MSG", b"HMSG")):
                self.file.read(int(line.split()[-1]) + 2)

    def ask(self, subject, body=""):
        self.count += 1
        text = json.dumps(body) if body != "" else ""
        sid = f"r{self.count}"
        self.say(f"SUB in.{sid} {sid}\r\nUNSUB {sid} 1\r\nPUB {subject} in.{sid} {len(text)}\r\n{text}\r\n")
        while True:
            line = self.line()
            if line.startswith((b"MSG", b"HMSG")):
                data = self.file.read(int(line.split()[-1]) + 2)
                if line.split()[2] == sid.encode():
                    return data.decode()

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    def __init__(self, command, work, name, monitor="-m"):
        self.is_secure = monitor == "-ms"
        self.work = pathlib.Path(work) / name
        self.work.mkdir()
        self.process = subprocess.Popen(
            [*command, "-a", "127.0.0.1", "-p", "-1", monitor, "-1", "--ports_file_dir", str(self.work)],
            stdout=subprocess.DEVNULL, stderr=(self.work / "log").open("wb"))
        self.clients = []
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def wait(self):
        due = time.monotonic() + SECONDS
        while time.monotonic() < due and self.process.poll() is None:
            for path in self.work.glob("*.ports"):
                try:
                    ports = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:  # it is being written
                    continue
                self.port = int(ports["nats"][0].rsplit(":", 1)[1])
                self.monitor = int(ports["monitoring"][0].rsplit(":", 1)[1])
                return
            time.sleep(0.02)
        raise AssertionError((self.work / "log").read_text(encoding="utf-8", errors="replace"))

    def client(self, **options):
        client = Client(self.port, **options)
        self.clients.append(client)
        return client

    def fetch(self, target):
        """Status, type, body."""
        method, path = target.split(" ", 1)
        if self.is_secure:
            connection = http.client.HTTPSConnection("127.0.0.1", self.monitor, timeout=SECONDS, context=unverified())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers.get_content_type(), answer.read().decode()
        finally:
            connection.close()

    def stop(self):
        for client in self.clients:
            client.close()
        self.process.terminate()
        self.process.wait(SECONDS)


def version_of(program):
    said = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    return re.search(r"v(\d+\.\d+\.\d+)", said).group(1)


def wait_until(condition):
    due = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < due, "it did not come about"
        time.sleep(0.02)


def closed_count(server):
    return json.loads(server.fetch("GET /connz?state=closed")[2])["total"]


def populate(server):
    """The same clients, streams and consumers on each; numbers to be put for CID and GONE."""
    first = server.client(name='a "name"', lang="py", version="1.2")
    second = server.client(name="b")
    first.say("SUB x.* 1\r\nSUB x.> q 2\r\nSUB pushed 3\r\n")
    first.sync()
    second.say("PUB x.y 5\r\nhello\r\n")
    second.sync()
    first.sync()
    requests = [
        ("$JS.API.STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["orders.>"], "description": "d"}),
        ("$JS.API.STREAM.CREATE.SMALL", {"name": "SMALL", "subjects": ["small.>"], "storage": "memory", "max_bytes": 1000000}),
        ("$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail",
         {"stream_name": "ORDERS", "config": {"durable_name": "mail", "ack_policy": "explicit"}}),
        ("$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.push",
         {"stream_name": "ORDERS", "config": {"durable_name": "push", "ack_policy": "none", "deliver_subject": "pushed"}}),
    ]
    for subject, body in requests:
        answer = first.ask(subject, body)
        assert '"error"' not in answer, answer
    for number in range(3):
        assert '"seq"' in first.ask(f"orders.{number}")
    assert '"error"' in first.ask("$JS.API.STREAM.INFO.NONE")
    first.ask("$JS.API.CONSUMER.MSG.NEXT.ORDERS.mail")
    first.sync()
    gone = server.client(name="gone")
    gone.say("SUB z 1\r\nSUB z.z q 2\r\n")
    gone.sync()
    gone.close()
    wait_until(lambda: closed_count(server) == 1)
    bad = server.client(name="bad")
    bad.say("SUB x\r\n")
    while bad.file.read(4096):
        pass
    wait_until(lambda: closed_count(server) == 2)
    return {"CID": str(first.info["client_id"]), "GONE": str(gone.info["client_id"])}


def populate_secured(server):
    server.client(name="a", user="ann", **{"pass": "secret"}).say("SUB mine 1\r\n")
    server.clients[-1].sync()
    bob = server.client(user="bob", **{"pass": "secret"})
    bob.close()
    wait_until(lambda: closed_count(server) == 1)
    return {}


def populate_limited(server):
    client = server.client(name="a")
    client.say("SUB mine 1\r\n")
    assert '"error"' not in client.ask("$JS.API.STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["orders.>"]})
    return {}


class Comparison:
    def __init__(self, version, replaced):
        self.version = version
        self.replaced = replaced  # of theirs and ours
        self.wrong = 0
        self.used = set()

    def is_known(self, target, place):
        target = target.replace(" /nats/", " /")
        for number, (version, targets, places, _) in enumerate(KNOWN):
            if not self.version.startswith(version) or not re.fullmatch(targets, target):
                continue
            if places == "" or re.fullmatch(places, place):
                self.used.add(number)
                return True
        return False

    def differ(self, target, place, theirs, ours):
        if not self.is_known(target, place):
            self.wrong += 1
            print(f"{self.version}: {target}: {place}\n  theirs {str(theirs)[:300]}\n  ours   {str(ours)[:300]}")

    def values(self, target, place, theirs, ours):
        if isinstance(theirs, dict) and isinstance(ours, dict):
            self.members(target, place, theirs, ours)
        elif isinstance(theirs, list) and isinstance(ours, list):
            if UNORDERED.fullmatch(place):
                theirs, ours = (sorted(values, key=name_of) for values in (theirs, ours))
            if len(theirs) != len(ours):
                self.differ(target, place, f"{len(theirs)} items", f"{len(ours)} items")
            for their, our in zip(theirs, ours):
                self.values(target, place + "[]", their, our)
        elif kind(theirs) != kind(ours):
            self.differ(target, place, theirs, ours)
        elif theirs != ours and not OWN.fullmatch(place) and not CID.fullmatch(place):
            self.differ(target, place, theirs, ours)

    def members(self, target, place, theirs, ours):
        prefix = place + "." if place else ""
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            if name not in theirs or name not in ours:
                self.differ(target, prefix + name, theirs.get(name, "absent"), ours.get(name, "absent"))
        # Counts by path are a map there, and sorted.
        if not place.endswith("http_req_stats"):
            order = [name for name in theirs if name in ours], [name for name in ours if name in theirs]
            if order[0] != order[1]:
                self.differ(target, prefix + "order", *order)
            for name in order[0]:
                self.values(target, prefix + name, theirs[name], ours[name])

    def answers(self, target, theirs, ours):
        for place, their, our in zip(("status", "type"), theirs, ours):
            if their != our:
                self.differ(target, place, f"{their} {theirs[2][:200]}", f"{our} {ours[2][:200]}")
        their, our = (taken_apart(answer) for answer in (theirs, ours))
        if kind(their) == kind(our):
            self.values(target, "" if isinstance(their, (dict, list)) else "body", their, our)
        else:
            self.differ(target, "body", theirs[2], ours[2])

    def fetch(self, target, servers):
        answers = []
        for server, numbers in zip(servers, self.replaced):
            path = target
            for word, number in numbers.items():
                path = path.replace(word, number)
            answers.append(server.fetch(path))
        self.answers(target, *answers)


def name_of(value):
    return str(value) if not isinstance(value, dict) else str(value.get("name") or value.get("subject") or value.get("acc"))


def kind(value):
    """A number is a number: Go writes 1.0 as 1."""
    return float if type(value) is int else type(value)


def taken_apart(answer):
    """JSON, also within a callback; else the text."""
    text = answer[2]
    if answer[1] == "application/javascript":
        name, _, rest = text.partition("(")
        return {"callback": name, "page": json.loads(rest[:-1])}
    return json.loads(text) if answer[1] == "application/json" and text else text


def compare(real, link, work, name, more, populated, targets, monitor="-m"):
    version = version_of(real)
    servers = []
    try:
        for program, who, said in ((real, "theirs", ""), (str(link), "ours", f'announced_version: "{version}"\n')):
            store = f"{work}/{name}-{who}-store"
            configuration = pathlib.Path(work) / f"{name}-{who}.conf"
            configuration.write_text(more.replace("DIR", work).replace("STORE", store) + said, encoding="utf-8")
            jetstream = [] if more else ["-js", "-sd", store]
            servers.append(Server([program, *jetstream, "-c", str(configuration)], work, f"{name}-{who}", monitor))
        comparison = Comparison(version, [populated(server) for server in servers])
        lines = targets.split("\n")[1:-1]
        for target in lines:
            comparison.fetch(target, servers)
        print(f"{version}: {len(lines)} targets {name}, {comparison.wrong} differences that nobody explained")
        return comparison.wrong, comparison.used
    finally:
        for server in servers:
            server.stop()


def make_certificate(work):
    openssl = shutil.which("openssl")
    if openssl is None:
        print("there is no openssl to make a certificate: HTTPS is not compared")
        return False
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                    "-subj", "/CN=localhost", "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem"],
                   check=True, capture_output=True, timeout=60)
    return True


def main():
    program = pathlib.Path(os.environ["DAYBOOK"]).resolve()
    if "serve" not in subprocess.run([program, "help"], capture_output=True, text=True, check=True).stdout:
        print("SKIP: built without the server")
        return 77
    found = sys.argv[1:] or [os.environ.get("DAYBOOK_NATS_SERVER") or shutil.which("nats-server")
                             or shutil.which("nats-server", path="/usr/sbin")]
    if found == [None]:
        print("SKIP: there is no nats-server to compare with")
        return 77
    users = 'authorization { users: [ {user: ann, password: secret}, {user: bob, password: secret} ] }\n'
    wrong = 0
    for number, real in enumerate(found):
        with tempfile.TemporaryDirectory() as work:
            link = pathlib.Path(work) / "nats-server"
            link.symlink_to(program)
            wrong += compare(real, link, work, f"plain{number}", "", populate, TARGETS)[0]
            wrong += compare(real, link, work, f"secured{number}", users, populate_secured, TARGETS_SECURED)[0]
            if make_certificate(work):
                wrong += compare(real, link, work, f"limited{number}", LIMITED, populate_limited, TARGETS_LIMITED, "-ms")[0]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
