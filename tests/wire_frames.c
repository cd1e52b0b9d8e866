/*
 * test-wire-frames pcap FILE: one of each piece, between two nodes, as a capture for Wireshark.
 * test-wire-frames corpus DIR: streams for the fuzzer to begin with.
 * Both in little-endian order, on any machine.
 */
#include <stdio.h>
#include <string.h>

#include "wire_samples.h"

enum { MOST_BYTES = 4096, ETHERNET = 14, IP = 20, TCP = 20, FRAME = ETHERNET + IP + TCP };

struct bytes {
	uint8_t at[MOST_BYTES];
	uint32_t length;
};

/* ---- What is sent -------------------------------------------------------------------------- */

static void add_request(struct bytes *bytes, bool swapped)
{
	bytes->length +=
		lnet_encode_acceptor_request(bytes->at + bytes->length, &sample_request, swapped);
}

static void add_hello(struct bytes *bytes, bool swapped)
{
	bytes->length += ksock_encode_hello(bytes->at + bytes->length, &sample_hello, swapped);
}

static void add_noop(struct bytes *bytes, bool swapped)
{
	bytes->length += ksock_encode_message(bytes->at + bytes->length, &sample_noop, swapped);
}

/* With its checksum. */
static void add_message(struct bytes *bytes, const struct lnet_header *header, const void *payload,
			bool swapped)
{
	uint8_t *begin = bytes->at + bytes->length;
	uint32_t length = LNET_HEADER_BYTES + header->payload_length;

	ksock_encode_message(begin, &sample_message, swapped);
	lnet_encode_header(begin + KSOCK_MESSAGE_BYTES, header, swapped);
	memcpy(begin + KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES, payload, header->payload_length);
	ksock_set_checksum(begin,
			   ksock_checksum_add(ksock_checksum_begin(begin),
					      begin + KSOCK_MESSAGE_BYTES, length),
			   swapped);
	bytes->length += KSOCK_MESSAGE_BYTES + length;
}

static void add_put(struct bytes *bytes, bool swapped)
{
	add_message(bytes, &sample_put, "hello", swapped);
}

static void add_empty_put(struct bytes *bytes, bool swapped)
{
	struct lnet_header header = sample_put;

	header.payload_length = 0;
	add_message(bytes, &header, "", swapped);
}

static void add_ack(struct bytes *bytes, bool swapped)
{
	add_message(bytes, &sample_ack, "", swapped);
}

static void add_get(struct bytes *bytes, bool swapped)
{
	add_message(bytes, &sample_get, "", swapped);
}

static void add_ping(struct bytes *bytes, bool swapped)
{
	add_message(bytes, &sample_ping, "", swapped);
}

static void add_reply(struct bytes *bytes, bool swapped)
{
	struct lnet_header header = sample_reply;
	uint8_t payload[LNET_PING_MOST_BYTES];

	header.payload_length = lnet_encode_ping_reply(payload, &sample_ping_reply, swapped);
	add_message(bytes, &header, payload, swapped);
}

static const struct piece {
	const char *name;
	void (*add)(struct bytes *bytes, bool swapped);
	bool from_server;
} pieces[] = {
	{"acceptor-request", add_request, false},
	{"hello", add_hello, false},
	{"hello-answer", add_hello, true},
	{"put", add_put, false},
	{"ack", add_ack, true},
	{"get", add_get, false},
	{"ping", add_ping, false},
	{"reply", add_reply, true},
	{"noop", add_noop, false},
	{"empty-put", add_empty_put, false},
};

enum { PIECES = sizeof(pieces) / sizeof(pieces[0]), FIRST_MESSAGE = 3 };

/* ---- A capture: libpcap's format, a frame for each piece ----------------------------------- */

static void put_big(uint8_t *at, uint32_t value, uint32_t length)
{
	while (length-- > 0) {
		at[length] = (uint8_t)value;
		value >>= 8;
	}
}

static void put_ip_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	for (int i = 0; i < IP; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	put_big(ip + 10, ~(sum + (sum >> 16)) & 0xffff, 2);
}

/* Ethernet, IP, TCP; `sent` is how much each side has sent before. */
static void put_frame_headers(uint8_t frame[FRAME], uint32_t length, bool from_server,
			      const uint32_t sent[2])
{
	uint8_t *ip = frame + ETHERNET, *tcp = ip + IP;
	uint32_t from = from_server ? 1 : 0, to = 1 - from;
	static const uint32_t ports[] = {1023, LNET_ACCEPTOR_PORT};
	static const uint64_t nids[] = {SAMPLE_CLIENT, SAMPLE_SERVER};

	memset(frame, 0, FRAME);
	put_big(frame + 12, 0x0800, 2);
	put_big(ip, 0x45000000 + IP + TCP + length, 4);
	put_big(ip + 8, 0x40060000, 4); /* time to live, TCP */
	put_big(ip + 12, lnet_nid_address(nids[from]), 4);
	put_big(ip + 16, lnet_nid_address(nids[to]), 4);
	put_ip_checksum(ip);
	put_big(tcp, ports[from], 2);
	put_big(tcp + 2, ports[to], 2);
	put_big(tcp + 4, 1 + sent[from], 4);
	put_big(tcp + 8, 1 + sent[to], 4);
	put_big(tcp + 12, 0x5018ffff, 4); /* PSH, ACK, the window */
}

