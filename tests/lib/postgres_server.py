#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL for tests: own data, own Unix socket, no TCP, fsync on; gone when its user is gone.

    postgres_server.py run COMMAND…     COMMAND with DAYBOOK_POSTGRES=postgresql://… set; then the server goes
    postgres_server.py serve            commands by line on standard input (what tests/lib/postgres_server.c does)

`serve` prints `ready URL`, or `SKIP: why` and ends with 77. Then each line of input is answered by `ok` or `error WHY`:
start, stop (clients are cut off, what they committed is safe), kill (SIGKILL to every process of it), restart,
freeze and thaw (SIGSTOP and SIGCONT to every process), set NAME VALUE (for the next start). At the end of input, as on
SIGTERM, the server is killed and its directory removed. If this program itself is killed, the kernel ends the server
(PR_SET_PDEATHSIG): only the directory is left then.

PostgreSQL refuses to run as root. Started by root, the server's processes run as `postgres`, or else as `nobody`; the
directory is theirs. It lies in TMPDIR where they can reach that and the name of the socket stays short enough, else
in /tmp. The cluster that the Debian package makes is not used.

As a module: `with Server() as server: … server.url …`; not_available() says why there can be none.
"""

import ctypes
import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

OLDEST_MAJOR = 15
SOCKET_PATH_MAX = 100
START_SECONDS = 60
PR_SET_PDEATHSIG = 1
NOT_AVAILABLE = 77
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "30",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] '",
    "autovacuum_naptime": "10s",
}


def programs():
    """Folder of the newest PostgreSQL's programs, or None."""
    folders = glob.glob("/usr/lib/postgresql/*/bin") + os.environ.get("PATH", "").split(os.pathsep)
    best = (OLDEST_MAJOR - 1, None)
    for folder in folders:
        server = os.path.join(folder, "postgres")
        if os.access(server, os.X_OK) and os.access(os.path.join(folder, "initdb"), os.X_OK):
            said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
            if (match := re.search(r"\b(\d+)(?:\.\d+|\w+)", said)) and int(match.group(1)) > best[0]:
                best = (int(match.group(1)), folder)
    return best[1]


def server_user():
    """Who the server's processes are, as an entry of the password file; None: who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    return None


def not_available():
    """Why there can be no server here, in words; None where there can."""
    if programs() is None:
        return f"PostgreSQL {OLDEST_MAJOR} or later is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and server_user() is None:
        return "PostgreSQL does not run as root, and there is neither a user postgres nor nobody"
    return None


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Server:
    """Made and started by the constructor or `with`; close() removes everything."""

    def __init__(self, **settings):
        self.programs = programs()
        self.user = server_user()
        self.settings = dict(SETTINGS, **settings)
        self.process = None
        self.directory = self.make_directory()
        self.data = os.path.join(self.directory, "data")
        self.log = os.path.join(self.directory, "log")
        self.url = "postgresql://daybook@/postgres?host=" + urllib.parse.quote(self.directory, safe="")
        try:
            self.create()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def make_directory(self):
        for parent in (tempfile.gettempdir(), "/tmp"):
            directory = tempfile.mkdtemp(prefix="daybook-postgres-", dir=parent)
            if self.user is not None:
                os.chown(directory, self.user.pw_uid, self.user.pw_gid)
            short = len(directory) + len("/.s.PGSQL.5432") <= SOCKET_PATH_MAX
            if short and self.run(["test", "-w", directory], check=False).returncode == 0:
                return directory
            os.rmdir(directory)
        raise RuntimeError("no directory that the server's user can reach")

    def as_user(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def environment(self):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return dict(kept, TZ="UTC", LC_ALL="C", HOME="/")

    def run(self, command, check=True):
        done = subprocess.run(command, cwd="/", env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, **self.as_user())
        if check and done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
        return done

    def create(self):
        self.run([os.path.join(self.programs, "initdb"), "-D", self.data, "-U", "daybook", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync", "--no-instructions"])

    def start(self):
        if self.process is not None:
            raise RuntimeError("it is running")
        arguments = [os.path.join(self.programs, "postgres"), "-D", self.data, "-k", self.directory]
        for name, value in self.settings.items():
            arguments += ["-c", f"{name}={value.strip(chr(39))}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(arguments, cwd="/", env=self.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent, **self.as_user())
        is_ready = os.path.join(self.programs, "pg_isready")
        until = time.monotonic() + START_SECONDS
        while self.run([is_ready, "-q", "-h", self.directory], check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError("the server did not start:\n" + self.last_words())
            time.sleep(0.02)

    def last_words(self):
        with open(self.log, "rb") as log:
            return log.read()[-2000:].decode("utf-8", "replace")

    def processes(self):
        """The postmaster first, then its children."""
        if self.process is None:
            return []
        found = [self.process.pid]
        for entry in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(entry, encoding="utf-8", errors="replace") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid:
                found.append(int(entry.split("/")[2]))
        return found

    def signal(self, number):
        found = self.processes()
        for process in found:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass
        return found

    def stop(self):
        """As an administrator would: clients are cut off, nothing committed is lost."""
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(START_SECONDS)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("it did not stop, and was killed") from None

    def kill(self):
        """As the kernel does when memory runs out."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)  # so that it starts no process while the others are killed
        found = self.signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        while any(os.path.exists(f"/proc/{process}") for process in found[1:]):
            time.sleep(0.005)

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def unmount(self):
        """What a test mounted in the directory, to have a small disk."""
        with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
            places = [line.split()[1] for line in mounts]
        for place in places:
            if place.startswith(self.directory + "/"):
                subprocess.run(["umount", "-l", place], capture_output=True, check=False)

    def close(self):
        self.kill()
        self.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)


def answer(text):
    print(text, flush=True)


def serve():
    with Server() as server:
        answer(f"ready {server.url}")
        calls = {"start": server.start, "stop": server.stop, "kill": server.kill, "restart": server.restart,
                 "freeze": server.freeze, "thaw": server.thaw}
        for line in sys.stdin:
            words = line.split(None, 2)
            try:
                if words and words[0] == "set":
                    server.settings[words[1]] = words[2].strip()
                else:
                    calls[line.strip()]()
                answer("ok")
            except (RuntimeError, OSError, KeyError, IndexError) as error:
                answer("error " + " ".join(f"{type(error).__name__}: {error}".split()))
    return 0


def run(command):
    # What would be lost by a shutdown is of no interest here; what matters to rates is as in production.
    with Server(shared_buffers="256MB", max_wal_size="4GB") as server:
        return subprocess.run(command, env=dict(os.environ, DAYBOOK_POSTGRES=server.url), check=False).returncode


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(sys.argv) < 2 or sys.argv[1] not in ("run", "serve") or (sys.argv[1] == "run") != (len(sys.argv) > 2):
        print(__doc__, file=sys.stderr)
        return 2
    if why := not_available():
        answer(f"SKIP: {why}")
        return NOT_AVAILABLE
    return serve() if sys.argv[1] == "serve" else run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
