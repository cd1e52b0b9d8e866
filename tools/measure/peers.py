"""Messages over loopback TCP by several means: who takes part in which work, and one run of each.

tools/bench takes its table from here, and tests/peers.py its cases. A tool is measured by a program
of tools/measure that prints one line of JSON (peer_run.h says what that means), or it is iperf3."""

import collections
import json
import shutil
import socket
import subprocess

SIZES = (64, 1 << 10, 64 << 10, 1 << 20)
CONNECTIONS = (1, 16, 128, 1000)
PINGPONG_SIZES = (64, 64 << 10)
BULK_BYTES = 256 << 10
IPERF3_STREAMS = 128  # it takes no more
TURN_BYTES = 64 << 10

# What it is compared as ("raw", "library" or "xport"), the program in the build, and its works.
Tool = collections.namedtuple("Tool", "name kind program works")

TOOLS = (
    Tool("raw-send", "raw", "measure-peer", ("stream", "bulk", "pingpong")),
    Tool("raw-writev", "raw", "measure-peer", ("stream",)),
    Tool("raw-staged", "raw", "measure-peer", ("stream",)),
    Tool("raw-epoll", "raw", "measure-peer", ("pingpong",)),
    Tool("raw-poll", "raw", "measure-peer", ("pingpong",)),
    Tool("zeromq", "library", "measure-peer-zeromq", ("stream", "bulk", "pingpong")),
    Tool("nng", "library", "measure-peer-nng", ("stream", "bulk", "pingpong")),
    Tool("iperf3", "raw", "iperf3", ("stream", "bulk")),
    Tool("xport", "xport", "measure-peer-xport", ("stream", "bulk", "pingpong")),
    Tool("xport-threads", "xport", "measure-peer-xport", ("stream", "pingpong")),
    Tool("xport-parks", "xport", "measure-peer-xport", ("pingpong",)),
)
PROGRAMS = sorted({tool.program for tool in TOOLS} - {"iperf3"})


def missing(build):
    """The tools that can't be measured here, each with the reason."""
    reasons = {}
    for tool in TOOLS:
        if tool.program == "iperf3":
            if shutil.which("iperf3") is None:
                reasons[tool.name] = "iperf3 is not installed"
        elif not (build / tool.program).exists():
            reasons[tool.name] = f"{tool.program} is not built, its library is not installed"
    return reasons


def takes_part(tool, work, message_bytes, connections):
    if tool.name == "raw-writev" and message_bytes >= TURN_BYTES:
        return False  # a turn is one message then, and a vector of one a send
    if tool.name == "iperf3" and connections > IPERF3_STREAMS:
        return False
    return work in tool.works


def shapes(work, brief=False):
    """The message sizes and numbers of connections of a work; brief: those of two lines."""
    if work == "stream" and brief:
        return [(SIZES[0], connections) for connections in CONNECTIONS] + \
            [(size, CONNECTIONS[0]) for size in SIZES[1:]]
    if work == "stream":
        return [(size, connections) for size in SIZES for connections in CONNECTIONS]
    return [(size, 1) for size in ((BULK_BYTES,) if work == "bulk" else PINGPONG_SIZES)]


class Failed(Exception):
    pass


def output(command, timeout):
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(map(str, command))}: not over after {timeout} s") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def iperf3(work, message_bytes, connections, seconds):
    """A stream of bytes, written MESSAGE_BYTES at a time: iperf3 has no messages, so that nobody
    finds any in the stream or counts them. Its times are whole seconds, and it has no warm-up
    shorter than one; it runs without. Bytes are those that its receiver has counted."""
    port, whole = free_port(), max(1, round(seconds))
    with subprocess.Popen(["iperf3", "--server", "--one-off", "--bind", "127.0.0.1", "--port",
                           str(port), "--forceflush"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as server:
        try:
            for line in server.stdout:
                if "listening" in line:
                    break
            report = json.loads(output(
                ["iperf3", "--client", "127.0.0.1", "--port", port, "--length", message_bytes,
                 "--parallel", connections, "--time", whole, "--interval", 0, "--no-delay",
                 "--json"], whole + 60))
        finally:
            server.terminate()
            server.stdout.close()
    received = report["end"]["sum_received"]
    return {"work": work, "tool": "iperf3", "message_bytes": message_bytes,
            "connections": connections, "seconds": received["seconds"],
            "bytes_per_second": received["bits_per_second"] / 8}


def run(build, tool, work, message_bytes, connections, seconds):
    """One run: what the program printed."""
    if tool.program == "iperf3":
        return iperf3(work, message_bytes, connections, seconds)
    return json.loads(output([build / tool.program, tool.name, work, message_bytes, connections,
                              seconds], 2 * seconds + 90))
