#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server from the command line: options, configuration, signals, and the flags under the name nats-server."""

import glob
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import time

from support import ERROR, FINE, PROGRAM, UNAVAILABLE, USAGE, Case, main

DEADLINE = 30


class Server:
    """A running server: its log goes to a file, so that nobody has to drain a pipe."""

    def __init__(self, case, arguments, program=None):
        self.log_path = case.path(f"server-{len(case.processes)}.log")
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen([program or PROGRAM, *arguments], cwd=case.directory, env=case.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        case.processes.append(self.process)
        case.addCleanup(self.log.close)
        case.addCleanup(self.process.stdout.close)

    def text(self, path=None):
        with open(path or self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for(self, pattern, path=None):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if path is None or os.path.exists(path):
                found = re.search(pattern, self.text(path))
                if found:
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no '{pattern}' in the log: {self.text()}")

    def port(self, path=None):
        return int(self.wait_for(r"Listening for client connections on \S+:(\d+)", path).group(1))

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


class Connection:
    """As much of the protocol as these tests need."""

    def __init__(self, port, host="127.0.0.1", **connect):
        self.socket = socket.create_connection((host, port), DEADLINE)
        self.file = self.socket.makefile("rb")
        self.info = json.loads(self.file.readline()[5:])
        options = {"verbose": False, "pedantic": False, "lang": "test", "version": "0", "protocol": 1, **connect}
        self.send("CONNECT " + json.dumps(options), "PING")

    def send(self, *lines):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def line(self):
        """The next line that is no INFO and no PING of the server's."""
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            if line == "PING":
                self.send("PONG")
            elif not line.startswith("INFO "):
                return line

    def close(self):
        self.file.close()
        self.socket.close()


class Serving(Case):
    def setUp(self):
        super().setUp()
        if self.run_program("serve", "--check").status == UNAVAILABLE:
            self.skipTest("SKIP: this build has no server")

    def serve(self, *arguments):
        return Server(self, ["serve", *arguments])

    def serve_without_store(self, *arguments):
        """A configuration that says nothing of JetStream, and no directory."""
        self.write("plain.conf", "host: 127.0.0.1\n")
        return self.serve("--config", "plain.conf", "--port", "0", *arguments)

    def connect(self, port, **options):
        connection = Connection(port, **options)
        self.addCleanup(connection.close)
        return connection


class Options(Serving):
    def test_a_store_is_served_and_the_port_is_said(self):
        server = Server(self, ["serve", "shop", "--port", "0", "--json"])
        server.port()
        ready, _, _ = select.select([server.process.stdout], [], [], DEADLINE)
        self.assertTrue(ready, server.text())
        said = json.loads(server.process.stdout.readline())
        self.assertEqual(f"nats://127.0.0.1:{said['port']}", said["url"])
        self.assertEqual(0, said["monitor_port"])
        connection = self.connect(said["port"])
        self.assertEqual("PONG", connection.line())
        self.assertTrue(connection.info["jetstream"])
        self.assertTrue(connection.info["headers"])
        self.assertIn("Server is ready", server.text())
        self.assertIn('Store Directory: "shop"', server.text())
        self.assertEqual(FINE, server.end())
        self.ok("-s", "shop", "verify")

    def test_without_a_configuration_it_listens_on_this_machine_only(self):
        server = self.serve("shop", "--port", "0")
        self.assertIn("127.0.0.1:", server.wait_for(r"Listening for client connections on (\S+)").group(1))
        self.assertEqual(FINE, server.end(signal.SIGINT))

    def test_a_store_is_served_once(self):
        server = self.serve("shop", "--port", "0")
        server.port()
        self.fails(UNAVAILABLE, "serve", "shop", "--port", "0", "--wait", "0s", says=str(server.process.pid))
        self.assertEqual(FINE, server.end())

    def test_a_port_in_use_is_an_error(self):
        server = self.serve("shop", "--port", "0")
        port = server.port()
        result = self.fails(ERROR, "serve", "other", "--port", port, says=str(port))
        self.assertNotIn("[FTL]", result.err)
        self.assertEqual(FINE, server.end())

    def test_bad_options(self):
        self.fails(USAGE, "serve", "--port", "x", says="it is not a whole number")
        self.fails(USAGE, "serve", "--port", "70000", "--check", says="command line: port is 70000, not a port")
        self.fails(USAGE, "serve", "--set", "max_payload", "--check", says="give KEY=VALUE")
        self.fails(USAGE, "serve", "--set", "=1", "--check", says="give KEY=VALUE")
        self.fails(USAGE, "serve", "--set", "max_paylod=1", "--check",
                   says="command line: unknown key max_paylod; correct it, or remove the line")
        self.fails(USAGE, "serve", "--set", "max_payload=x", "--check", says="max_payload is a text")
        self.fails(USAGE, "serve", "a", "-s", "b", "--check", says="two stores")
        self.fails(USAGE, "serve", "a", "b", "--check")
        self.ok("serve", "--set", "max_payload=2MB", "--set", "authorization={token: \"a b\"}", "--check")
        for key in ("log_file", "pid_file"):
            self.fails(4, "serve", "--set", key + '="nowhere/x"', "--check", says=f"cannot use the folder of {key} nowhere: No such file")
            self.fails(4, "serve", "--set", key + '="nowhere/x"', says=f"cannot use the folder of {key} nowhere: No such file")
        self.fails(4, "serve", "--set", 'ports_file_dir="nowhere"', "--check", says="cannot use ports_file_dir nowhere: No such file")
        self.ok("serve", "--set", 'pid_file="x.pid"', "--set", 'log_file="/x.log"', "--check")
        self.fails(USAGE, "serve", "--port", "4000", "--http-port", "4000", "--check", says="which is the clients'; give it another")
        self.assertEqual([], glob.glob(self.path("*")), "nothing is made by --check")
        self.fails(USAGE, "serve", "--port", "70000", says="command line: port is 70000, not a port")
        self.fails(4, "serve", "/proc/x/y", "--port", "0", says="cannot create the directory /proc/x/y: No such file")
        self.assertEqual([], glob.glob(self.path("*")), "no store is made for a server that cannot start")

    def memory_of(self, server):
        with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
            return int(re.search(r"VmRSS:\s*(\d+) kB", file.read()).group(1)) / 1024

    def test_memory_is_given_back(self):
        with open(PROGRAM, "rb") as file:
            program = file.read()
        if b"__asan_init" in program or b"__tsan_init" in program:
            self.skipTest("SKIP: a sanitizer keeps what was freed")
        server = Server(self, ["serve", "shop", "--port", "0"])
        port = server.port()
        # So much is begun on connections that end.
        connections = [Connection(port, protocol=0) for _ in range(200)]
        for connection in connections:
            self.assertEqual("PONG", connection.line())
        for connection in connections:
            connection.socket.sendall(b"PUB x 1000000\r\n" + b"x" * 900000)
        end = time.monotonic() + 10
        while self.memory_of(server) < 170 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1.2)  # meanwhile something else is allocated, above all that
        self.assertGreater(self.memory_of(server), 170)
        for connection in connections:
            connection.close()
        end = time.monotonic() + 30
        while self.memory_of(server) > 50 and time.monotonic() < end:
            time.sleep(0.2)
        self.assertLess(self.memory_of(server), 50)
        self.assertEqual(FINE, server.end())

    def test_too_few_open_files_are_an_error(self):
        """With so few the loop's first pipe fails, for which libuv ends the process."""
        self.ok("-s", "shop", "append", "orders.1.placed", "{}")
        said = set()
        for limit in range(6, 20):
            log_path = self.path("few.log")
            with open(log_path, "wb") as log:
                process = subprocess.Popen([PROGRAM, "serve", "shop", "--port", "0"], cwd=self.directory, env=self.environment,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
            self.processes.append(process)
            with open(log_path, encoding="utf-8", errors="replace") as log:
                text = ""
                while process.poll() is None and "Server is ready" not in text:
                    time.sleep(0.02)
                    text += log.read()
                text += log.read()
            if "Server is ready" in text:
                process.terminate()
                self.assertEqual(FINE, process.wait(DEADLINE))
                break
            self.assertEqual(ERROR, process.returncode, f"{limit} files: {text}")
            said.add(text.splitlines()[-1].split(":", 1)[1])
        self.assertIn(" the server's loop cannot be made: too few descriptors or no memory; "
                      "raise the limit of open files (ulimit -n)", said)

    def test_bad_configurations_are_named_with_their_place(self):
        for text, says in [
            ("port: 4222\nprot: 1\n", "server.conf:2:1: unknown key prot; correct it, or remove the line"),
            ("port: 99999\n", "server.conf:1:1: port is 99999, not a port; give 1 to 65535, or -1 for any free one"),
            ("jetstream {\n", "server.conf:1:11: the map that begins here has no end; close it with }"),
            ("ping_interval: 5m\n", "server.conf:1:1: ping_interval is the number 5000000, not a duration"),
            ("authorization { users: [ {user: a, permissions: {publish: \"a..b\"}} ] }\n",
             "server.conf:1:50: publish holds 'a..b', not a subject"),
            ("tls { cert_file: none.pem, key_file: none.pem }\n", "none.pem"),
        ]:
            self.write("server.conf", text)
            result = self.run_program("serve", "--config", "server.conf", "--check")
            self.assertNotEqual(FINE, result.status, text)
            self.assertIn(says, result.err)
            self.assertEqual(1, len(result.err.splitlines()), result.err)
        self.write("server.conf", "max_payload: 2MB\ninclude more.conf\n")
        self.fails(4, "serve", "--config", "server.conf", "--check", says="server.conf:2:1: cannot include it")
        self.fails(4, "serve", "--config", "none.conf", "--check", says="none.conf")
        for text in ["accounts { A { users: [] }, B { users: [] } }", "operator: x", "cluster { routes: [a] }"]:
            self.write("server.conf", text)
            self.fails(UNAVAILABLE, "serve", "--config", "server.conf", "--check")

    def test_a_secret_is_in_no_message(self):
        self.write("server.conf", "authorization { token: s3cr3t, users: [] }")
        self.assertNotIn("s3cr3t", self.run_program("serve", "--config", "server.conf", "--check").err)

    def test_the_configuration_names_store_and_address(self):
        self.write("server.conf", "port: -1\nhost: 127.0.0.1\nserver_name: n1\njetstream { store_dir: data }\nlog_file: x.log\n")
        server = self.serve("--config", "server.conf", "--name", "n2")
        connection = self.connect(server.port(self.path("x.log")))
        self.assertEqual("PONG", connection.line())
        self.assertEqual("n2", connection.info["server_name"])
        self.assertTrue(connection.info["jetstream"])
        self.assertTrue(os.path.isdir(self.path("data")))
        self.assertFalse(os.path.exists(self.path("daybook-store")))
        self.assertEqual(FINE, server.end())


class Signals(Serving):
    def test_reload_changes_users_and_keeps_the_old_on_a_mistake(self):
        self.write("server.conf", "port: -1\nhost: 127.0.0.1\nauthorization { user: a, password: one }\n")
        server = self.serve("--config", "server.conf")
        port = server.port()
        self.assertEqual("PONG", self.connect(port, user="a", **{"pass": "one"}).line())
        self.assertEqual("-ERR 'Authorization Violation'", self.connect(port, user="a", **{"pass": "two"}).line())

        self.write("server.conf", "port: -1\nhost: 127.0.0.1\nauthorization { user: a, password: two }\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("(?i)reloaded")
        self.assertEqual("PONG", self.connect(port, user="a", **{"pass": "two"}).line())

        self.write("server.conf", "port: 1\nhost: 127.0.0.1\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("Failed to reload server configuration: .*port cannot change")
        self.assertEqual("PONG", self.connect(port, user="a", **{"pass": "two"}).line())
        self.assertEqual(FINE, server.end())

    def test_the_log_file_is_opened_again(self):
        server = self.serve_without_store("--log", "server.log")
        server.port(self.path("server.log"))
        os.rename(self.path("server.log"), self.path("old.log"))
        server.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + DEADLINE
        while not os.path.exists(self.path("server.log")) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertTrue(os.path.exists(self.path("server.log")))
        self.assertEqual(FINE, server.end())

    def test_lame_duck_lets_clients_go_and_ends(self):
        server = self.serve_without_store("--set", "lame_duck_duration=30s", "--set", "lame_duck_grace_period=0s")
        connection = self.connect(server.port())
        self.assertEqual("PONG", connection.line())
        server.process.send_signal(signal.SIGUSR2)
        line = connection.file.readline()
        while not (line.startswith(b"INFO ") and json.loads(line[5:]).get("ldm")):
            self.assertNotEqual(b"", line, "an INFO that says so")
            line = connection.file.readline()
        self.assertEqual(FINE, server.end())

    def test_files_that_name_process_and_ports(self):
        server = self.serve_without_store("--pid", "server.pid", "--ports-dir", self.directory)
        port = server.port()
        server.wait_for("Server is ready")
        with open(self.path("server.pid"), encoding="ascii") as file:
            self.assertEqual(server.process.pid, int(file.read()))
        with open(self.path(f"daybook_{server.process.pid}.ports"), encoding="ascii") as file:
            self.assertEqual([f"nats://127.0.0.1:{port}"], json.load(file)["nats"])
        self.assertEqual(FINE, server.end())
        self.assertFalse(os.path.exists(self.path(f"daybook_{server.process.pid}.ports")))


class NatsServer(Serving):
    """The same program under the name nats-server."""

    def setUp(self):
        super().setUp()
        self.program = self.path("nats-server")
        os.symlink(os.path.abspath(shutil.which(PROGRAM) or PROGRAM), self.program)

    def flags(self, *arguments):
        done = subprocess.run([self.program, *arguments], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def start(self, *arguments):
        return Server(self, arguments, self.program)

    def test_version_and_help(self):
        for arguments in [("-v",), ("--version",), ("version",), ("-v=true",), ("-DV", "--version")]:
            status, out, err = self.flags(*arguments)
            self.assertRegex(out, r"^nats-server: v\d+\.\d+\.\d+\n$")
            self.assertEqual((0, ""), (status, err))
        for arguments in [("-h",), ("--help",), ("help",)]:
            status, out, err = self.flags(*arguments)
            self.assertEqual((0, ""), (status, err))
            for name in ["--port", "-DV", "--store_dir", "--tlscacert", "--signal", "--ports_file_dir"]:
                self.assertIn(name, out)
        self.assertIn("cert_file", self.flags("--help_tls")[1])

    def test_flags_that_are_none(self):
        for arguments, says in [
            (("--prot", "1"), "flag provided but not defined: -prot"),
            (("-p",), "flag needs an argument: -p"),
            (("-p", "x"), 'invalid value "x" for flag -p: parse error'),
            (("--port=",), 'invalid value "" for flag -port: parse error'),
            (("-D=maybe",), 'invalid boolean value "maybe" for -D: parse error'),
            (("---p", "1"), "bad flag syntax: ---p"),
            (("-=1",), "bad flag syntax: -=1"),
        ]:
            status, out, err = self.flags(*arguments)
            self.assertEqual((2, ""), (status, out), arguments)
            self.assertEqual(says, err.splitlines()[0])
            self.assertIn("Usage: nats-server", err)
        status, _, err = self.flags("-p", "4222", "run")
        self.assertEqual((1, 'nats-server: unrecognized command: "run"\n'), (status, err))

    def test_check_of_a_configuration(self):
        self.write("good.conf", "port: 4222\njetstream: enabled\n")
        self.write("bad.conf", "port: 4222\nprot: 1\n")
        status, _, err = self.flags("-t", "-c", "good.conf")
        self.assertEqual((0, "nats-server: configuration file good.conf is valid\n"), (status, err))
        status, _, err = self.flags("-t", "--config", "bad.conf")
        self.assertEqual(1, status)
        self.assertIn("bad.conf:2:1: unknown key prot", err)
        self.assertEqual(1, self.flags("-t")[0])
        self.assertEqual(1, self.flags("-c", "bad.conf")[0])
        self.assertEqual(1, self.flags("-c", "none.conf")[0])
        self.assertIn("routes is not supported", self.flags("--routes", "nats://a:6222")[2])
        self.assertIn("cert_file", self.flags("--tls")[2])

    def test_flags_count_more_than_the_file(self):
        self.write("server.conf", "port: 1\nhost: 127.0.0.1\nserver_name: a\nauthorization { token: x }\ndebug: false\n")
        server = self.start("-c", "server.conf", "-p", "-1", "--name=b", "-js", "-sd", "data", "--user", "u",
                            "--pass", "p \"q\"", "-DV", "-P", "pid", "--ports_file_dir", self.directory, "-T=false")
        connection = self.connect(server.port(), user="u", **{"pass": 'p "q"'})
        self.assertEqual("PONG", connection.line())
        self.assertEqual("b", connection.info["server_name"])
        self.assertTrue(connection.info["jetstream"])
        self.assertTrue(connection.info["auth_required"])
        server.wait_for("Server is ready")
        self.assertRegex(server.text(), r"(?m)^\[\d+\] \[INF\] ")
        self.assertTrue(os.path.exists(self.path(f"nats-server_{server.process.pid}.ports")))
        with open(self.path("pid"), encoding="ascii") as file:
            self.assertEqual(server.process.pid, int(file.read()))
        self.assertEqual(FINE, server.end())

    def test_signals_are_sent(self):
        server = self.start("-a", "127.0.0.1", "-p", "-1", "-P", "server.pid", "-l", "server.log")
        server.port(self.path("server.log"))
        server.wait_for("Server is ready", self.path("server.log"))
        os.rename(self.path("server.log"), self.path("old.log"))
        self.assertEqual((0, "", ""), self.flags("--signal", f"reopen={server.process.pid}"))
        end = time.monotonic() + DEADLINE
        while not os.path.exists(self.path("server.log")) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual((0, "", ""), self.flags("-sl", "quit=server.pid"))
        self.assertEqual(FINE, server.process.wait(DEADLINE))
        status, _, err = self.flags("--signal", f"quit={server.process.pid}")
        self.assertEqual(1, status)
        self.assertIn("No such process", err)
        self.assertEqual((1, "", 'nats-server: unknown signal "wink"\n'), self.flags("-sl", "wink=1"))
        self.assertEqual(1, self.flags("-sl", "quit=1=2")[0])
        self.assertIn("neither a process id nor a file", self.flags("-sl", "quit=nobody")[2])

    def test_a_start_that_fails_is_fatal(self):
        server = self.start("-a", "127.0.0.1", "-p", "-1")
        port = server.port()
        status, _, err = self.flags("-a", "127.0.0.1", "-p", str(port))
        self.assertEqual(1, status)
        self.assertIn(str(port), err)
        self.assertEqual(FINE, server.end())


if __name__ == "__main__":
    main()
