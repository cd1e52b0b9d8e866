#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not: tests/tidy.py BUILD_DIR

Each rule is one function that returns the places where it is broken."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build")

# From the ground up; a room includes itself and rooms on floors below its own.
FLOORS = [["verifier"], ["ke"], ["stat"], ["io"], ["tdi", "dma"], ["link", "tcp", "verbs"],
          ["nal", "workloop"]]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The only rooms that may reach the machine other than through ke.h.
SYSTEM_ROOMS = ("src/ke/host/", "src/tcp/", "src/stat/", "fs/")
LIBC_FOR_ALL = {"memcpy", "memmove", "memset", "memcmp", "strcmp", "strlen", "snprintf",
                "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
HEADERS_FOR_ALL = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "stdarg.h", "stdio.h",
                   "inttypes.h", "limits.h"}
# Signal actions belong to the process, so that what a handler needs can't be anybody's own.
MAY_KEEP_DATA = {"map.c.o"}
LONGEST_FUNCTION = 70
LONGEST_FILE = 500
LONGEST_TEST_FILE = 900
LONGEST_LINE = 100


def sources(*folders, endings=(".c", ".h")):
    for folder in folders:
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in endings)


def name(path):
    return path.relative_to(ROOT).as_posix()


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def no_room_includes_one_above_or_beside_it():
    for path in sources("src"):
        room = name(path).split("/")[1]
        for number, own, header in includes(path):
            other = header.split("/")[0]
            if not own or other == room or "/" not in header:
                continue
            if other not in FLOOR_OF or FLOOR_OF[other] >= FLOOR_OF.get(room, 99):
                yield f"{name(path)}:{number}: {room} includes {header}"


def only_system_rooms_include_system_headers():
    for path in sources("src"):
        if name(path).startswith(SYSTEM_ROOMS) or name(path).startswith("src/ke/sim/"):
            continue
        for number, own, header in includes(path):
            if not own and header not in HEADERS_FOR_ALL:
                yield f"{name(path)}:{number}: <{header}>"


def only_system_rooms_know_the_host_executive():
    for path in sources("src"):
        if name(path).startswith(SYSTEM_ROOMS):
            continue
        for number, own, header in includes(path):
            if own and header.startswith("ke/host/"):
                yield f"{name(path)}:{number}: {header}"


def symbols(library):
    """Each symbol of a library: its object, name, and section (* when it is another object's)."""
    out = subprocess.run(["nm", "-A", "--format=sysv", str(library)], capture_output=True,
                         text=True, check=True).stdout
    for line in out.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 7 and ":" in fields[0]:
            member, symbol = fields[0].rsplit(":", 1)
            section = "*" if fields[2] == "U" else fields[6]
            yield member.rsplit("_", 1)[-1], symbol, section


def rooms_above_the_executive_call_no_one_but_ke():
    wanted, own = [], set()
    for member, symbol, section in symbols(BUILD / "libxport-plain.a"):
        (wanted.append((member, symbol)) if section == "*" else own.add(symbol))
    contract = {"verifier_on"}
    for header in ("src/ke/ke.h", "src/verifier/verifier.h"):
        contract |= set(re.findall(r"\b(\w+)\s*\(", (ROOT / header).read_text()))
    for member, symbol in wanted:
        if symbol not in own | contract | LIBC_FOR_ALL:
            yield f"{member}: calls {symbol}"


def rooms_above_the_executive_keep_no_mutable_data():
    for library in ("libxport-plain.a", "libtcp-plain.a"):
        for member, symbol, section in symbols(BUILD / library):
            if section.startswith((".data", ".bss", ".tdata", ".tbss", "*COM*")) and \
                    not section.startswith(".data.rel.ro") and member not in MAY_KEEP_DATA:
                yield f"{library} {member}: {symbol} is in {section}"


RULE_NAME = r'"([A-Z]+(?:-[A-Z]+)+|HOST)"'


def code_of_verifier_and_rooms():
    for path in sources("src", "tools"):
        if name(path) != "src/verifier/rules.c":
            yield path, re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)


