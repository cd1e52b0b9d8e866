#!/usr/bin/env python3
"""Checks the labs: tests/labs.py BUILD_DIR

Of each lab the starter compiles and fails, the reference passes, and every mutant is killed by the
lab's own exercises, with the rule that its first line names. Answers that crash, hang, leave or do
not compile end in a report, too."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
XPORT = BUILD / "xport"
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="labs test "))  # the blanks are meant
WORK = SCRATCH / "work"
HEADERS = """#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>
"""


def xport(*words, binary=XPORT, cwd=SCRATCH, **more):
    return subprocess.run([str(binary), "lab", *map(str, words)], cwd=cwd, text=True,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=os.environ | {"TMPDIR": str(WORK)}, **more)


def check(lab, *words, **more):
    """The JSON of a check, which agrees with its exit status."""
    done = xport("check", lab, *words, "--json", **more)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == report["ok"], done
    return report


def last_run(report):
    assert "runs" in report, report
    return report["runs"][-1]


# ---- Every lab -------------------------------------------------------------------------------

def starter_compiles_and_fails(lab):
    folder = SCRATCH / f"starter {lab}"
    assert xport("start", lab, folder).returncode == 0
    refused = xport("start", lab, folder)
    assert refused.returncode == 1 and "--force" in refused.stderr, refused
    run = last_run(check(lab, folder))
    assert not run["ok"] and "is yours to write" in run["actual"] and run["rule"] > 0, run
    assert run["steps"] and run["expected"] and run["sentence"] and run["page"], run
    assert (BUILD / "../book" / run["page"].split("#")[0].replace(".html", ".md")).exists(), run


def reference_passes(lab):
    report = check(lab, "--mutant", "reference")
    assert report["ok"] and len(report["runs"]) == 2, report


def functions(*files):
    """Name, file, first and last line of the functions that the files define."""
    out = subprocess.run(["ctags", "-x", "--sort=no", "--c-kinds=f",
                          "--_xformat=%N %{line} %{end} %F", *map(str, files)],
                         capture_output=True, text=True, check=True).stdout
    return [line.split(" ", 3) for line in out.splitlines()]


def own_words_pass(lab):
    """The reference's text of what the starter leaves out, as a student would hand it in."""
    stage = next(stage for stage in json.loads(xport("list", "--json").stdout)
                 if stage["name"] == lab)
    folder = SCRATCH / f"own {lab}"
    assert xport("start", lab, folder).returncode == 0
    wanted = [name for name, *_ in functions(folder / stage["answer"])]
    text = ""
    for name, first, last, file in functions(*(ROOT / source for source in stage["sources"])):
        if name in wanted:
            wanted.remove(name)
            lines = pathlib.Path(file).read_text().splitlines()
            text += "\n".join(lines[int(first) - 1:int(last)]) + "\n\n"
    assert not wanted, wanted
    (folder / stage["answer"]).write_text(text)
    assert check(lab, folder)["ok"]


def broken_rule(mutant):
    return int(re.match(r"/\* Breaks rule (\d+): .*", mutant.read_text()).group(1))


def mutants(lab):
    return sorted((ROOT / "labs" / lab / "mutants").glob("*.c"))


def every_rule_has_a_mutant(lab):
    handout = (ROOT / "labs" / lab / "README.md").read_text()
    rules = {int(number) for number in re.findall(r"^(\d+)\. ", handout, re.MULTILINE)}
    assert {broken_rule(mutant) for mutant in mutants(lab)} == rules, rules


def rules_are_those_of_the_book(lab):
    """The handout's rule 3 and the chapter's [01.3] are one sentence."""
    handout = (ROOT / "labs" / lab / "README.md").read_text()
    rules = {number: " ".join(sentence.split()) for number, sentence in
             re.findall(r"^(\d+)\. (.*(?:\n +.*)*)", handout, re.MULTILINE)}
    chapter = (ROOT / "book" / f"{lab}.md").read_text()
    stated = dict(re.findall(rf"^\[{lab[:2]}\.(\d+)\] (.*)", chapter, re.MULTILINE))
    assert rules and rules == stated, [n for n in stated if stated[n] != rules.get(n)]


def mutant_is_killed(lab, mutant):
    rule = broken_rule(mutant)
    run = last_run(check(lab, "--mutant", mutant.stem))
    assert not run["ok"], "it survives"
    assert run["executive"] == "simulator", "only the host's luck kills it"
    assert run["rule"] == rule, f"rule {run['rule']}, not {rule}: {run}"


# ---- Answers of all kinds, to lab 2 ----------------------------------------------------------

GOOD = (ROOT / "src/tdi/send_sync.c").read_text()
CALL = "\tio_call_driver("
assert GOOD.count(CALL) == 1


def before_call(code):
    return HEADERS + GOOD.replace(CALL, f"\t{code}\n{CALL}")


