#!/usr/bin/env python3
"""tests/peers.py BUILD: every tool of the table of messages does each of its works for a moment, with
two connections where it can have two, and reports what it should. Nothing is timed here."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()
sys.path.insert(0, str(ROOT / "tools" / "measure"))
sys.dont_write_bytecode = True
import peers  # noqa: E402

SECONDS = 0.1
MOST_BYTES = 1e12  # a second; beyond that somebody miscounts


def wrong(report, tool, work, message_bytes, connections):
    """What is wrong with the report, in words, or nothing."""
    for key, value in (("work", work), ("tool", tool.name), ("message_bytes", message_bytes),
                       ("connections", connections)):
        if report.get(key) != value:
            return f"{key} is {report.get(key)}, not {value}"
    if work == "pingpong":
        if not 0 < report["median_ns"] <= report["p99_ns"] < 60e9 or report["rounds"] < 1:
            return "no such round trips"
        return None
    if not 0 < report["bytes_per_second"] < MOST_BYTES or report["seconds"] < SECONDS:
        return "no such rate"
    if tool.name == "iperf3":
        return "iperf3 has no messages" if "messages" in report else None
    rate = report["messages"] / report["seconds"]
    if report["messages"] < 1 or abs(report["messages_per_second"] / rate - 1) > 0.01 or \
            abs(report["bytes_per_second"] / (rate * message_bytes) - 1) > 0.01:
        return "messages, bytes and seconds do not agree"
    return None


def cases(tool):
    for work in tool.works:
        for message_bytes in (64, 1000, 1 << 20) if work == "stream" else (100000,):
            connections = 2 if work == "stream" else 1
            if peers.takes_part(tool, work, message_bytes, connections) and \
                    (tool.name != "iperf3" or message_bytes == 100000):  # it takes a second
                yield work, message_bytes, connections
    if "stream" in tool.works and tool.name != "iperf3":
        yield "stream", 64, 1000


def refusals():
    """A program says no, with words, to what it can't do."""
    for words in ((), ("raw-send", "stream", 8, 1, 1), ("raw-send", "pingpong", 64, 2, 1),
                  ("raw-epoll", "stream", 64, 1, 1), ("other", "stream", 64, 1, 1)):
        done = subprocess.run([BUILD / "measure-peer", *map(str, words)], capture_output=True,
                              text=True, timeout=10)
        if done.returncode != 2 or "usage" not in done.stderr:
            yield f"measure-peer {words}: status {done.returncode}"


passed, failures, absent = 1, [], peers.missing(BUILD)
failures += refusals()
passed -= bool(failures)
for tool in peers.TOOLS:
    if tool.name in absent:
        print(f"skipped: {tool.name}: {absent[tool.name]}")
        continue
    for case in cases(tool):
        try:
            reason = wrong(peers.run(BUILD, tool, *case, SECONDS), tool, *case)
        except (peers.Failed, ValueError, KeyError) as error:
            reason = repr(error)
        if reason:
            failures.append(f"{tool.name}, {case}: {reason}")
        else:
            passed += 1
for failure in failures:
    print(f"FAILED: {failure}")
print(f"{passed} passed, {len(failures)} failed, {len(absent)} skipped")
sys.exit(bool(failures))
