/*
 * Any bytes, taken for what a peer sends: an acceptor request, a HELLO, messages. Each piece is
 * moved to a heap block of just its size, so that the sanitizer sees who reads behind it; what is
 * accepted has to give the same bytes when it is encoded again.
 *
 * Runs with main.c beside it, or as it is with libFuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nal/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stream {
	const uint8_t *at;
	size_t left;
	bool swapped;
};

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The next bytes of the stream, as many as wanted or what is left, in a block to be freed. */
static uint8_t *take(struct stream *stream, uint32_t *length)
{
	uint8_t *piece;

	if (*length > stream->left)
		*length = (uint32_t)stream->left;
	piece = malloc(*length > 0 ? *length : 1);
	memcpy(piece, stream->at, *length);
	stream->at += *length;
	stream->left -= *length;
	return piece;
}

static void check_request(struct stream *stream)
{
	uint32_t length = LNET_ACCEPTOR_BYTES;
	uint8_t *piece = take(stream, &length), again[LNET_ACCEPTOR_BYTES];
	struct lnet_acceptor_request request;
	bool swapped;

	if (lnet_decode_acceptor_request(piece, length, &request, &swapped) == LNET_WIRE_GOOD) {
		must(lnet_encode_acceptor_request(again, &request, swapped) == length);
		must(memcmp(piece, again, length) == 0);
	}
	free(piece);
}

static void check_nid_text(uint64_t nid)
{
	char text[LNET_NID_TEXT];
	uint64_t again;

	lnet_nid_to_text(nid, text);
	must(strlen(text) < sizeof(text));
	if (lnet_text_to_nid(text, &again) == STATUS_SUCCESS)
		must(again == nid);
	else
		must(text[0] == '<');
}

/* Whether messages follow. */
static bool check_hello(struct stream *stream)
{
	uint32_t length = KSOCK_HELLO_BYTES;
	uint8_t *piece = take(stream, &length), again[KSOCK_HELLO_BYTES];
	struct ksock_hello hello;
	bool good = ksock_decode_hello(piece, length, &hello, &stream->swapped) == LNET_WIRE_GOOD;

	if (good) {
		must(ksock_encode_hello(again, &hello, stream->swapped) == length);
		must(memcmp(piece, again, length) == 0);
		check_nid_text(hello.src_nid);
		length = hello.address_count * 4;
		free(piece);
		piece = take(stream, &length);
	}
	free(piece);
	return good;
}

static void check_ping(const uint8_t *payload, uint32_t length)
{
	uint8_t again[LNET_PING_MOST_BYTES];
	struct lnet_ping_reply reply;
	uint32_t written;
	bool swapped;

	if (lnet_decode_ping_reply(payload, length, &reply, &swapped) != LNET_WIRE_GOOD)
		return;
	written = lnet_encode_ping_reply(again, &reply, swapped);
	must(written <= length);
	must(memcmp(payload, again, LNET_PING_BYTES) == 0);
	for (uint32_t at = LNET_PING_BYTES; at < written; at += LNET_PING_STATUS_BYTES)
		must(memcmp(payload + at, again + at, 12) == 0); /* then 4 that mean nothing */
}

/* The payload is summed in two parts and at once. */
static void check_payload(struct stream *stream, const struct lnet_header *header)
{
	uint32_t length = header->payload_length, half;
	uint8_t *payload = take(stream, &length);

	half = length / 2;
	must(ksock_checksum_add(ksock_checksum_add(1, payload, half), payload + half,
				length - half) == ksock_checksum_add(1, payload, length));
	if (header->type == LNET_MSG_REPLY)
		check_ping(payload, length);
	free(payload);
}

static bool check_lnet_message(struct stream *stream)
{
	static const uint32_t used[] = {60, 72, 68, 48}; /* of the header, by type */
	uint32_t length = LNET_HEADER_BYTES;
	uint8_t *piece = take(stream, &length), again[LNET_HEADER_BYTES];
	struct lnet_header header;
	bool good = lnet_decode_header(piece, length, &header, stream->swapped) == LNET_WIRE_GOOD;

	if (good) {
		must(lnet_encode_header(again, &header, stream->swapped) == length);
		must(memcmp(piece, again, used[header.type]) == 0);
		for (uint32_t at = used[header.type]; at < LNET_HEADER_BYTES; at++)
			must(again[at] == 0);
		must(header.payload_length <= LNET_MTU);
		check_payload(stream, &header);
	}
	free(piece);
	return good;
}

static bool check_message(struct stream *stream)
{
	uint32_t length = KSOCK_MESSAGE_BYTES;
	uint8_t *piece = take(stream, &length), again[KSOCK_MESSAGE_BYTES];
	struct ksock_message_header header;
	bool good = ksock_decode_message(piece, length, &header, stream->swapped) == LNET_WIRE_GOOD;

	if (good) {
		must(ksock_encode_message(again, &header, stream->swapped) == length);
		must(memcmp(piece, again, length) == 0);
		ksock_set_checksum(again, header.checksum + 1, stream->swapped);
		must(ksock_checksum_begin(piece) == ksock_checksum_begin(again));
	}
	free(piece);
	return good && (header.type == KSOCK_MSG_NOOP || check_lnet_message(stream));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream stream = {.at = data, .left = size};

	check_request(&stream);
	if (check_hello(&stream))
		while (check_message(&stream)) /* a short one is not good */
			continue;
	return 0;
}
