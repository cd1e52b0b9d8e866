#!/usr/bin/env bash
# tests/mount.sh XPORT [--long]: the mount and `xport stat` as a user sees them, with publishers,
# daemons and files that are not what they should be. Every read has a time limit: what hangs fails.
# --long kills a hundred publishers and daemons instead of twenty.
set -uo pipefail
xport=$(realpath "$1")
publisher_program=$(dirname "$xport")/test-publisher
work=$(mktemp -d)
chmod 755 "$work"
export XDG_RUNTIME_DIR=$work/run
segments=$XDG_RUNTIME_DIR/xport-$(id -u)
mnt=$work/mnt
mkdir "$XDG_RUNTIME_DIR"
kills=20
[ "${2:-}" = --long ] && kills=100
passed=0 failed=0
cd / || exit 1

# The daemon that serves a directory; nothing when there is none.
daemon_of() {
	local process words
	for process in /proc/[0-9]*; do
		words=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
		[[ $words == *xportfs*" $1 " ]] && echo "${process#/proc/}"
	done
}

# No file of /proc has a size, and who has ended has no words.
is_alive() { [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$1/cmdline")" ]; }

is_mounted() { grep -q " $1 fuse.xport " /proc/mounts; }

cleanup() {
	local directory process
	for directory in "$mnt" "$mnt"-*; do
		process=$(daemon_of "$directory")
		[ -n "$process" ] && kill -9 $process
		while is_mounted "$directory" && "$xport" umount "$directory" 2>/dev/null; do :; done
	done
	for process in $(cat "$work/pids" 2>/dev/null); do kill -9 "$process" 2>/dev/null; done
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

try() { # SENTENCE FUNCTION...
	local sentence=$1
	shift
	if ("$@") >"$work/log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $sentence"
		sed 's/^/    /' "$work/log" | tail -n 20
	fi
}

# Starts a publisher; its process is then in $publisher, the name of its segment in $segment.
publisher= segment=
start_publisher() {
	local out=$work/out.$RANDOM
	"$publisher_program" "$@" >"$out" &
	publisher=$!
	echo $publisher >>"$work/pids"
	for _ in $(seq 200); do
		segment=$(cat "$out")
		[ -n "$segment" ] && break
		sleep 0.01
	done
	rm -f "$out"
	[ -n "$segment" ]
}

end_publisher() { # SIGNAL
	kill "-$1" $publisher
	wait $publisher 2>/dev/null
	return 0
}

forget_dead() { rm -f "$segments"/*; }

# grep -q would end before what it reads from, which then fails.
has() { grep "$@" >/dev/null; }

within() { timeout -k 1 10 "$@"; }

mount_again() {
	is_mounted "$mnt" && [ -n "$(daemon_of "$mnt")" ] && return 0
	within "$xport" mount "$mnt"
}

one_line() { # PATTERN FILE
	[ "$(wc -l <"$2")" -eq 1 ] && grep -qE "$1" "$2" || { cat "$2"; return 1; }
}

# ---- Without a mount -------------------------------------------------------------------------

stat_of_nobody() {
	"$xport" stat | has 'no xport process' || return 1
	[ "$("$xport" stat --json)" = '[]' ] || return 1
	"$xport" stat nobody 2>"$work/err" && return 1
	one_line "'nobody'" "$work/err"
}

stat_shows() {
	start_publisher shown || return 1
	"$xport" stat "$publisher" | has 'in_flight  *0  requests' || return 1
	"$xport" stat shown --json | python3 -c '
import json, sys
process, = json.load(sys.stdin)
assert process["state"] == "live" and len(process["blocks"]) == 3, process
values = process["blocks"][0]["values"]
assert values["posted"] == 10 and values["latency_p99_ns"] == 1048575, values
' || return 1
	"$xport" stat --check shown | has 'all laws hold, in 3 objects' || return 1
	"$xport" stat --describe | has 'requests that were handed over' || return 1
	timeout 1.5 "$xport" stat --watch >"$work/watched"
	[ "$(grep -c '^shown' "$work/watched")" -ge 2 ] || return 1
	end_publisher KILL
	"$xport" stat "$segment" | has "^$segment  dead" || return 1
	forget_dead
}

stat_finds_a_lost_completion() {
	start_publisher losing lose || return 1
	"$xport" stat --check >"$work/out" 2>"$work/err"
	[ $? -eq 1 ] || return 1
	end_publisher TERM
	one_line "$segment/tests/thing.1: posted>=done is broken: 10 and 9" "$work/err"
}

stat_skips_damage() {
	start_publisher good || return 1
	head -c 70000 /dev/urandom >"$segments/noise.1"
	chmod 600 "$segments/noise.1"
	mkfifo "$segments/fifo.1"
	ln -s "$segment" "$segments/link.1"
	within "$xport" stat >"$work/out" 2>"$work/err" || return 1
	[ "$(grep -c '^[a-z]' "$work/out")" -eq 1 ] && grep -q 'noise.1: damaged' "$work/err"
	local status=$?
	end_publisher TERM
	forget_dead
	return $status
}

# ---- Ordinary tools --------------------------------------------------------------------------

tools_work() {
	start_publisher tools || return 1
	local there=$mnt/$segment/tests/thing.1 copy=$work/copy status
	[ "$(within cat "$mnt/$segment/state")" = live ] &&
		[ "$(within cat "$there/posted")" = 10 ] &&
		within grep -q '^posted 10$' "$there/stat" &&
		[ "$(within grep -rc . "$mnt" | grep -c ':0$')" -eq 0 ] &&
		[ "$(within find "$mnt/$segment" -type f | wc -l)" -eq 18 ] &&
		within find "$mnt" -name posted -newermt 2020-01-01 | has . &&
		[ "$(within wc -l <"$there/posted")" -eq 1 ] &&
		within awk '$1 == "posted" && $2 == 10 { n++ } END { exit n != 1 }' "$there/stat" &&
		within awk '$1 + 0 > 0 && $2 == 10 { n++ } END { exit n != 1 }' "$there/latency" &&
		[ "$(within head -n 1 "$mnt/$segment/stat" | cut -d' ' -f1)" = time_ns ] &&
		within tail -n 1 "$mnt/$segment/stat" | has '^consistent 1$' &&
		[ "$(within dd if="$there/posted" bs=1 skip=1 count=1 status=none)" = 0 ] &&
		[ -z "$(within dd if="$there/posted" bs=1 skip=9 status=none)" ] &&
		within ls -lR "$mnt" | has ' latency$' &&
		within cp -r "$mnt/$segment" "$copy" &&
		cmp "$there/posted" "$copy/tests/thing.1/posted" &&
		within df "$mnt" >/dev/null &&
		within stat -f "$mnt" | has 'Namelen: 63' &&
		grep -q 'grep -r' "$mnt/README"
	status=$?
	end_publisher TERM
	return $status
}

nothing_can_be_written() {
	start_publisher readonly || return 1
	! touch "$mnt/x" && ! mkdir "$mnt/x" && ! rm "$mnt/README" &&
		! sh -c "echo 1 >'$mnt/$segment/tests/thing.1/posted'"
	local status=$?
	end_publisher TERM
	return $status
}

inodes_stay() {
	start_publisher inodes || return 1
	local first second
	first=$(within find "$mnt" -printf '%p %i\n')
	sleep 1.2
	second=$(within find "$mnt" -printf '%p %i\n')
	end_publisher TERM
	[ "$first" = "$second" ] && [ -z "$(cut -d' ' -f2 <<<"$first" | sort | uniq -d)" ]
}

open_files_are_read_again() {
	start_publisher again || return 1
	within python3 - "$mnt/$segment/tests/thing.3" <<-'EOF2'
		import os, sys, time
		posted, stat = (os.open(f"{sys.argv[1]}/{name}", os.O_RDONLY) for name in ("posted", "stat"))
		last = 0
		for _ in range(200):
		    now = int(os.pread(posted, 100, 0))
		    assert now >= last, (now, last)
		    last = now
		    text = os.pread(stat, 10000, 0).decode()
		    assert text.startswith("time_ns ") and "BROKEN" not in text, text
		    assert text.encode()[7:] == os.pread(stat, 10000, 7)  # the same until read from 0
		    time.sleep(0.001)
		assert last > 100, last
	EOF2
	local status=$?
	end_publisher TERM
	return $status
}

# ---- Processes that end ----------------------------------------------------------------------

killed_is_dead() {
	start_publisher killed || return 1
	[ "$(within cat "$mnt/$segment/state")" = live ] || return 1
	end_publisher KILL
	[ "$(within cat "$mnt/$segment/state")" = dead ] &&
		within grep -q '^state live' "$mnt/$segment/tests/thing.3/stat" &&
		[ "$(within cat "$mnt/$segment/tests/thing.1/posted")" = 10 ] || return 1
	forget_dead
	! within ls "$mnt/$segment"
}

ended_vanishes() {
	start_publisher ended || return 1
	within ls -R "$mnt/$segment" >/dev/null || return 1
	exec 3<"$mnt/$segment/tests/thing.3/posted" 4<"$mnt/$segment/stat"
	end_publisher TERM
	! within ls "$mnt/$segment" || return 1
	! within ls "$mnt" | has "$segment" || return 1
	within cat <&3
	within cat <&4 # whatever they give, nobody hangs or falls
	exec 3<&- 4<&-
	[ -n "$(daemon_of "$mnt")" ] && within ls "$mnt" >/dev/null
}

many_objects() {
	start_publisher many 400 || return 1
	[ "$(within ls "$mnt/$segment/tests" | wc -l)" -eq 401 ] &&
		[ "$(within cat "$mnt/$segment"/tests/*/posted | grep -c '^10$')" -eq 400 ] &&
		[ "$(within grep -c /posted "$mnt/$segment/stat")" -eq 401 ]
	local status=$?
	end_publisher TERM
	return $status
}

