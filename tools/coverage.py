#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py BUILD [--missing [FILE...]]: line and branch coverage of an instrumented build, by module and file.

Reads with gcovr what the tests left in BUILD, and prints a table. --missing lists the branches that no test takes
(of the files named, or of the modules that must have none). The exit status is 1 where a rule below is broken.

What counts as a branch. gcc counts the outcomes of each conditional jump, at -O0 and without folding: `if`, loops,
`?:`, each case of a `switch`, and each operand of && and || on its own. All of these are branches of the source and
count. Not counted, because the source has no such branch or no test can take it and live:
  - lines of DBK_ASSERT and DBK_ASSERT_SLOW, up to their closing bracket: the failing side ends the process;
  - lines with va_arg, where gcc asks whether the argument came in a register.
Nothing else is left out. gcc joins two operands without side effects into one jump where that is cheap; such a pair
counts once.

A branch that no test can take may be called defensive, at its place and with the reason:

    if (context == NULL) return false; // defensive: the memory is of the size that zstd asked for

The comment stands at the end of the line, or alone on the lines before it. It excuses the branches of this line that
no test took; they are counted and shown. Rules, for the modules and files in STRICT: at most 3 % of the branches are
defensive; none in decoders and recovery (NEVER_DEFENSIVE); a mark has a reason; a mark whose branches are all taken is
stale and must go, unless its reason says that chance takes them ("only by chance ...").
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STRICT = ("record/", "journal/", "segment/", "index/", "store/manifest", "store/recovery.c")
NEVER_DEFENSIVE = ("record/event.c", "record/record.c", "journal/page.c", "journal/group.c", "journal/recovery.c",
                   "segment/block.c", "segment/footer.c", "segment/cursor.c", "segment/walk.c", "index/postings.c",
                   "index/term_page.c", "store/manifest.c", "store/manifest_edit.c", "store/manifest_file.c",
                   "store/recovery.c")
DEFENSIVE_PERCENT_MAX = 3.0
MARK = re.compile(r"//\s*defensive:?\s*(.*)$")
ASSERT = re.compile(r"\bDBK_ASSERT(_SLOW)?\(")


class Count:
    """Lines, branches and what of them was reached; sums up with +=."""

    def __init__(self) -> None:
        self.lines = self.lines_hit = self.branches = self.branches_hit = self.defensive = 0

    def __iadd__(self, other: "Count") -> "Count":
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def missing(self) -> int:
        return self.branches - self.branches_hit - self.defensive


class Source:
    """What the text of a file says about its lines: which do not count, which are marked defensive."""

    def __init__(self, path: pathlib.Path) -> None:
        self.text = path.read_text(encoding="utf-8").splitlines()
        self.uncounted: set[int] = set()
        self.marks: dict[int, int] = {}  # line of code -> line of its mark
        self.by_chance: set[int] = set()  # marks
        self.without_reason: list[int] = []
        depth, pending = 0, 0
        for number, line in enumerate(self.text, start=1):
            code, comment = line.split("//", 1) if "//" in line else (line, "")
            mark = MARK.search("//" + comment) if comment else None
            if mark and not mark.group(1):
                self.without_reason.append(number)
            if mark and "by chance" in mark.group(1):
                self.by_chance.add(number)
            if mark and code.strip():
                self.marks[number] = number
            elif mark:
                pending = number
            elif code.strip() and pending:
                self.marks[number] = pending
                pending = 0
            depth = self._follow_assert(number, code, depth)
            if "va_arg(" in code:
                self.uncounted.add(number)

    def _follow_assert(self, number: int, code: str, depth: int) -> int:
        """Brackets still open of an assertion; 0: outside of one."""
        match = ASSERT.search(code) if depth == 0 else None
        if depth == 0 and not match:
            return 0
        self.uncounted.add(number)
        rest = code[match.start():] if match else code
        return max(0, depth + rest.count("(") - rest.count(")"))


