#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each system call of the real posix side fails once, at each place of a scripted life of a store: always success or a
clear status, never a crash; nothing acknowledged is lost, nothing removed comes back. Interrupted and short calls are not
even noticed.

DAYBOOK_CASES (default 600) bounds the number of cases, spread over all places; 0: all of them. DAYBOOK_CASE=pwrite:7:EIO runs
one and prints what it said.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

DRIVER = os.environ["DAYBOOK_DRIVER"]
SHIM = os.environ["DAYBOOK_SHIM"]
# Thousands of stores: in memory, where there is such a place, since it is the calls that matter here.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# Without background threads the n-th call is the same one in every run.
LIFE = """open {store} sync 4 256
append 5 200
batch 20 900
flush
append 3 3000
flush
append 4 200
delete 1
flush
append 2 200
flush
maintain
read
purge 12
append 3 200
flush
maintain
read
close
open {store} sync 4 256
append 2 200
read
close
open {store} ro
read
close
open {store} rw 4 256
append 3 200
flush
read
close
acknowledged
purged
"""

ERRORS = {
    "open": ("EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"),
    "pread": ("EIO", "EINTR", "SHORT"),
    "pwrite": ("EIO", "ENOSPC", "EINTR", "SHORT", "ENOSPC+", "EIO+"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR", "EIO+"),
    "fsync": ("EIO", "EINTR"),
    "ftruncate": ("EIO", "ENOSPC", "EINTR"),
    "fallocate": ("EIO", "ENOSPC", "EINTR", "ENOSPC+"),
    "rename": ("EIO", "ENOSPC", "ENOSPC+"),
    "unlink": ("EIO", "EROFS"),
    "flock": ("EIO", "EINTR"),
    "mmap": ("EIO", "EMFILE"),
    "mkdir": ("EIO", "ENOSPC"),
}
UNNOTICED = ("EINTR", "SHORT")
CLEAR = {"OK", "EIO", "ENOSPC", "EMFILE", "EUNCERTAIN", "EPOISONED", "EPERMISSION", "EREADONLY", "END"}
# Follow from an earlier failure: no store was made, or opened; the event to delete or the stream was never accepted.
FOLLOWING = {"EMISUSE", "ENOTFOUND"}


class Wrong(Exception):
    pass


def live(directory, script, injected=None):
    """One life: the answers, each (command, status, number, message), and (calls, failed)."""
    report = os.path.join(directory, "report")
    environment = dict(os.environ)
    if injected is not None:
        preload = [environment.get("DAYBOOK_SANITIZER", ""), SHIM]
        environment.update(LD_PRELOAD=":".join(part for part in preload if part), INJECT=injected, INJECT_REPORT=report)
    script = script.format(store=os.path.join(directory, "store"))
    done = subprocess.run([DRIVER], input=script, capture_output=True, text=True, timeout=60, env=environment, check=False)
    if done.returncode != 0:
        raise Wrong(f"ended with {done.returncode}: {done.stderr[-2000:]}")
    answers = [line.split(" ", 2) for line in done.stdout.splitlines()]
    commands = script.splitlines()
    if len(answers) != len(commands):
        raise Wrong(f"{len(answers)} answers to {len(commands)} commands")
    counts = (0, 0)
    if injected is not None:
        with open(report, encoding="ascii") as file:
            counts = tuple(int(word) for word in file.read().split())
    return [(command, status, int(number), message)
            for command, (status, number, message) in zip(commands, answers)], counts


def judge(answers, expected, injected):
    error = injected.split(":")[2].rstrip("+")
    failed_before = False
    for (command, status, number, message), should in zip(answers, expected):
        if error in UNNOTICED:
            if (status, number) != (should[1], should[2]):
                raise Wrong(f"'{command}' noticed it: {status} {number} {message}")
        elif status in FOLLOWING and failed_before:
            pass
        elif status not in CLEAR:
            raise Wrong(f"'{command}' says {status} {number} {message}")
        failed_before = failed_before or status not in ("OK", "END")


def one(injected, expected):
    directory = tempfile.mkdtemp(prefix="daybook-inject-", dir=SCRATCH)
    try:
        answers, (_, failed) = live(directory, LIFE, injected)
        if failed == 0:
            return "not reached", answers
        judge(answers, expected, injected)
        acknowledged, purged = answers[-2][2], answers[-1][2]
        if not os.path.exists(os.path.join(directory, "store")) and acknowledged == 0:
            return "fine", answers
        after, _ = live(directory, f"expect {acknowledged} {purged}\nopen {{store}} rw 4 256\nread\nappend 3 100\nflush\nread\n"
                                   "close\nopen {store} sync\nread\nclose\n")
        for command, status, _, message in after:
            if status != "OK":
                raise Wrong(f"afterwards '{command}' says {status} {message}\n  " +
                            "\n  ".join(" ".join(map(str, answer)) for answer in answers))
        return "fine", answers
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def places():
    """Every case: call, number, error. And the answers of a life without failure."""
    directory = tempfile.mkdtemp(prefix="daybook-inject-", dir=SCRATCH)
    try:
        expected, _ = live(directory, LIFE)
        for command, status, _, message in expected:
            if status not in ("OK", "END"):
                raise Wrong(f"without failure '{command}' says {status} {message}")
        cases = []
        for call, errors in ERRORS.items():
            shutil.rmtree(directory)
            os.mkdir(directory)
            _, (count, _) = live(directory, LIFE, f"{call}:1000000000:EIO")
            if count == 0:
                raise Wrong(f"{call} is never called: the shim does not see it")
            cases += [f"{call}:{number}:{error}" for number in range(1, count + 1) for error in errors]
        return cases, expected
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    cases, expected = places()
    total = len(cases)
    bound = int(os.environ.get("DAYBOOK_CASES", "600"))
    if "DAYBOOK_CASE" in os.environ:
        cases = [os.environ["DAYBOOK_CASE"]]
    elif 0 < bound < total:
        cases = [cases[index * total // bound] for index in range(bound)]

    def attempt(case):
        try:
            return case, *one(case, expected)
        except (Wrong, subprocess.TimeoutExpired) as error:
            return case, f"WRONG: {error}", []

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        results = list(pool.map(attempt, cases))
    wrong = [(case, result) for case, result, _ in results if result.startswith("WRONG")]
    for case, result in wrong:
        print(f"DAYBOOK_CASE={case}: {result}")
    if "DAYBOOK_CASE" in os.environ:
        for answer in results[0][2]:
            print(*answer)
    reached = sum(result == "fine" for _, result, _ in results)
    print(f"{len(cases)} of {total} cases, {reached} of them fine, {len(wrong)} wrong")
    # Background threads at the end of the life make a few numbers come and go.
    sys.exit(1 if wrong or reached < len(cases) * 9 // 10 else 0)


if __name__ == "__main__":
    main()