# ---- Segments that are none ------------------------------------------------------------------

hostile_segments() {
	start_publisher good || return 1
	local before status
	before=$(daemon_of "$mnt")
	mkfifo "$segments/fifo.1"
	mkdir "$segments/directory.1"
	ln -s "$segment" "$segments/link.1"
	: >"$segments/empty.1"
	timeout 100 python3 - "$segments" "$segment" "$mnt" <<-'EOF2'
		import os, random, sys
		segments, good, mnt = sys.argv[1:]
		data = bytearray(open(f"{segments}/{good}", "rb").read())
		offset = int.from_bytes(data[32:36], "little") + 2 * 64  # of the third slot
		end = int.from_bytes(data[offset + 12:offset + 16], "little")
		end = max(end, 4096)
		path = f"{segments}/hostile.1"
		fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
		rng = random.Random(7)
		read = 0
		for variant in range(150):
		    os.pwrite(fd, data, 0)
		    os.ftruncate(fd, len(data))
		    for _ in range(rng.randint(0, 6)):
		        word = rng.choice((0, 1, 0xffffffff, 65536, len(data), rng.getrandbits(32)))
		        where = rng.randrange(0, rng.choice((360, end))) // 4 * 4
		        os.pwrite(fd, word.to_bytes(4, "little"), where)
		    opened = []
		    for folder, _, files in os.walk(f"{mnt}/hostile.1"):
		        for name in files:
		            try:
		                opened.append(os.open(f"{folder}/{name}", os.O_RDONLY))
		                read += len(os.read(opened[-1], 1 << 20))
		            except OSError:
		                pass
		    if variant % 5 == 0:
		        os.ftruncate(fd, rng.choice((0, 100, 4096, 65536)))
		    if variant % 7 == 0:
		        os.pwrite(fd, os.urandom(4096), 0)
		    for file in opened:
		        try:
		            os.pread(file, 1 << 20, 0)
		        except OSError:
		            pass
		        os.close(file)
		    if variant % 25 == 24:  # another file of the same name
		        os.close(fd)
		        os.unlink(path)
		        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
		assert read > 100000, read
		assert sorted(os.listdir(mnt))[:1] == ["README"]
	EOF2
	status=$?
	[ "$(within ls "$mnt" | grep -cE '^(fifo|directory|link|empty)')" -eq 0 ] || status=1
	[ "$(within cat "$mnt/$segment/state")" = live ] || status=1
	[ "$(daemon_of "$mnt")" = "$before" ] || { echo "the daemon died"; status=1; }
	end_publisher TERM
	rmdir "$segments/directory.1"
	forget_dead
	return $status
}