# What the report says of each, in `actual` or in `complaint`; None: it passes.
ANSWERS = {
    "the reference's own text": (GOOD, None),
    "a static helper": (
        "static int32_t nothing;\n\nstatic int32_t look(void)\n{\n\treturn nothing;\n}\n\n" +
        before_call("look();"), None),
    "variables that each run finds as they were": (
        "static int32_t left = 5000, used;\n\nstatic void count(void)\n{\n\tused++;\n"
        "\tif (--left < 0 || used > 5000)\n\t\tabort();\n}\n\n" + before_call("count();"),
        None),
    "a helper that is declared first": (
        before_call("look();").replace("int64_t tdi", "static void look(void);\n\nint64_t tdi")
        + "\nstatic void look(void)\n{\n}\n", None),
    "lines that end in two characters": (GOOD.replace("\n", "\r\n"), None),
    "output of its own": (before_call('printf("here\\n");'), None),
    "a null pointer": (before_call("irp = NULL; flags = irp->flags;"),
                       "null pointer.* at send_sync.c"),
    "memory that is not there": (before_call("flags = *(volatile uint32_t *)16;"),
                                 "not there|SEGV"),
    "an endless loop": (before_call("for (;;)\n\t\t;"), "none within the time limit"),
    "a wait for ever": (GOOD.replace("&event, KE_WAIT_FOREVER", "&other, KE_WAIT_FOREVER").replace(
        CALL, "\tstruct kevent other;\n\n"
        "\tke_initialize_event(&other, NOTIFICATION_EVENT, false);\n" + CALL), "deadlock"),
    "an endless loop of operations": (
        before_call("while (interlocked_read(&iosb.status) != 7)\n\t\t;"), "livelock"),
    "calls without end": (
        "static int deep(int n)\n{\n\tvolatile char pad[100];\n\n\tpad[0] = (char)n;\n"
        "\treturn n < 0 ? 0 : deep(n + 1) + pad[0];\n}\n\n" + before_call("deep(0);"),
        "the stack is used up"),
    "exit(0)": (before_call("exit(0);"), "ended itself, with exit status 0"),
    "_exit(0)": (before_call("_exit(0);"), "ended itself, with exit status 0"),
    "abort()": (before_call("abort();"), "signal 6"),
    "a syntax error": (before_call("flags = ;"), r"send_sync.c:\d+:\d+: error: expected"),
    "a missing brace": (before_call("if (flags == 9) {"), r"send_sync.c:\d+:\d+: error: expected"),
    "an unknown function": (before_call("io_magic();"),
                            "implicit declaration of function 'io_magic'"),
    "a name of another room's": (GOOD + "\nvoid io_unlock_buffer(struct irp *irp)\n{\n\t(void)irp;\n}\n",
                                 "'io_unlock_buffer' is not defined in .*static"),
    "a name of the C library's": (GOOD + "\nvoid *memcpy(void *a, const void *b, size_t n)\n{\n"
                                  "\treturn a;\n}\n", "'memcpy' is not defined in .*static"),
    "an empty file": ("", "'tdi_send_stream' is missing"),
    "another function": ("static int other(void)\n{\n\treturn 1;\n}\n",
                         "'tdi_send_stream' is missing"),
    "no C at all": ("\x00\x01\x02 (((\n", "."),
}


def answer(name, text):
    folder = SCRATCH / name.replace("/", " ")
    folder.mkdir()
    (folder / "send_sync.c").write_bytes(text.encode())
    return folder


def answer_is_reported(name):
    text, wanted = ANSWERS[name]
    report = check(2, f"{answer(name, text)}/")
    if wanted is None:
        assert report["ok"] and len(report["runs"]) == 2, report
        return
    actual = report.get("complaint") or last_run(report)["actual"]
    assert not report["ok"] and re.search(wanted, actual, re.DOTALL), actual
    assert "complaint" in report or last_run(report)["steps"], report


# ---- The command -----------------------------------------------------------------------------

def is_refused(pattern, *words, **more):
    done = xport(*words, **more)
    assert done.returncode != 0 and not done.stdout, done
    assert len(done.stderr.splitlines()) == 1 and re.search(pattern, done.stderr), done


def says_what_is_wrong():
    is_refused("cannot read .*no where", "check", 1, "no where")
    is_refused("no lab '9'", "check", 9)
    is_refused("which lab", "check")
    is_refused("no mutant 'nix'", "check", 1, "--mutant", "nix")
    is_refused("no token", "check", 1, "--mutant", "reference", "--again", "x")
    is_refused("none of list, start, check", "fly")
    is_refused("cannot make .*: No such", "start", 1, "no/where")
    (SCRATCH / "a file").touch()
    is_refused("Not a directory", "start", 1, "a file")