class Report:
    """Everything that was measured, per file."""

    def __init__(self) -> None:
        self.files: dict[str, Count] = {}
        self.missing: dict[str, list[tuple[int, int, int]]] = {}  # file -> (line, missing, of)
        self.complaints: list[str] = []

    def add(self, file: dict) -> None:
        name = file["file"].removeprefix("src/")
        source, count, seen = Source(ROOT / file["file"]), Count(), set()
        missing = self.missing.setdefault(name, [])
        for line in file["lines"]:
            number = line["line_number"]
            if line.get("gcovr/noncode"):
                continue
            count.lines += 1
            count.lines_hit += line["count"] > 0
            if number in source.uncounted:
                line["branches"] = []
            branches = line.get("branches", [])
            hit = sum(branch["count"] > 0 for branch in branches)
            count.branches += len(branches)
            count.branches_hit += hit
            if number in source.marks and hit < len(branches):
                seen.add(source.marks[number])
                count.defensive += len(branches) - hit
                line["branches"] = [branch for branch in branches if branch["count"] > 0]
            elif hit < len(branches):
                missing.append((number, len(branches) - hit, len(branches)))
        self.files[name] = count
        if name.startswith(STRICT):
            self._check_marks(name, source, seen)

    def _check_marks(self, name: str, source: Source, seen: set[int]) -> None:
        for number in source.without_reason:
            self.complaints.append(f"src/{name}:{number}: defensive without a reason")
        for number in sorted(set(source.marks.values()) - source.by_chance - seen):
            self.complaints.append(f"src/{name}:{number}: called defensive, but every branch is taken: remove the mark")
        if name in NEVER_DEFENSIVE and seen:
            self.complaints.append(f"src/{name}:{min(seen)}: nothing is defensive in decoders and recovery")

    def check_shares(self) -> None:
        for prefix in STRICT:
            total = self.total(prefix)
            if 100.0 * total.defensive > DEFENSIVE_PERCENT_MAX * total.branches:
                self.complaints.append(f"src/{prefix}: {total.defensive} of {total.branches} branches are called "
                                       f"defensive, more than {DEFENSIVE_PERCENT_MAX:.0f} %")
            if total.missing:
                self.complaints.append(f"src/{prefix}: {total.missing} branches are taken by no test "
                                       "(coverage.py --missing lists them)")

    def total(self, prefix: str) -> Count:
        total = Count()
        for name, count in self.files.items():
            if name.startswith(prefix):
                total += count
        return total

    def print_table(self) -> None:
        print(f"{'module or file':<24} {'lines':>16} {'branches':>25} {'defensive':>16} {'missing':>8}")
        modules = sorted({pathlib.PurePath(name).parts[0] for name in self.files})
        for module in modules:
            print_row(module, self.total(module + "/"))
            for name in sorted(name for name in self.files if name.startswith(module + "/")):
                if name.startswith(STRICT):
                    print_row("  " + name.split("/", 1)[1], self.files[name])
        print_row("all", self.total(""))

    def print_missing(self, wanted: list[str]) -> None:
        for name in sorted(self.missing):
            if not name.startswith(tuple(wanted) or STRICT):
                continue
            text = (ROOT / "src" / name).read_text(encoding="utf-8").splitlines()
            for number, missing, branches in self.missing[name]:
                print(f"src/{name}:{number}: {missing} of {branches}: {text[number - 1].strip()}")


def print_row(name: str, count: Count) -> None:
    print(f"{name:<24} {count.lines_hit:>6}/{count.lines:<6}{share(count.lines_hit, count.lines)} "
          f"{count.branches_hit:>8}/{count.branches:<6}{share(count.branches_hit, count.branches)} "
          f"{count.defensive:>6}{share(count.defensive, count.branches)} {count.missing:>8}")


def share(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:7.1f} %" if whole else "        -"


def gcovr(*arguments: str) -> None:
    subprocess.run(["gcovr", "--root", str(ROOT), *arguments], cwd=ROOT, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Line and branch coverage by module and file.")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--missing", nargs="*", metavar="FILE", help="list branches that no test takes")
    parser.add_argument("--no-html", action="store_true", help="the table only")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    measured = build / "coverage.json"
    gcovr("--filter", "src/", "--json", str(measured), str(build / "src"))
    document = json.loads(measured.read_text(encoding="utf-8"))
    report = Report()
    for file in document["files"]:
        report.add(file)
    report.check_shares()
    if arguments.missing is not None:
        report.print_missing([name.removeprefix("src/") for name in arguments.missing])
    else:
        report.print_table()
    if not arguments.no_html:
        counted = build / "coverage-counted.json"  # without what does not count, so that the pages agree with the table
        counted.write_text(json.dumps(document), encoding="utf-8")
        gcovr("--add-tracefile", str(counted), "--html-details", str(build / "index.html"))
        print(f"Line by line: {build / 'index.html'}")
    for complaint in report.complaints:
        print(complaint)
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