/* The magic says in which order the numbers are: big-endian, 2.4, Ethernet. */
static const uint8_t pcap_header[24] = {0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, [18] = 1, [23] = 1};

static int write_capture(const char *path)
{
	FILE *file = fopen(path, "wb");
	uint32_t sent[2] = {0, 0};

	if (file == NULL)
		return 1;
	fwrite(pcap_header, sizeof(pcap_header), 1, file);
	for (uint32_t i = 0; i < PIECES; i++) {
		uint8_t record[16] = {0}, frame[FRAME];
		struct bytes bytes = {.length = 0};

		pieces[i].add(&bytes, LNET_HEADER_SWAPPED);
		put_frame_headers(frame, bytes.length, pieces[i].from_server, sent);
		sent[pieces[i].from_server] += bytes.length;
		put_big(record, 1 + i, 4);
		put_big(record + 8, FRAME + bytes.length, 4);
		put_big(record + 12, FRAME + bytes.length, 4);
		fwrite(record, sizeof(record), 1, file);
		fwrite(frame, sizeof(frame), 1, file);
		fwrite(bytes.at, bytes.length, 1, file);
	}
	return fclose(file) != 0;
}

/* ---- A corpus: each message behind the beginning of a connection, and all of them ---------- */

static int write_stream(const char *folder, const char *name, const struct bytes *bytes)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	if (file == NULL)
		return 1;
	fwrite(bytes->at, bytes->length, 1, file);
	return fclose(file) != 0;
}

/* To a node of incarnation 1: a PUT, and answers to its messages 1 and 2. */
static void add_answers(struct bytes *bytes)
{
	struct lnet_header put = sample_put, ack = sample_ack, reply = sample_reply;

	ack.dest_nid = reply.dest_nid = SAMPLE_SERVER;
	ack.src_nid = reply.src_nid = SAMPLE_CLIENT;
	ack.msg.ack.dst_wmd = (struct lnet_wire_handle){1, 1};
	reply.msg.reply.dst_wmd = (struct lnet_wire_handle){1, 2};
	reply.payload_length = 4;
	add_message(bytes, &put, "hello", LNET_HEADER_SWAPPED);
	put.msg.put.ptl_index = 51;
	add_message(bytes, &put, "hello", LNET_HEADER_SWAPPED);
	add_message(bytes, &ack, "", LNET_HEADER_SWAPPED);
	add_message(bytes, &reply, "here", LNET_HEADER_SWAPPED);
	add_noop(bytes, LNET_HEADER_SWAPPED);
}

static int write_answers(const char *folder)
{
	struct bytes bytes = {.length = 0};

	add_request(&bytes, LNET_HEADER_SWAPPED);
	add_hello(&bytes, LNET_HEADER_SWAPPED);
	add_answers(&bytes);
	return write_stream(folder, "answers", &bytes);
}

static int write_corpus(const char *folder)
{
	int failed = write_answers(folder);

	for (uint32_t i = FIRST_MESSAGE; i < PIECES; i++) {
		struct bytes bytes = {.length = 0};

		add_request(&bytes, LNET_HEADER_SWAPPED);
		add_hello(&bytes, LNET_HEADER_SWAPPED);
		pieces[i].add(&bytes, LNET_HEADER_SWAPPED);
		failed |= write_stream(folder, pieces[i].name, &bytes);
	}
	for (int big = 0; big < 2; big++) {
		struct bytes bytes = {.length = 0};

		add_request(&bytes, LNET_HEADER_SWAPPED != big);
		add_hello(&bytes, LNET_HEADER_SWAPPED != big);
		for (uint32_t i = FIRST_MESSAGE; i < PIECES; i++)
			pieces[i].add(&bytes, LNET_HEADER_SWAPPED != big);
		failed |= write_stream(folder, big ? "all-big-endian" : "all", &bytes);
	}
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 1;

	if (argc == 3 && strcmp(argv[1], "pcap") == 0)
		failed = write_capture(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "corpus") == 0)
		failed = write_corpus(argv[2]);
	else
		fprintf(stderr, "usage: test-wire-frames pcap FILE | corpus DIR\n");
	return failed;
}
