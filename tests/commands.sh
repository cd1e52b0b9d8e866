#!/usr/bin/env bash
# tests/commands.sh XPORT: the commands as a user runs them, with nc and with each other as the far
# end. Every case is a function; what it prints before it fails is shown.
set -uo pipefail
xport=$(realpath "$1")
work=$(mktemp -d)
passed=0 failed=0
wan_name=test-$$
started=()

cleanup() {
	for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null; done
	"$xport" wan down --name "$wan_name" >/dev/null 2>&1
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1

head -c 20000003 /dev/urandom >data
: >empty
printf x >one
head -c 20003 data >little
head -c 300000000 /dev/zero >large

try() { # SENTENCE FUNCTION...
	local sentence=$1
	shift
	if ("$@") >case.log 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $sentence"
		sed 's/^/    /' case.log | tail -n 20
	fi
}

# Starts `xport recv` with these options on a free port; its address is then in $address.
receiver= address=
start_receiver() {
	rm -f recv.err
	# A shell starts what is in the background with SIGINT ignored.
	env --default-signal=INT "$xport" recv --listen 127.0.0.1:0 "$@" 2>recv.err >recv.out &
	receiver=$!
	find_address
}

find_address() {
	for _ in $(seq 200); do
		address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' recv.err 2>/dev/null)
		[ -n "$address" ] && return 0
		sleep 0.05
	done
	cat recv.err
	return 1
}

# Starts `nc -l` on a free port; what comes goes through the command, if there is one, into the file
# nc.out. Its address is then in $address.
listener=
start_nc() { # [COMMAND]
	local port
	for port in $(shuf -i 20000-60000 -n 20); do
		nc -l 127.0.0.1 "$port" > >("${@:-cat}" >nc.out) 2>nc.err </dev/null &
		listener=$!
		started+=($listener)
		sleep 0.3
		if kill -0 $listener 2>/dev/null; then
			address=127.0.0.1:$port
			return 0
		fi
	done
	return 1
}

no_parts() {
	[ -z "$(find . -name '*.part')" ] || { echo "left behind: $(find . -name '*.part')"; return 1; }
}

# ---- Transfers -------------------------------------------------------------------------------

between() { # FILE SEND_OPTIONS...
	local file=$1
	shift
	start_receiver -o out || return 1
	"$xport" send --to "$address" "$@" "$file" || return 1
	wait $receiver || return 1
	cmp "$file" out && no_parts
}

from_nc() {
	start_receiver -o out || return 1
	nc -N "${address%:*}" "${address#*:}" <data || return 1
	wait $receiver || return 1
	cmp data out
}

to_nc() { # SEND_OPTIONS...
	start_nc || return 1
	"$xport" send --to "$address" "$@" data || return 1
	for _ in $(seq 40); do cmp -s data nc.out && return 0; sleep 0.1; done
	cmp data nc.out
}

through_pipes() {
	start_receiver || return 1
	cat data | "$xport" send --to "$address" - || return 1
	wait $receiver || return 1
	cmp data recv.out
}

json() {
	start_receiver -o out --json || return 1
	"$xport" send --json --to "$address" data >send.json || return 1
	wait $receiver || return 1
	python3 - <<-'EOF'
		import json
		sent, received = json.load(open("send.json")), json.load(open("recv.out"))
		assert sent["bytes"] == received["bytes"] == 20000003, (sent, received)
		assert sent["bytes_per_second"] > 0, sent
	EOF
}

replaces_only_when_whole() {
	echo before >out
	start_receiver -o out || return 1
	grep -q before out || return 1
	"$xport" send --to "$address" data || return 1
	wait $receiver || return 1
	cmp data out
}

# ---- Ends that are not regular ---------------------------------------------------------------

fails_with() { # STATUS PATTERN FILE
	[ "$1" -ne 0 ] || { echo "status 0"; return 1; }
	[ "$(wc -l <"$3")" -le "${4:-1}" ] || { echo "more than one line:"; cat "$3"; return 1; }
	grep -qiE "$2" "$3" || { echo "not '$2':"; cat "$3"; return 1; }
}

killed_sender() {
	start_receiver -o out2 || return 1
	(cat data; sleep 3) | "$xport" send --to "$address" - &
	sleep 0.7
	kill -9 $! || return 1
	wait $receiver
	fails_with $? 'reset' recv.err 2 || return 1
	[ ! -e out2 ] || { echo "out2 is there"; return 1; }
	no_parts
}

killed_receiver() {
	start_receiver -o out3 || return 1
	(cat data; sleep 1; cat data; sleep 5) | "$xport" send --to "$address" - 2>send.err &
	local sender=$!
	sleep 0.4
	kill -9 $receiver
	wait $sender
	fails_with $? 'reset|refused|gave up|closed' send.err || return 1
	[ ! -e out3 ] || return 1
	rm -f .out3.*.part # what a kill -9 leaves has a name that can't be mistaken
}

interrupted_receiver() {
	start_receiver -o out4 || return 1
	(cat data; sleep 5) | "$xport" send --to "$address" - 2>/dev/null &
	sleep 0.5
	kill -INT $receiver
	wait $receiver
	[ $? -eq 130 ] || { echo "status is not 130"; return 1; }
	[ ! -e out4 ] || return 1
	no_parts
}

silent_peer() {
	start_nc || return 1
	kill -STOP $listener
	"$xport" send --to "$address" --timeout 1s large 2>send.err
	local status=$?
	kill -KILL $listener
	fails_with $status 'taken nothing for 1 s' send.err
}

full_disk() {
	local enter=(unshare -m)
	[ "$(id -u)" -eq 0 ] || enter=(unshare -Urm)
	"${enter[@]}" true 2>/dev/null || return 0 # not permitted here
	"${enter[@]}" bash -c '
		mkdir -p small && mount -t tmpfs -o size=1m none small || exit 1
		rm -f recv.err
		"$0" recv --listen 127.0.0.1:0 --timeout 20s -o small/out 2>recv.err & receiver=$!
		for _ in $(seq 100); do
			address=$(sed -n "s/.*listening on \([0-9.:]*\).*/\1/p" recv.err)
			[ -n "$address" ] && break
			sleep 0.05
		done
		"$0" send --to "$address" data 2>send.err && { echo "the sender saw nothing"; exit 1; }
		wait $receiver && { echo "the receiver saw nothing"; exit 1; }
		grep -qi "no space" recv.err || { cat recv.err; exit 1; }
		[ -z "$(ls -A small)" ] || { ls -A small; exit 1; }' "$xport"
}

# ---- Sends that wait for room ------------------------------------------------------------------

slowly() { sleep 1; sha256sum; }

to_slow_reader() {
	start_nc slowly || return 1
	timeout 20 "$xport" send --mode nonblocking --json --to "$address" data >send.json || return 1
	for _ in $(seq 40); do [ -s nc.out ] && break; sleep 0.05; done
	[ "$(cat nc.out)" = "$(sha256sum <data)" ] || return 1
	python3 - <<-'EOF'
		import json
		sent = json.load(open("send.json"))
		assert sent["mode"] == "nonblocking" and sent["bytes"] == 20000003, sent
		assert sent["short"] + sent["refused"] > 0 and sent["possible"] > 0, sent
		assert sent["pieces"] == (20000003 + 262143) // 262144 + sent["short"] + sent["refused"], sent
	EOF
}

# Nobody reads, and then the peer goes: who waits for room must hear of it, too.
reset_while_waiting_for_room() {
	start_nc || return 1
	kill -STOP $listener
	timeout 20 "$xport" send --mode nonblocking --to "$address" large 2>send.err &
	local sender=$!
	sleep 0.5
	kill -KILL $listener
	wait $sender
	fails_with $? 'reset' send.err
}

silent_to_nonblocking() {
	start_nc || return 1
	kill -STOP $listener
	timeout 20 "$xport" send --mode nonblocking --to "$address" --timeout 1s large 2>send.err
	local status=$?
	kill -KILL $listener
	fails_with $status 'taken nothing for 1 s' send.err
}

# ---- Many senders --------------------------------------------------------------------------------

# Starts `xport recv -o many/` with these options. $receiver is to be waited for; signals go to
# $daemon, because timeout would pass them on twice.
daemon=
start_daemon() {
	rm -f recv.err
	timeout 40 env --default-signal=INT "$xport" recv --listen 127.0.0.1:0 -o many/ "$@" \
		2>recv.err >recv.out &
	receiver=$!
	find_address || return 1
	daemon=$(cat /proc/$receiver/task/$receiver/children)
	daemon=${daemon% }
}

# Tries the command until it succeeds.
soon() {
	for _ in $(seq 300); do
		"$@" && return 0
		sleep 0.05
	done
	echo "in 15 s it did not come to: $*"
	cat recv.err
	return 1
}

lines_are() { [ "$(wc -l <recv.out)" -eq "$1" ]; }
a_part_has_bytes() { [ -n "$(find many -name '.*.part' -size +0)" ]; }
no_more_senders() { grep -q 'takes no more senders; 1 under way' recv.err; }

# All files of many/, which are so many, are equal to this one, and nothing else is left there.
all_equal() { # COUNT FILE
	[ "$(ls -A many | wc -l)" -eq "$1" ] || { ls -A many; return 1; }
	for one in many/*; do cmp "$2" "$one" || return 1; done
}

send_quietly() { timeout 40 "$xport" send --to "$address" "$@" >/dev/null; }

eight_at_once() {
	rm -rf many
	start_daemon --count 8 --sha256 --json || return 1
	local senders=()
	for _ in $(seq 8); do send_quietly data & senders+=($!); done
	for one in "${senders[@]}"; do wait "$one" || return 1; done
	wait $receiver || { cat recv.err; return 1; }
	all_equal 8 data || return 1
	grep -q 'received 8 files, 160 MB' recv.err || { cat recv.err; return 1; }
	python3 - <<-'EOF'
		import hashlib, json
		digest = hashlib.sha256(open("data", "rb").read()).hexdigest()
		rows = [json.loads(line) for line in open("recv.out")]
		assert len({row["file"] for row in rows}) == 8, rows
		for row in rows:
		    assert row["sha256"] == digest and row["bytes"] == 20000003, row
		    assert row["file"] == "many/" + row["peer"].replace(":", "-"), row
	EOF
}

one_of_many_killed() {
	rm -rf many
	start_daemon --count 4 || return 1
	mkfifo killed.fifo
	timeout 20 "$xport" send --to "$address" - <killed.fifo >/dev/null 2>&1 &
	local victim=$!
	(cat data; sleep 20) >killed.fifo &
	started+=($!)
	soon a_part_has_bytes || return 1
	for _ in 1 2 3; do send_quietly data || return 1; done
	kill -9 "$(cat /proc/$victim/task/$victim/children)" || return 1
	wait $receiver
	fails_with $? 'reset by the peer after [0-9]+ bytes' recv.err 3 || return 1
	grep -q 'received 3 files, .*; 1 sender failed' recv.err || { cat recv.err; return 1; }
	all_equal 3 data
}

silent_one_of_many() {
	rm -rf many
	start_daemon --count 2 --timeout 500ms || return 1
	sleep 4 | timeout 20 "$xport" send --to "$address" - >/dev/null 2>&1 &
	sleep 0.3
	send_quietly data || return 1
	wait $receiver
	fails_with $? 'sent nothing for 500 ms; gave up after 0 bytes' recv.err 3 || return 1
	all_equal 1 data
}

nothing_is_overwritten() {
	local port
	rm -rf many
	start_daemon --count 1 || return 1
	for port in $(shuf -i 10000-19999 -n 9); do # until one is free
		echo mine >"many/127.0.0.1-$port"
		timeout 20 nc -N -p "$port" "${address%:*}" "${address#*:}" <data && break
	done
	wait $receiver || return 1
	grep -q mine "many/127.0.0.1-$port" && cmp data "many/127.0.0.1-$port.1" && no_parts
}

# Who is there is served to the end, and whoever comes later is not let in.
interrupted_daemon() {
	rm -rf many
	start_daemon || return 1
	send_quietly data || return 1
	(cat data; sleep 1) >late.fifo &
	timeout 20 "$xport" send --to "$address" - <late.fifo >/dev/null &
	local under_way=$!
	soon a_part_has_bytes || return 1
	kill -INT "$daemon"
	soon no_more_senders || return 1
	send_quietly data 2>/dev/null && { echo "one was let in"; return 1; }
	wait $under_way || return 1
	wait $receiver || { echo "status $?"; return 1; }
	grep -q 'received 2 files' recv.err || { cat recv.err; return 1; }
	[ "$(ls -A many | wc -l)" -eq 2 ] && no_parts
}

twice_interrupted_daemon() {
	rm -rf many
	start_daemon || return 1
	(cat data; sleep 20) >late.fifo &
	started+=($!)
	timeout 20 "$xport" send --to "$address" - <late.fifo >/dev/null 2>&1 &
	soon a_part_has_bytes || return 1
	kill -INT "$daemon"
	soon no_more_senders || return 1
	kill -TERM "$daemon"
	wait $receiver
	[ $? -eq 143 ] || { echo "status is not 143"; return 1; }
	[ -z "$(ls -A many)" ] || { ls -A many; return 1; }
}

# Who finds no descriptor waits: with an odd number of them for its file, else to be accepted.
out_of_descriptors() { # HOW_MANY
	rm -rf many recv.err
	(
		ulimit -n "$1" || exit 1
		exec timeout 20 "$xport" recv --listen 127.0.0.1:0 -o many/ --count 12 2>recv.err >recv.out
	) &
	receiver=$!
	find_address || return 1
	for _ in $(seq 12); do
		( (cat one; sleep 0.3) | send_quietly - ) &
	done
	wait $receiver || { cat recv.err; return 1; }
	[ "$(wc -l <recv.out)" -eq 12 ] && all_equal 12 one
}

few_descriptors() {
	out_of_descriptors 22 && cp recv.err even.err && out_of_descriptors 23 || return 1
	grep -q 'Too many open files, so some senders have to wait' even.err recv.err
}

# Whether each sender of `pids` has sent something, and nothing more since the last look, and less
# than fits into the sockets' buffers and half a MiB.
all_have_stopped() {
	timeout 20 "${xport%-asan}" stat --json send >stat.json
	python3 - <<-'EOF'
		import json, sys
		limit = 512 * 1024
		for path, which in ("wmem", 2), ("rmem", 1):
		    limit += int(open("/proc/sys/net/ipv4/tcp_" + path).read().split()[which])
		pids = open("pids").read().split()
		sent = {process["process"]: block["values"]["sent_bytes"]
		        for process in json.load(open("stat.json")) if str(process["process"]) in pids
		        for block in process["blocks"] if block["room"] == "flow-control"}
		last, look = open("look").read(), str(sorted(sent.items()))
		open("look", "w").write(look)
		if len(sent) < 64 or min(sent.values()) == 0 or look != last:
		    sys.exit(1)
		sys.exit(0 if max(sent.values()) < min(limit, 6000000) else f"{max(sent.values())} sent")
	EOF
}

# The senders stop when the sockets' buffers are full, and what the receiver holds is bounded.
stopped_daemon() {
	rm -rf many
	head -c 6000000 data >some
	ASAN_OPTIONS=${ASAN_OPTIONS:-}:quarantine_size_mb=1 start_daemon --backlog 64 --sha256 || return 1
	local senders=() peak_before peak
	peak_before=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
	kill -STOP "$daemon"
	: >look
	for _ in $(seq 64); do # not instrumented, whatever the receiver is: 64 of those take their time
		timeout 40 "${xport%-asan}" send --to "$address" --mode nonblocking some >/dev/null &
		senders+=($!)
	done
	for one in "${senders[@]}"; do soon grep . "/proc/$one/task/$one/children"; done >pids
	soon all_have_stopped || { kill -KILL "$daemon"; return 1; }
	kill -CONT "$daemon"
	for one in "${senders[@]}"; do wait "$one" || return 1; done
	soon lines_are 64 || return 1
	peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
	kill -INT "$daemon"
	wait $receiver || { cat recv.err; return 1; }
	all_equal 64 some || return 1
	echo "peak $peak KiB, $peak_before before" # queue, loans, and as much again for all else
	[ $((peak - peak_before)) -lt $((64 * (256 + 256 + 128))) ]
}

# ---- Words that make no sense ----------------------------------------------------------------

refused() { # PATTERN COMMAND...
	local pattern=$1
	shift
	timeout 20 "$xport" "$@" >bad.out 2>bad.err </dev/null
	fails_with $? "$pattern" bad.err
}

help_of() {
	"$xport" "$@" --help >help.out && [ -s help.out ]
}

# ---- The wan and the demo --------------------------------------------------------------------

wan_works() {
	"$xport" wan up --rtt 10ms --name "$wan_name" 2>wan.err
	local status=$? rtt
	if [ $status -ne 0 ]; then
		[ "$(wc -l <wan.err)" -eq 1 ] # not permitted: one line says why
		return
	fi
	refused 'already' wan up --name "$wan_name" || return 1
	rtt=$("$xport" wan exec --name "$wan_name" a -- ping -q -c 20 -i 0.05 10.77.0.2 |
		sed -n 's|^rtt[^=]*= \([0-9.]*\)/.*|\1|p')
	awk -v rtt="$rtt" 'BEGIN { exit !(rtt >= 9.5 && rtt <= 10.5) }' || { echo "rtt $rtt"; return 1; }
	"$xport" wan exec --name "$wan_name" b -- sh -c 'exit 7'
	[ $? -eq 7 ] || return 1
	"$xport" wan down --name "$wan_name" || return 1
	! grep -q "$wan_name" /proc/net/unix && refused 'no wan|not up' wan down --name "$wan_name"
}

killed_relay_leaves_nothing() {
	"$xport" wan up --rtt 1ms --name "$wan_name" 2>wan.err || return 0
	local relay
	relay=$("$xport" wan status --name "$wan_name" | sed -n 's|.*relay process ||p')
	kill -9 "$relay" || return 1
	for _ in $(seq 50); do kill -0 "$relay" 2>/dev/null || break; sleep 0.05; done
	! grep -q "$wan_name" /proc/net/unix
}

# The network between two ends goes: neither is told anything.
vanished_peer() {
	"$xport" wan up --rtt 1ms --name "$wan_name" 2>wan.err || return 0
	local relay sender
	"$xport" wan exec --name "$wan_name" b -- \
		"$xport" recv --listen 10.77.0.2:4000 --timeout 3s -o out5 2>recv.err &
	receiver=$!
	sleep 0.5
	"$xport" wan exec --name "$wan_name" a -- \
		"$xport" send --to 10.77.0.2:4000 --timeout 3s large 2>send.err &
	sender=$!
	sleep 0.1
	relay=$("$xport" wan status --name "$wan_name" | sed -n 's|.*relay process ||p')
	kill -9 "$relay" || return 1
	wait $sender
	fails_with $? 'taken nothing|in time|no answer|unreachable' send.err || return 1
	wait $receiver
	fails_with $? 'in time|nothing came|no byte|silen|for 3 s' recv.err 2 || return 1
	[ ! -e out5 ] && no_parts
}

demo_rows() { # OPTIONS...
	timeout 100 "$xport" demo --json --rtt 2ms "$@" >demo.json || return 1
	python3 - <<-'EOF'
		import json
		rows = json.load(open("demo.json"))
		modes = [(row["mode"], row["depth"]) for row in rows]
		assert modes == [("socket", None), ("sync", 1), ("async", 1), ("async", 4),
		                 ("async", 16), ("async", 64)], modes
		keys = {"mode", "depth", "block_bytes", "rtt_ns", "bytes", "seconds", "total_seconds",
		        "bytes_per_second", "predicted_bytes_per_second", "ratio_to_sync",
		        "effective_depth", "sha256_match", "transport"}
		for row in rows:
		    assert keys <= row.keys(), keys - row.keys()
		    assert row["sha256_match"] is True and row["transport"] in ("tcp", "link"), row
		    assert row["bytes"] > 0 and row["rtt_ns"] >= 1900000, row
	EOF
}

interrupted_demo() {
	env --default-signal=INT "$xport" demo data >demo.out 2>&1 &
	local demo=$!
	sleep 1
	kill -INT $demo
	wait $demo
	[ $? -eq 130 ] || { echo "it was not interrupted"; return 1; }
	sleep 0.3
	! grep -q "demo-$demo" /proc/net/unix && ! grep -qs "^PPid:[[:space:]]*$demo$" /proc/[0-9]*/status
}

# ---- All -------------------------------------------------------------------------------------

try "a file crosses, asynchronously" between data
try "a file crosses, one send at a time" between data --mode sync
try "a file crosses with depth 1 and an odd block size" between data --depth 1 --block 12347
try "a file crosses with direct sends" between data --direct --depth 64 --block 64K
try "a file crosses with direct sends, one at a time" between data --direct --mode sync
try "a file crosses, as there is room" between data --mode nonblocking
try "a file crosses, as there is room for odd blocks" between data --mode nonblocking --block 12347
try "a file crosses, as there is room for one send" between data --mode nonblocking --depth 1
try "a file crosses with small sends that wait for each other" between little --nagle --block 1001
try "direct sends can wait for each other" between data --nagle --direct
try "an empty file crosses" between empty
try "a file of one byte crosses" between one --direct
try "nc sends, xport receives" from_nc
try "xport sends, nc receives" to_nc
try "xport sends directly, nc receives" to_nc --direct --mode async
try "a slow reader gets all, as it makes room" to_slow_reader
try "standard input crosses to standard output" through_pipes
try "--json prints what was transferred at both ends" json
try "a file is replaced only when the new one is whole" replaces_only_when_whole
try "a sender that is killed: the receiver says so and keeps no file" killed_sender
try "a receiver that is killed: the sender says so" killed_receiver
try "an interrupted receiver leaves no file" interrupted_receiver
try "a peer that takes nothing is given up after --timeout" silent_peer
try "so is one by a sender that waits for room" silent_to_nonblocking
try "a sender that waits for room hears of a reset" reset_while_waiting_for_room
try "a full disk: one line, no file, and the sender is told" full_disk

mkfifo late.fifo
try "eight senders at once, each into its own file" eight_at_once
try "one sender that is killed: the others' files are whole" one_of_many_killed
try "one sender that is silent is given up alone" silent_one_of_many
try "a file that is there is not overwritten" nothing_is_overwritten
try "an interrupted daemon serves to the end who is there" interrupted_daemon
try "a second interrupt ends it, and leaves no part" twice_interrupted_daemon
try "when descriptors are few, senders wait" few_descriptors
try "64 senders wait for a stopped daemon, whose memory is bounded" stopped_daemon

try "an unknown host is named" refused 'no.such.host' send --to no.such.host.invalid:1 data
try "a refused port is named" refused 'refused' send --to 127.0.0.1:1 data
try "a missing file is named" refused 'nothere' send --to 127.0.0.1:1 nothere
try "a directory is no file" refused 'director' send --to 127.0.0.1:1 .
try "depth 0 is refused" refused 'depth' send --to 127.0.0.1:1 --depth 0 data
try "block 0 is refused" refused 'block' send --to 127.0.0.1:1 --block 0 data
try "block 2 GiB is refused" refused 'block' send --to 127.0.0.1:1 --block 2G data
try "an unknown mode is refused" refused 'mode' send --to 127.0.0.1:1 --mode fast data
try "a missing --to is named" refused 'to' send data
try "a missing file name is named" refused 'file' send --to 127.0.0.1:1
try "a bad address is refused" refused 'address|port' send --to 127.0.0.1 data
try "a port of 70000 is refused" refused 'port' recv --listen 127.0.0.1:70000
try "a file is no directory" refused 'director' recv --listen 127.0.0.1:0 -o data/
try "a directory that takes no files is refused" refused 'director' recv --listen 127.0.0.1:0 -o /proc
try "a backlog needs a directory" refused 'backlog' recv --listen 127.0.0.1:0 -o out --backlog 4
try "a count needs a directory" refused 'count' recv --listen 127.0.0.1:0 --count 4
try "backlog 0 is refused" refused 'backlog' recv --listen 127.0.0.1:0 -o . --backlog 0
try "backlog 4097 is refused" refused 'backlog' recv --listen 127.0.0.1:0 -o . --backlog 4097
try "direct sends have no room to wait for" refused 'direct' send --to 127.0.0.1:1 --direct \
	--mode nonblocking data
try "an output in no directory is refused" refused 'no such' recv --listen 127.0.0.1:0 -o no/where
try "an address of another machine is refused" refused 'address' recv --listen 192.0.2.1:0
try "an unknown verb is refused" refused 'fly' fly
try "an unknown option is refused" refused 'fast' send --fast data
try "a bad rtt is refused" refused 'rtt' wan up --rtt tomorrow
try "a bad rate is refused" refused 'rate' demo --rate fast
try "an interval of 0 is refused" refused 'watch' stat --watch=0
try "two directories are refused" refused 'too much' mount one two
try "an umount of nothing says so" refused 'not mounted' umount .
try "exec on a wan that is not up says so" refused 'up' wan exec --name "none-$$" a -- true
try "a demo of an empty file is refused" refused 'empty' demo empty
for verb in "" send recv wan demo lab mount umount stat sim replay rules doctor; do
	try "help for '$verb'" help_of $verb
done
try "rules explains one, and refuses what is none" sh -c \
	"'$xport' rules REQ-LOST | grep -q 'always has an owner' && ! '$xport' rules REQ-FOUND"
try "rules tells all in JSON" sh -c "'$xport' rules --json | python3 -m json.tool"
try "doctor tells about this machine" "$xport" doctor
try "doctor tells it in JSON" sh -c "'$xport' doctor --json | python3 -m json.tool"

try "a wan has its round trip and goes away" wan_works
try "a relay that is killed leaves nothing" killed_relay_leaves_nothing
try "when the link goes, both ends say so and no file is left" vanished_peer
try "the demo's rows are whole and right" demo_rows data
try "the demo's rows over the simulated link are, too" demo_rows --link data
try "an interrupted demo leaves nothing" interrupted_demo

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