# ---- The daemon ------------------------------------------------------------------------------

mount_twice() {
	within "$xport" mount "$mnt" | has 'already mounted'
}

mount_at_once() {
	mkdir "$mnt-race"
	for _ in 1 2 3 4; do within "$xport" mount "$mnt-race" & done
	wait
	[ "$(daemon_of "$mnt-race" | wc -l)" -eq 1 ] && within "$xport" umount "$mnt-race" &&
		! is_mounted "$mnt-race" && [ -z "$(daemon_of "$mnt-race")" ]
}

two_mounts() {
	start_publisher both || return 1
	within "$xport" mount "$mnt-two" || return 1
	[ "$(within cat "$mnt-two/$segment/state")$(within cat "$mnt/$segment/state")" = livelive ] &&
		within "$xport" umount "$mnt-two" && ! is_mounted "$mnt-two" &&
		[ "$(within cat "$mnt/$segment/state")" = live ]
	local status=$?
	end_publisher TERM
	return $status
}

umount_in_use() {
	mount_again || return 1
	local before
	before=$(daemon_of "$mnt")
	exec 3<"$mnt/README"
	(cd "$mnt" && within "$xport" umount "$mnt") || return 1
	! is_mounted "$mnt" && ! is_alive "$before" || return 1
	within head -c 1 <&3 && return 1 # an error, and no waiting
	exec 3<&-
	within "$xport" umount "$mnt" 2>"$work/err" && return 1
	one_line 'not mounted' "$work/err" && mount_again
}

