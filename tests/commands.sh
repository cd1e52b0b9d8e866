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
	for _ in $(seq 200); do
		address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' recv.err 2>/dev/null)
		[ -n "$address" ] && return 0
		sleep 0.05
	done
	cat recv.err
	return 1
}

# Starts `nc -l` on a free port, writing to the file nc.out; its address is then in $address.
listener=
start_nc() {
	local port
	for port in $(shuf -i 20000-60000 -n 20); do
		nc -l 127.0.0.1 "$port" >nc.out 2>nc.err </dev/null &
		listener=$!
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
	sleep 1.5
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
try "an empty file crosses" between empty
try "a file of one byte crosses" between one --direct
try "nc sends, xport receives" from_nc
try "xport sends, nc receives" to_nc
try "xport sends directly, nc receives" to_nc --direct --mode async
try "standard input crosses to standard output" through_pipes
try "--json prints what was transferred at both ends" json
try "a file is replaced only when the new one is whole" replaces_only_when_whole
try "a sender that is killed: the receiver says so and keeps no file" killed_sender
try "a receiver that is killed: the sender says so" killed_receiver
try "an interrupted receiver leaves no file" interrupted_receiver
try "a peer that takes nothing is given up after --timeout" silent_peer
try "a full disk: one line, no file, and the sender is told" full_disk

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
try "an output directory is refused" refused 'director' recv --listen 127.0.0.1:0 -o .
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