def every_rule_is_in_the_table_and_is_applied():
    text = (ROOT / "src/verifier/rules.c").read_text()
    rules = re.findall(r"\{" + RULE_NAME + r", ", text)
    calls = r"(?:bug_check|bug_check_at|_violation|judge_unmarked|require_back)\("
    used = set()
    for path, code in code_of_verifier_and_rooms():
        if re.search(calls, code):
            used |= set(re.findall(RULE_NAME, code))
        for call in re.finditer(r"bug_check(?:_at)?\(|_violation\(", code):
            for rule in re.findall(RULE_NAME, code[call.end():].split(";")[0]):
                if rule not in rules:
                    yield f"{name(path)}: {rule} is not in src/verifier/rules.c"
    for rule in rules:
        if rule not in used:
            yield f"src/verifier/rules.c: {rule} is applied nowhere"
        if rules.count(rule) > 1:
            yield f"src/verifier/rules.c: {rule} is there twice"


def every_rule_has_a_page_of_the_book_and_a_case():
    text = (ROOT / "src/verifier/rules.c").read_text()
    cases = "".join(path.read_text() for path in sources("tests"))
    for rule, page in re.findall(r"\{" + RULE_NAME + r', "([^"]+)"', text):
        if not (ROOT / "book" / f"{page}.md").exists():
            yield f"src/verifier/rules.c: {rule}: there is no book/{page}.md"
        if f'"{rule}"' not in cases and rule not in UNTESTED_RULES:
            yield f"src/verifier/rules.c: {rule}: no case breaks it"


# What is wrong with the machine or with the program that runs the executive, not with its code.
UNTESTED_RULES = {"HOST", "NOT-RUNNING", "OUT-OF-LANES"}


def functions_fit_a_screen():
    files = [str(p) for p in sources("src", "tools", "tests", "fs", "labs", endings=(".c",))]
    out = subprocess.run(["ctags", "-x", "--c-kinds=f", "--_xformat=%{line} %{end} %F %N", *files],
                         capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        first, last, file, function = line.split()
        length = int(last) - int(first) + 1
        if length > LONGEST_FUNCTION:
            yield f"{name(pathlib.Path(file))}:{first}: {function} has {length} lines"


def files_hold_one_idea():
    for path in sources("src", "tools", "tests", "fs", "labs"):
        length = len(path.read_text().splitlines())
        limit = LONGEST_TEST_FILE if name(path).startswith("tests/") else LONGEST_FILE
        if length > limit:
            yield f"{name(path)}: {length} lines"


def lines_fit():
    for path in sources("src", "tools", "tests", "fs", "labs"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if len(line.expandtabs(8)) > LONGEST_LINE:
                yield f"{name(path)}:{number}: {len(line.expandtabs(8))} columns"
            if line != line.rstrip():
                yield f"{name(path)}:{number}: blanks at the end"


def files_begin_with_what_they_are():
    for path in sources("src", "fs", "tools", "labs"):
        text = path.read_text().lstrip()
        head = text if text.startswith("/*") else text.split("\n\n", 1)[-1].lstrip()
        if not head.startswith(("/*", "#ifndef")) and "/*" not in text[:600]:
            yield f"{name(path)}: no comment at its head"


def the_top_of_the_tree_is_as_agreed():
    agreed = {"README.md", "LICENSE", "meson.build", "meson_options.txt", "book", "src", "labs",
              "fs", "tests", "tools"}
    out = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True)
    for entry in sorted({line.split("/")[0] for line in out.stdout.splitlines()}):
        if entry not in agreed and not entry.startswith("."):
            yield f"{entry} at the top"


RULES = [no_room_includes_one_above_or_beside_it, only_system_rooms_include_system_headers,
         only_system_rooms_know_the_host_executive, rooms_above_the_executive_call_no_one_but_ke,
         rooms_above_the_executive_keep_no_mutable_data,
         every_rule_is_in_the_table_and_is_applied, every_rule_has_a_page_of_the_book_and_a_case,
         functions_fit_a_screen,
         files_hold_one_idea, lines_fit, files_begin_with_what_they_are,
         the_top_of_the_tree_is_as_agreed]

passed = 0
for rule in RULES:
    broken = list(rule())
    passed += not broken
    if broken:
        print(f"{rule.__name__.replace('_', ' ')}: not so:")
        for place in broken[:20]:
            print(f"    {place}")
        if len(broken) > 20:
            print(f"    and {len(broken) - 20} more")
print(f"{passed} passed, {len(RULES) - passed} failed")
sys.exit(passed != len(RULES))