killed_daemon() {
	mount_again && kill -9 "$(daemon_of "$mnt")" && sleep 0.1 || return 1
	! within ls "$mnt" && within "$xport" mount "$mnt" && within ls "$mnt/README" || return 1
	kill -9 "$(daemon_of "$mnt")" && sleep 0.1
	within "$xport" umount "$mnt" && ! is_mounted "$mnt" && mount_again
}

silent_daemon() {
	mount_again || return 1
	local before
	before=$(daemon_of "$mnt")
	kill -STOP "$before"
	! within "$xport" mount "$mnt" 2>"$work/err" && one_line 'does not answer' "$work/err" &&
		within "$xport" umount "$mnt" && ! is_mounted "$mnt"
	local status=$?
	kill -CONT "$before"
	for _ in $(seq 50); do is_alive "$before" || break; sleep 0.05; done
	! is_alive "$before" && [ $status -eq 0 ] && mount_again
}

ends_by_signal() { # SIGNAL
	env --default-signal=INT "$xport" mount --foreground "$mnt-signal" &
	local daemon=$!
	for _ in $(seq 100); do [ -e "$mnt-signal/README" ] && break; sleep 0.05; done
	kill "-$1" $daemon
	wait $daemon && ! is_mounted "$mnt-signal"
}

refused() { # PATTERN DIR
	within "$xport" mount "$2" 2>"$work/err" && return 1
	one_line "$1" "$work/err"
}

full_directory() {
	mkdir -p "$work/full/of" && refused 'not empty' "$work/full"
}

