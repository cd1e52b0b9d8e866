#!/usr/bin/env bash
# tests/wire.sh BUILD: an outside judge reads what xport encodes. Wireshark's dissector decodes a
# capture with one of each piece. Every case is a function. The last line counts.
#
# Wireshark 4.0 has ways of its own, and nothing here depends on them:
#   - it names a message's checksum lnet.ib_csum, and exchanges the names of the two pids;
#   - it shows the handle of an ACK, which nobody but its owner can read, in big-endian order;
#   - it calls a PUT malformed whose payload no dissector of Lustre's portals takes;
#   - it does not decode acceptor requests and HELLOs, and takes all that follows a NOOP in one
#     segment for NOOPs, so that here each piece has a segment of its own.
set -uo pipefail
cd "$(dirname "$0")/.."
frames=$(realpath "$1")/test-wire-frames
corpus=$PWD/tests/corpus/wire
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

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

# fields FILTER FIELD...: these fields of the frames that the filter lets through.
fields() {
	local filter=$1 arguments=()
	shift
	for field in "$@"; do arguments+=(-e "$field"); done
	tshark -r "$work/pcap" -Y "$filter" -T fields -E separator=' ' "${arguments[@]}" \
		2>"$work/err" | sed 's/^ *//; s/ *$//' || { cat "$work/err"; return 1; }
}

# shows FILTER FIELDS LINES: the frames' fields are these lines.
shows() {
	local filter=$1 names=$2 wanted=$3 seen
	# shellcheck disable=SC2086
	seen=$(fields "$filter" $names) || return 1
	[ "$seen" = "$wanted" ] && return 0
	printf 'wanted:\n%s\nseen:\n%s\n' "$wanted" "$seen"
	return 1
}

put='lnet.msg_type == 1' ack='lnet.msg_type == 0' get='lnet.msg_type == 2'
reply='lnet.msg_type == 3' noop='lnet.ksm_type == 0xc0'

every_piece() {
	shows frame 'frame.number tcp.len lnet.ksm_type lnet.msg_type lnet.payload_length' \
"1 16
2 56
3 56
4 101 0x000000c1 1 5
5 96 0x000000c1 0 0
6 96 0x000000c1 2 0
7 96 0x000000c1 2 0
8 144 0x000000c1 3 48
9 24 0x000000c0
10 96 0x000000c1 1 0"
}
# But for the payload of the PUT in frame 4: everything up to it was understood.
not_malformed() {
	shows '(_ws.malformed || _ws.expert.severity >= error) && frame.number != 4' frame.number "" &&
		{ shows 'frame.number == 4' _ws.expert.message "" ||
			shows 'frame.number == 4' _ws.expert.message \
				"Capture:101 offset:96 (length:0) msg_type:1 ib_type:00"; }
}
nodes() {
	shows "$put" 'lnet.nid.addr lnet.nid.type lnet.nid.net_interface' \
"10.0.0.2,10.0.0.1 2,2 0,0
10.0.0.2,10.0.0.1 2,2 0,0" &&
		shows "$reply" 'lnet.nid.addr' "10.0.0.1,10.0.0.2" &&
		{ shows "$reply" 'lnet.src_pid lnet.dest_pid' "54321 12345" ||
			shows "$reply" 'lnet.dest_pid lnet.src_pid' "54321 12345"; }
}
cookies() {
	shows "$put && lnet.payload_length" 'lnet.ksm_zc_req_cookie lnet.ksm_zc_ack_cookie' \
"0x0102030405060708 0x0000000000000099
0x0102030405060708 0x0000000000000099" &&
		shows "$noop" 'lnet.ksm_zc_req_cookie lnet.ksm_zc_ack_cookie' \
			"0x0000000000000007 0x0000000000000009"
}
# Of the last PUT, which has no payload: by a CRC that is not xport's.
checksum() {
	local sum
	sum=$(python3 - "$work/pcap" <<-'END'
		import sys, zlib
		message = bytearray(open(sys.argv[1], "rb").read()[-96:])
		message[4:8] = bytes(4)
		print(zlib.crc32(message) ^ 0xffffffff)
	END
	) || return 1
	shows 'frame.number == 10' 'lnet.ksm_csum lnet.ib_csum' "$sum"
}
variant_of_put() {
	shows "$put && lnet.payload_length == 5" \
		'lnet.msg_dst_interface_cookie lnet.msg_dst_object_cookie lnet.msg_dst_match_bits' \
		"0x3132333435363738 0x2122232425262728 0xfedcba9876543210" &&
		shows "$put && lnet.payload_length == 5" \
			'lnet.msg_hdr_data lnet.ptl_index lnet.offset' "0x0a0b0c0d0e0f1011 50 4096"
}
variant_of_ack() {
	shows "$ack" 'lnet.msg_dst_match_bits lnet.msg_length' "0xfedcba9876543210 5"
}
variant_of_get() {
	shows "$get && lnet.ptl_index == 51" \
		'lnet.msg_dst_object_cookie lnet.msg_dst_match_bits lnet.src_offset lnet.sink_length' \
		"0x5152535455565758 0x0011223344556677 8192 1048576"
}
variant_of_ping() {
	shows "$get && lnet.ptl_index == 0" 'lnet.msg_dst_match_bits lnet.sink_length' \
		"0x8000000000000000 272"
}
variant_of_reply() {
	shows "$reply" 'lnet.msg_dst_interface_cookie lnet.msg_dst_object_cookie' \
		"0x4142434445464748 0x5152535455565758"
}
same_corpus() {
	mkdir "$work/corpus" && "$frames" corpus "$work/corpus" || return 1
	for file in "$work"/corpus/*; do
		cmp "$file" "$corpus/$(basename "$file")" || return 1
	done
}

try "the corpus of the fuzzer begins with what is encoded" same_corpus
if ! command -v tshark >/dev/null; then
	echo "skipped: what Wireshark decodes, there is no tshark"
elif ! "$frames" pcap "$work/pcap"; then
	failed=$((failed + 1))
else
	try "Wireshark finds every message, its type and its length" every_piece
	try "Wireshark finds nothing malformed" not_malformed
	try "Wireshark reads who sends to whom" nodes
	try "Wireshark reads the zero-copy cookies" cookies
	try "the checksum is the one that zlib would take" checksum
	try "Wireshark reads a PUT" variant_of_put
	try "Wireshark reads an ACK" variant_of_ack
	try "Wireshark reads a GET" variant_of_get
	try "Wireshark reads a ping" variant_of_ping
	try "Wireshark reads a REPLY" variant_of_reply
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
