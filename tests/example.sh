#!/usr/bin/env bash
# tests/example.sh [BUILD]: BUILD/example-client (or that of the PATH) talks to a real `nc -l`, which
# answers only when the client has said that this was all. The last line counts.
set -uo pipefail
client=example-client
[ $# -gt 0 ] && client=$(realpath "$1")/example-client
work=$(mktemp -d)
trap 'kill $listener 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0 listener=

check() { # SENTENCE COMMAND...
	local sentence=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $sentence"
	fi
}

# Starts `nc -l` on a free port; it says what comes through the pipe `answer`, and then that is all.
mkfifo answer
exec 3<>answer # keeps both ends open until there is an answer
for port in $(shuf -i 20000-60000 -n 20); do
	nc -N -l 127.0.0.1 "$port" <answer >question 2>nc.err &
	listener=$!
	sleep 0.2
	kill -0 $listener 2>/dev/null && break
done

# The listener's kernel has had the end of what the client says: its socket is in CLOSE_WAIT (08).
has_ended() {
	grep -qi "$(printf '0100007F:%04X [0-9A-F:]* 08' "$port")" /proc/net/tcp
}

"$client" 127.0.0.1 "$port" "who is there?" >heard &
caller=$!
for _ in $(seq 100); do
	has_ended && break
	sleep 0.05
done
check "the listener is told the end, before it has answered" has_ended
check "the client waits for the answer" kill -0 $caller
echo "nc has heard:     $(cat question)"
printf 'nobody but nc\n' >answer
exec 3>&- # that was all
wait $caller
check "the client ends well" [ $? -eq 0 ]
echo "the client heard: $(cat heard)"
check "the question has arrived whole" [ "$(cat question)" = "who is there?" ]
check "the answer has arrived whole" [ "$(cat heard)" = "nobody but nc" ]
refused() {
	! "$client" 127.0.0.1 1 x 2>refusal && grep -q refused refusal
}
check "a refused call is told in words" refused
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