# A copy, for the build directory may be closed to others.
plain_user() {
	local as=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$work/home"
		XDG_RUNTIME_DIR="$work/home")
	"${as[@]}" true 2>/dev/null || return 0 # only root can be somebody else
	mkdir -p "$work/bin" "$work/home" && cp "$xport"* "$(dirname "$xport")"/xportfs* "$work/bin"
	chown 65534:65534 "$work/home"
	local program
	program=$work/bin/$(basename "$xport")
	within "${as[@]}" "$program" stat | has 'no xport process' || return 1
	mkdir -p "$work/closed"
	within "${as[@]}" "$program" mount "$work/closed/xport" 2>"$work/err" && return 1
	one_line 'cannot make .*xport mount ~/xport' "$work/err" || return 1
	if within "${as[@]}" "$program" mount "$work/home/xport" 2>"$work/err"; then
		within "${as[@]}" cat "$work/home/xport/README" >/dev/null
		within "${as[@]}" "$program" umount "$work/home/xport"
	else
		one_line 'fuse.*xport doctor' "$work/err"
	fi
}

# Publishers and daemons die at any time while somebody reads everything.
kills() {
	mount_again || return 1
	touch "$work/reading"
	while [ -e "$work/reading" ]; do
		within grep -rc . "$mnt" >/dev/null 2>&1
		[ $? -ge 124 ] && touch "$work/hung"
	done &
	local reader=$! status=0
	for i in $(seq "$kills"); do
		start_publisher "kill$i" || status=1
		sleep "0.0$((RANDOM % 5))"
		within cat "$mnt/$segment/tests/thing.3/stat" | has BROKEN && status=1
		end_publisher KILL
		[ "$(within cat "$mnt/$segment/state")" = dead ] || { echo "not dead: $i"; status=1; }
		within "$xport" stat --check "$segment" || status=1
		kill -9 "$(daemon_of "$mnt")" || status=1
		within "$xport" mount "$mnt" || status=1
		[ "$(within cat "$mnt/$segment/state")" = dead ] || { echo "not there: $i"; status=1; }
	done
	rm "$work/reading"
	wait $reader
	[ ! -e "$work/hung" ] || { echo "a reader hung"; status=1; }
	[ "$(daemon_of "$mnt" | wc -l)" -eq 1 ] || status=1
	[ "$(within ls "$mnt" | grep -c ^kill)" -eq "$kills" ] || status=1
	forget_dead
	return $status
}

nothing_is_left() {
	within "$xport" umount "$mnt" && ! is_mounted "$mnt" && [ -z "$(daemon_of "$mnt")" ]
}

# ---- All -------------------------------------------------------------------------------------

try "without a process, xport stat says so" stat_of_nobody
try "xport stat shows what a process counts" stat_shows
try "xport stat --check finds a lost completion" stat_finds_a_lost_completion
try "xport stat skips what is no segment" stat_skips_damage

if ! "$xport" mount "$mnt" >"$work/log" 2>&1; then
	if grep -qE 'without libfuse3|not permitted|ermission denied' "$work/log" ||
		! (exec 3<>/dev/fuse) 2>/dev/null; then
		echo "skipped: everything about the mount: $(cat "$work/log")"
	else
		failed=$((failed + 1))
		cat "$work/log"
	fi
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
	exit
fi
try "cat, grep, find, wc, awk, head, tail, dd, ls, cp and df work" tools_work
try "nothing can be written" nothing_can_be_written
try "inode numbers stay, and no two are the same" inodes_stay
try "an open file is read again from its start" open_files_are_read_again
try "a killed process stays, as dead" killed_is_dead
try "a process that ends in good order vanishes, its open files harm nobody" ended_vanishes
try "hundreds of objects are all there" many_objects
try "hostile segments harm nobody" hostile_segments
try "mounting again says so" mount_twice
try "of several that mount at once, one does" mount_at_once
try "two mounts at once" two_mounts
try "a mount in use is unmounted" umount_in_use
try "a killed daemon: mounted again, or unmounted" killed_daemon
try "a daemon that does not answer is left behind" silent_daemon
try "the daemon ends by SIGTERM" ends_by_signal TERM
try "the daemon ends by SIGINT" ends_by_signal INT
try "a directory that is not empty is refused" full_directory
try "another file system is refused" refused 'another file system' /proc
try "a directory in no directory is refused" refused 'No such file' "$work/no/where"
try "a plain user is told what to do" plain_user
try "$kills publishers and daemons are killed" kills
try "nothing is left in the end" nothing_is_left

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
