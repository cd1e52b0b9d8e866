#!/usr/bin/env python3
"""Checks the search of schedules: tests/explore.py BUILD_DIR [--long]

The scenarios of the stages pass, the canaries are found, shrunk and replayed, and what makes no
sense is refused with a line."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(sys.argv[1]).resolve()
ROOT = pathlib.Path(__file__).resolve().parent.parent
LONG = "--long" in sys.argv[2:]
XPORT = BUILD / "xport"
FLAVOURS = [name for name in ("xport", "xport-asan", "xport-tsan") if (BUILD / name).exists()]
SCHEDULES = {"xport": 10_000_000 if LONG else 30_000,
             "xport-asan": 200_000 if LONG else 3_000,
             "xport-tsan": 100_000 if LONG else 1_500}


def xport(*words, binary=XPORT, timeout=3600):
    return subprocess.run([str(binary), *map(str, words)], text=True, capture_output=True,
                          timeout=timeout, stdin=subprocess.DEVNULL, check=False)


def search(scenario, *words, binary=XPORT):
    done = xport("sim", scenario, "--json", *words, binary=binary)
    assert done.returncode in (0, 1) and done.stdout, done
    report = json.loads(done.stdout)
    assert report["found"] == (done.returncode == 1), done
    return report


SCENARIOS = [entry["scenario"] for entry in json.loads(xport("sim", "list", "--json").stdout)]
CANARIES = [name for name in SCENARIOS if name.startswith("canary/")]


def runs_nodes(scenario):
    """Whole nodes: thousands of steps a run."""
    return scenario.startswith(("message/", "scheduler/", "delivery/"))


def effort(scenario, flavour):
    """How many orders of events, and how many deviations are exhausted."""
    if not runs_nodes(scenario):
        return SCHEDULES[flavour], 2
    if not scenario.startswith("delivery/"):
        return SCHEDULES[flavour] // (1 if LONG else 3), 2
    return SCHEDULES[flavour] // (10 if LONG else 3), 1 if flavour == "xport" else 0


def scenario_passes(scenario, flavour):
    schedules, bound = effort(scenario, flavour)
    report = search(scenario, "--budget", "1200s", "--schedules", schedules, "--bound", bound,
                    binary=BUILD / flavour)
    assert not report["found"], report
    assert report["schedules"] >= schedules, report
    if flavour == "xport" and (LONG or bound == 1):
        # With one deviation all orders of nodes are tried, with two there are too many.
        assert report["exhausted_bound"] == (1 if runs_nodes(scenario) else 2), report


def canary_is_found(scenario, flavour):
    report = search(scenario, "--budget", "60s", "--schedules", 100_000, binary=BUILD / flavour)
    assert report["found"] and report["deviations"] <= 2, report
    assert report["rule"] in ("SCENARIO", "DEADLOCK", "LOCK-ORDER"), report
    for strategy in ("pos", "uniform", "pct", "sticky"):
        alone = search(scenario, "--strategy", strategy, "--schedules", 20_000, "--budget", "60s",
                       binary=BUILD / flavour)
        assert alone["found"] and alone["rule"] == report["rule"], (strategy, alone)


def token_replays(scenario):
    report = search(scenario)
    words = None
    for _ in range(100):
        done = xport("replay", report["token"])
        assert done.returncode == 1, done
        assert words is None or done.stdout == words
        words = done.stdout
    assert report["rule"] in words or "deadlock" in words, words
    assert report["token"] in words, words
    chart = words.split("\n\n")[1].splitlines()
    assert chart[0].startswith("   step  main") and len(chart) <= 40, words


def trace_is_written():
    report = search(CANARIES[0])
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = xport("replay", report["token"], "--trace", file.name)
        assert done.returncode == 1, done
        events = json.load(open(file.name, encoding="utf-8"))["traceEvents"]
    assert {event["args"]["name"] for event in events if event["name"] == "thread_name"} == {
        "main 0", "thread 1", "thread 2"}, events
    refused("cannot write", 1, "replay", report["token"], "--trace", "/no/such/file")


def same_seed_same_search():
    first, second = (search("link/transfer", "--seed", 7, "--schedules", 500, "--strategy", "pos")
                     for _ in range(2))
    for report in (first, second):
        del report["seconds"], report["schedules_per_second"]
    assert first == second, (first, second)


def same_in_every_build():
    """gcc and clang, optimised or not: one order of events for one seed."""
    hashes = set()
    for name, compiler, level in (("O2", "gcc", "2"), ("O0", "gcc", "0"), ("clang", "clang", "2")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / name
            subprocess.run([ROOT / "tools" / "build", folder, f"-Doptimization={level}",
                            "-Dsanitizers=false", "xport", "xport-sim"], check=True,
                           env=os.environ | {"CC": compiler}, stderr=subprocess.DEVNULL)
            for scenario in ("link/transfer", "request/cancel"):
                report = search(scenario, "--strategy", "pos", "--schedules", 2000,
                                "--budget", "600s", binary=folder / "xport")
                hashes.add((scenario, report["hash"]))
    assert len(hashes) == 2, hashes


def refused(words, status, *command):
    done = xport(*command)
    assert done.returncode == status, done
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr, done.stderr


def nonsense_is_refused():
    refused("no scenario 'nix'", 2, "sim", "nix")
    refused("which scenario", 2, "sim")
    refused("--budget 0", 2, "sim", "request/cancel", "--budget", "0s")
    refused("--budget 'soon'", 2, "sim", "request/cancel", "--budget", "soon")
    refused("--strategy 'luck'", 2, "sim", "request/cancel", "--strategy", "luck")
    refused("out of range", 2, "sim", "request/cancel", "--processors", "65")
    refused("give one token", 2, "replay")
    for token in ("x", "", "request/cancel", "request/cancel@", "request/cancel@0000000:p2r1",
                  "request/cancel@00000000:p2", "request/cancel@00000000:p0r1",
                  "request/cancel@00000000:p2r1:", "request/cancel@00000000:p2r1:1.2.3",
                  "request/cancel@00000000:p2r1:1.2.3-0", "request/cancel@00000000:p2r1:1.2.3-1,",
                  "request/cancel@00000000:p2r1:1.2.99999-1", "request/cancel@zzzzzzzz:p2r1"):
        refused("no token", 2, "replay", token)
    refused("does not have", 2, "replay", "nix/nix@00000000:p2r1")


def another_build_is_said():
    done = xport("replay", "canary/lost-update@12345678:p2r1:1.2.0-9,7.1.0-3")
    assert "another build" in done.stderr and done.returncode in (0, 1), done


CASES = [(f"{flavour}: {name}", scenario_passes, name, flavour) for flavour in FLAVOURS
         for name in SCENARIOS if name not in CANARIES]
CASES += [(f"{flavour}: {name} is found", canary_is_found, name, flavour) for flavour in FLAVOURS
          for name in CANARIES]
CASES += [(f"{name}: its token replays 100 times", token_replays, name) for name in CANARIES]
CASES += [(function.__name__.replace("_", " "), function) for function in (
    trace_is_written, same_seed_same_search, *([same_in_every_build] if LONG else []), nonsense_is_refused, another_build_is_said)]


def run(case):
    try:
        case[1](*case[2:])
    except Exception as error:
        return f"FAILED: {case[0]}\n    {type(error).__name__}: {error}"
    return None


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    failures = [failure for failure in pool.map(run, CASES) if failure]
for failure in failures:
    print(failure)
print(f"{len(CASES) - len(failures)} passed, {len(failures)} failed")
sys.exit(bool(failures))