def reports_in_words():
    words = xport("check", 1, "--mutant", "takes_routine_first").stdout
    for part in ("Exercise ", "  1. ", "  expected  ", "  actual    ", "  Rule 01.7: ", "--again "):
        assert part in words, words
    token = re.search(r"--again (\S+)", words).group(1)
    again = xport("check", 1, "--mutant", "takes_routine_first", "--again", token).stdout
    assert again.splitlines()[1:] == words.splitlines()[1:], again
    well = xport("check", 1, "--mutant", "reference", "--again", token)
    assert well.returncode == 0, well
    assert max(map(len, words.splitlines())) <= 100, words


def reports_are_the_same_every_time():
    for lab, mutant in ((1, "completes_with_lock"), (2, "frees_request"),
                        (3, "keeps_no_reference")):
        first, second = (xport("check", lab, "--mutant", mutant).stdout for _ in range(2))
        assert first == second, first + second
        assert "/tmp" not in first and str(ROOT) not in first, first


def interrupted():
    folder = answer("to be interrupted", ANSWERS["an endless loop"][0])
    mine = SCRATCH / "interrupted"
    mine.mkdir()
    process = subprocess.Popen([XPORT, "lab", "check", "2", folder], stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"TMPDIR": str(mine)})
    until = time.monotonic() + 20
    while not list(mine.glob("*/simulator")) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "ended by SIGINT" in err and not out, (out, err)
    assert not list(mine.iterdir()), list(mine.iterdir())


def two_at_once():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert all(report["ok"] for report in pool.map(
            lambda _: check(3, "--mutant", "reference"), range(2)))


def lists_what_there_is():
    listed = json.loads(xport("list", "--json").stdout)
    assert [lab["name"] for lab in listed] == LABS, listed
    assert all(lab["name"] in xport("list").stdout for lab in listed)


def needs_no_right_to_write():
    """As nobody, who can't write into the build; or as a user who can't become nobody."""
    folder = answer("of somebody else", GOOD)
    more = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    mine = SCRATCH / "of nobody"
    mine.mkdir()
    if more:
        if not os.access(BUILD, os.R_OK) or subprocess.run(["ls", XPORT], **more, check=False,
                                                           capture_output=True).returncode != 0:
            return  # the sources lie where nobody else may go
        os.chown(mine, 65534, 65534)
        SCRATCH.chmod(0o755)
    done = subprocess.run([XPORT, "lab", "check", "2", folder], capture_output=True, text=True,
                          env=os.environ | {"TMPDIR": str(mine)}, check=False, **more)
    assert done.returncode == 0, done
    closed = SCRATCH / "closed"
    closed.mkdir(0o555)
    if more:
        is_refused("Permission denied", "start", 1, closed, **more)


def leaks_nothing():
    asan = BUILD / "xport-asan"
    if not asan.exists():
        return
    done = xport("check", 2, "--mutant", "frees_request", binary=asan)
    assert done.returncode == 1 and "Sanitizer" not in done.stderr, done.stderr
    done = xport("check", 2, answer("syntax for asan", ANSWERS["a missing brace"][0]), binary=asan)
    assert done.returncode == 1 and "Sanitizer" not in done.stderr, done.stderr


# ---- All -------------------------------------------------------------------------------------

LABS = sorted(path.parent.name for path in (ROOT / "labs").glob("*/starter.c"))
CASES = [(f"answer: {name}", answer_is_reported, name) for name in ANSWERS]
for name in LABS:
    CASES += [(f"{name}: the starter compiles and fails", starter_compiles_and_fails, name),
              (f"{name}: the reference passes", reference_passes, name),
              (f"{name}: the reference's text passes as an answer", own_words_pass, name),
              (f"{name}: every rule has a mutant", every_rule_has_a_mutant, name),
              (f"{name}: the book has the same rules", rules_are_those_of_the_book, name)]
    CASES += [(f"{name}: {mutant.stem} is killed", mutant_is_killed, name, mutant)
              for mutant in mutants(name)]
CASES += [(function.__name__.replace("_", " "), function) for function in (
    lists_what_there_is, says_what_is_wrong, reports_in_words, reports_are_the_same_every_time,
    interrupted, two_at_once, needs_no_right_to_write, leaks_nothing)]


def run(case):
    try:
        case[1](*case[2:])
    except Exception as error:
        return f"FAILED: {case[0]}\n    {type(error).__name__}: {error}"
    return None


WORK.mkdir(mode=0o777)
try:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = [failure for failure in pool.map(run, CASES) if failure]
    if list(WORK.iterdir()):
        failures.append(f"FAILED: nothing stays behind\n    {list(WORK.iterdir())}")
finally:
    shutil.rmtree(SCRATCH)
for failure in failures:
    print(failure)
print(f"{len(CASES) + 1 - len(failures)} passed, {len(failures)} failed")
sys.exit(bool(failures))
