#!/usr/bin/env python3
"""tests/message.py XPORT [KILLS]: the verbs that exchange messages as a user runs them: ping, and a
file that arrives whole though its sender and its receiver are killed again and again."""

import contextlib
import glob
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

XPORT = str(pathlib.Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 50
SOON = 60  # seconds, for what must happen


def run(*words, timeout=SOON, **more):
    return subprocess.run([XPORT, *map(str, words)], text=True, capture_output=True,
                          timeout=timeout, stdin=subprocess.DEVNULL, check=False, **more)


def start(*words, before=(), **more):
    return subprocess.Popen([*before, XPORT, *map(str, words)], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


class Receiver:
    """One `xport recv --message`, which listens."""

    def __init__(self, *words, listen="127.0.0.1:0", **more):
        self.process = start("recv", "--message", "--listen", listen, *words, **more)
        line = self.process.stderr.readline()
        match = re.match(r"listening on (\S+) as (\S+)", line)
        assert match, line + self.process.stderr.read()
        self.address, self.nid = match.groups()

    def end(self, status=0):
        out, err = self.process.communicate(timeout=SOON)
        assert self.process.returncode == status, (self.process.returncode, out, err)
        return out if status == 0 else err


@contextlib.contextmanager
def receiver(*words, **more):
    """Whatever comes of the case, it does not outlive it."""
    one = Receiver(*words, **more)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()


def make(name, length, seed=1):
    pathlib.Path(name).write_bytes(random.Random(seed).randbytes(length))
    return name


def digest(name):
    return hashlib.sha256(pathlib.Path(name).read_bytes()).hexdigest()


def same(first, second):
    assert digest(first) == digest(second), f"{first} and {second} differ"
    assert not glob.glob(".*.part"), glob.glob(".*.part")


def refused(done, status, words):
    assert done.returncode == status, done
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr, done.stderr


# ---- Files ---------------------------------------------------------------------------------------


def a_file_arrives(length, *words):
    make("data", length)
    with receiver("-o", "out", "--sha256") as one:
        done = run("send", "--message", *words, "data", one.address)
        assert done.returncode == 0, done
        assert digest("data") in one.end()
    same("data", "out")


def figures_are_json():
    make("data", 3_000_000)
    with receiver("-o", "out", "--json", "--sha256") as one:
        sent = json.loads(run("send", "--message", "--json", "data", one.address).stdout)
        received = json.loads(one.end())
    assert sent["bytes"] == received["bytes"] == sent["bytes_sent"] == 3_000_000, (sent, received)
    assert sent["id"] == received["id"] and received["sha256"] == digest("data"), (sent, received)
    assert sent["attempts"] == 1 and sent["bytes_per_second"] > 0, sent


def a_file_that_is_there_is_replaced():
    make("data", 1000)
    make("out", 5000, seed=2)
    os.chmod("out", 0o640)
    with receiver("-o", "out") as one:
        assert run("send", "--message", "data", one.address).returncode == 0
        one.end()
    same("data", "out")
    assert os.stat("out").st_mode & 0o777 == 0o640


def nids_can_be_said():
    make("data", 1000)
    with receiver("-o", "out", "--nid", "10.1.2.3@tcp5") as one:
        assert one.nid == "10.1.2.3@tcp5"
        done = run("send", "--message", "data", one.address, "--timeout", "1s")
        refused(done, 1, "cannot reach")
        done = run("send", "--message", "data", one.address, "--nid", "10.1.2.3@tcp5", "--from",
                   "10.1.2.4@tcp5")
        assert done.returncode == 0, done
        assert "10.1.2.4@tcp5" in one.end()
    same("data", "out")


def part_bytes():
    return sum(os.stat(part).st_size for part in glob.glob(".out.*.part"))


def wait_for_part(more_than=0):
    deadline = time.monotonic() + SOON
    while part_bytes() <= more_than:
        assert time.monotonic() < deadline, "nothing comes"
        time.sleep(0.001)


SLOWLY = ("--block", "4K", "--window", "1")


def a_killed_sender_is_followed_by_another():
    make("data", 50_000_000)
    with receiver("-o", "out") as one:
        first = start("send", "--message", *SLOWLY, "data", one.address)
        wait_for_part()
        first.kill()
        first.communicate()
        kept = part_bytes()
        assert 0 < kept < 50_000_000, kept
        done = run("send", "--message", "--json", "data", one.address)
        assert json.loads(done.stdout)["began_at"] >= kept, (done, kept)
        one.end()
    same("data", "out")


def a_killed_receiver_is_followed_by_another():
    make("data", 50_000_000)
    with receiver("-o", "out") as one:
        sender = start("send", "--message", "--json", *SLOWLY, "data", one.address)
        wait_for_part()
        one.process.kill()
        one.process.communicate()
        kept = part_bytes()
        assert 0 < kept < 50_000_000, kept
        with receiver("-o", "out", "--json", listen=one.address) as other:
            report = json.loads(sender.communicate(timeout=SOON)[0])
            assert report["attempts"] == 2 and report["began_at"] == 0, report
            assert json.loads(other.end())["began_at"] == kept, kept
    same("data", "out")


def kills_everywhere():
    """Sender and receiver are killed at random moments until there were enough."""
    chance, kills, files = random.Random(7), 0, 0
    while kills < KILLS:
        files += 1
        make("data", 60_000_000, seed=files)
        pathlib.Path("out").unlink(missing_ok=True)
        receiving = Receiver("-o", "out", "--sha256")
        words = ("send", "--message", "--block", "16K", "--window", "2", "data", receiving.address)
        sending = start(*words)
        while sending.poll() is None:
            time.sleep(chance.uniform(0.005, 0.1))
            if sending.poll() is not None or kills == KILLS:
                break
            kills += 1
            if chance.random() < 0.5:
                sending.kill()
                sending.communicate()
                sending = start(*words)
            else:
                receiving.process.kill()
                receiving.process.communicate()
                receiving = Receiver("-o", "out", "--sha256", listen=receiving.address)
        out, err = sending.communicate(timeout=SOON)
        assert sending.returncode == 0, (out, err)
        same("data", "out")  # what was acknowledged is there, whoever was killed since
        try:
            receiving.process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it began when all was done, and nobody calls it
            again = run(*words)
            assert again.returncode == 0, again
        assert digest("data") in receiving.end()


# ---- What can't be -------------------------------------------------------------------------------


def nonsense_is_refused():
    make("data", 10)
    refused(run("send", "--message", "data"), 2, "name a file")
    refused(run("send", "--message", "data", "127.0.0.1"), 2, "")
    refused(run("send", "--message", "data", "127.0.0.1:1", "--nid", "x"), 2, "no NID")
    refused(run("send", "--message", "data", "127.0.0.1:1", "--block", "2M"), 2, "--block")
    refused(run("send", "--message", "data", "[::1]:1"), 1, "IPv4")
    refused(run("send", "--message", "nix", "127.0.0.1:1"), 1, "nix")
    refused(run("send", "--message", ".", "127.0.0.1:1"), 1, "regular")
    refused(run("send", "--message", "data", "127.0.0.1:1", "--timeout", "200ms"), 1, "refused")
    refused(run("recv", "--message", "--listen", "127.0.0.1:0"), 2, "-o FILE")
    refused(run("recv", "--message", "-o", "out"), 2, "--listen")
    refused(run("recv", "--message", "--listen", "127.0.0.1:0", "-o", "."), 1, "directory")
    refused(run("recv", "--message", "--listen", "127.0.0.1:0", "-o", "no/out"), 1, "no/out")
    refused(run("recv", "--message", "--listen", "[::1]:0", "-o", "out"), 2, "IPv4")
    refused(run("ping"), 2, "whom to ping")
    refused(run("ping", "127.0.0.1:1"), 1, "refused")


def nobody_comes():
    with receiver("-o", "out", "--timeout", "300ms") as one:
        assert "nothing came" in one.end(1)


def a_file_that_changes_is_not_sent():
    make("data", 50_000_000)
    with receiver("-o", "out") as one:
        sender = start("send", "--message", *SLOWLY, "data", one.address)
        wait_for_part()
        with open("data", "r+b") as file:
            file.truncate(40_000_000)
        _, err = sender.communicate(timeout=SOON)
        assert sender.returncode == 1 and "data has changed" in err, err
        assert run("send", "--message", "data", one.address).returncode == 0  # it is another one
        one.end()
    assert digest("data") == digest("out")
    for part in glob.glob(".out.*.part"):
        os.unlink(part)


def a_full_disk_is_told():
    """On a file system of 1 MiB, where one can be mounted."""
    make("data", 3_000_000)
    os.mkdir("small")
    before = ("unshare", "--mount", "--map-root-user", "sh", "-c",
              'mount -t tmpfs -o size=1m none small && exec "$0" "$@"')
    if subprocess.run([*before[:-1], before[-1].split("&&")[0] + "&& true"], check=False,
                      capture_output=True).returncode != 0:
        return "no file system can be mounted"
    with receiver("-o", "small/out", before=before) as one:
        refused(run("send", "--message", "data", one.address), 1, "cannot take the file")
        words = one.end(1)
        assert "No space left" in words and "stays" in words, words
    return None


def an_interrupt_leaves_the_part():
    make("data", 50_000_000)
    with receiver("-o", "out") as one:
        sender = start("send", "--message", *SLOWLY, "data", one.address)
        wait_for_part()
        one.process.send_signal(signal.SIGINT)
        assert "ended by SIGINT" in one.end(130)
        kept = part_bytes()
        assert 0 < kept < 50_000_000, kept
        sender.send_signal(signal.SIGTERM)
        _, err = sender.communicate(timeout=SOON)
        assert sender.returncode == 143 and "ended by SIGTERM" in err, err
    for part in glob.glob(".out.*.part"):
        os.unlink(part)


# ---- Pings ---------------------------------------------------------------------------------------


def a_node_answers_pings():
    with receiver("-o", "out") as one:
        done = run("ping", one.address)
        assert done.returncode == 0 and re.search(r"0@lo +up\n +127.0.0.1@tcp +up", done.stdout), done
        report = json.loads(run("ping", one.address, "--count", 3, "--interval", "1ms",
                                "--json").stdout)
        assert report["answers"] == 3 and 0 < report["least_seconds"] <= report["mean_seconds"] \
            <= report["most_seconds"] < 5, report
        assert report["interfaces"] == [{"nid": "0@lo", "status": "up"},
                                        {"nid": "127.0.0.1@tcp", "status": "up"}], report
        refused(run("ping", one.address, "--nid", "10.9.9.9@tcp", "--timeout", "1s"), 1, "its NID?")


# ---- The wire ------------------------------------------------------------------------------------


def fields(capture, port, filter_, *names):
    done = subprocess.run(["tshark", "-r", capture, "-d", f"tcp.port=={port},lnet", "-Y", filter_,
                           "-T", "fields", *[word for name in names for word in ("-e", name)]],
                          text=True, capture_output=True, timeout=SOON, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def wireshark_reads_a_session():
    if not shutil.which("tshark") or not shutil.which("dumpcap"):
        return "there is no tshark"
    make("data", 200_000)
    with receiver("-o", "out") as one:
        port = one.address.split(":")[1]
        capture = subprocess.Popen(["dumpcap", "-q", "-i", "lo", "-f", f"tcp port {port}", "-w",
                                    "pcap"], stderr=subprocess.PIPE, text=True)
        try:
            line = capture.stderr.readline()
            while line and "File:" not in line:
                line = capture.stderr.readline()
            if not line:
                return "nothing can be captured"
            time.sleep(0.3)
            # Between two pings each side says that it is alive.
            assert run("ping", one.address, "--count", 2, "--interval", "1200ms", "--timeout",
                       "2s").returncode == 0
            assert run("send", "--message", "--block", "8000", "--checksum", "data",
                       one.address).returncode == 0
            one.end()
            time.sleep(0.3)
        finally:
            capture.terminate()
            capture.wait()
    return judge_session("pcap", port)


def judge_session(capture, port):
    """Every message was understood, and what it is for. Wireshark calls a PUT malformed whose
    payload no dissector of Lustre's portals takes: at the payload, offset 96."""
    types = [kind for row in fields(capture, port, "lnet.msg_type", "lnet.msg_type")
             for kind in row[0].split(",")]
    puts = 200_000 // 8000 + 2  # the end, and that the sender knows
    assert types.count("1") == puts and types.count("0") == puts - 1, types
    assert types.count("2") == types.count("3") >= 3, types
    assert fields(capture, port, "lnet.ksm_type == 0xc0", "lnet.ksm_type"), "no NOOP"
    for row in fields(capture, port, "_ws.malformed || _ws.expert.severity >= error",
                      "_ws.expert.message"):
        for words in row[0].split(",Capture"):
            assert re.fullmatch(r"(Capture)?:8096 offset:96 \(length:0\) msg_type:1 ib_type:00",
                                words), row
    bytes_put = sum(int(length) for row in fields(capture, port, "lnet.msg_type == 1",
                                                  "lnet.payload_length")
                    for length in row[0].split(","))
    assert bytes_put == 200_000, bytes_put
    portals = {portal for row in fields(capture, port, "lnet.ptl_index", "lnet.ptl_index")
               for portal in row[0].split(",")}
    assert portals == {"0", "63"}, portals


# ---- All of them ---------------------------------------------------------------------------------

CASES = [
    *((f"a file of {length} bytes arrives{' with ' if words else ''}{' '.join(words)}",
       a_file_arrives, length, *words)
      for length, *words in ((0,), (1,), (1 << 20,), (20_000_003,), (100, "--block", "1"),
                             (3_000_003, "--checksum", "--block", "100K", "--window", "1"))),
    *((function.__name__.replace("_", " "), function) for function in (
        figures_are_json, a_file_that_is_there_is_replaced, nids_can_be_said,
        a_killed_sender_is_followed_by_another, a_killed_receiver_is_followed_by_another,
        kills_everywhere, nonsense_is_refused, nobody_comes, a_file_that_changes_is_not_sent,
        a_full_disk_is_told, an_interrupt_leaves_the_part, a_node_answers_pings,
        wireshark_reads_a_session)),
]

passed = failed = 0
for sentence, case, *arguments in CASES:
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        try:
            skipped = case(*arguments)
            passed += not skipped
            if skipped:
                print(f"skipped: {sentence}: {skipped}")
        except Exception as error:  # the next case may still tell something
            failed += 1
            print(f"FAILED: {sentence}\n    {type(error).__name__}: {error}")
        os.chdir("/")
print(f"{passed} passed, {failed} failed")
sys.exit(bool(failed))
