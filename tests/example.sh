#!/usr/bin/env bash
# tests/example.sh [BUILD]: BUILD/example-client (or that of the PATH) talks to a real `nc -l`, and to
# a listener that answers only when the client has said that this was all. The last line counts.
set -uo pipefail
client=example-client
[ $# -gt 0 ] && client=$(realpath "$1")/example-client
work=$(mktemp -d)
passed=0 failed=0 listener=
trap 'kill $listener 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

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

# Starts `nc -l` on a free port. It says what it has to say, and goes when it is told the end: by
# itself, nc does not answer to that.
start_nc() {
	for port in $(shuf -i 20000-60000 -n 20); do
		nc -N -l 127.0.0.1 "$port" <<<"nobody but nc" >question 2>nc.err &
		listener=$!
		sleep 0.3
		kill -0 $listener 2>/dev/null && return 0
	done
	return 1
}
check "nc listens" start_nc
check "the client ends well" sh -c "timeout 10 '$client' 127.0.0.1 $port 'who is there?' >heard"
check "nc ends, too" wait $listener
echo "nc has heard      $(cat question)"
echo "the client heard  $(cat heard)"
check "the question has arrived whole" [ "$(cat question)" = "who is there?" ]
check "the answer has arrived whole" [ "$(cat heard)" = "nobody but nc" ]

# Answers with what it has heard, twice, and not before it has heard the end.
python3 - >port <<'END' &
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
heard = b""
while piece := peer.recv(100):
    heard += piece
peer.sendall(heard + heard)
END
listener=$!
for _ in $(seq 100); do
	[ -s port ] && break
	sleep 0.05
done
check "half a connection is enough for an answer" \
	[ "$(timeout 10 "$client" 127.0.0.1 "$(cat port)" 'and you? ')" = "and you? and you? " ]
refused() {
	! "$client" 127.0.0.1 1 x 2>refusal && grep -q refused refusal
}
check "a refused call is told in words" refused
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
