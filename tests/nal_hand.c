#include "nal_hand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport_client.h"

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "no hand: %s\n", what);
	abort();
}

struct saying {
	struct tdi_window_send send;
	struct kevent said;
	ntstatus status;
};

static void said(void *context, ntstatus status, uint32_t bytes)
{
	struct saying *saying = context;

	(void)bytes;
	saying->status = status;
	ke_set_event(&saying->said);
}

ntstatus hand_say(struct hand *hand, const void *bytes, uint32_t length)
{
	char *words = need_pool(length + 1);
	struct saying saying;

	memcpy(words, bytes, length);
	ke_initialize_event(&saying.said, NOTIFICATION_EVENT, false);
	tdi_window_send(&hand->stream->window, &saying.send, words, length, said, &saying);
	ke_wait_for_single_object(&saying.said, KE_WAIT_FOREVER);
	ex_free_pool(words);
	return saying.status;
}

bool hand_hear(struct hand *hand, void *bytes, uint32_t length)
{
	uint32_t have = 0;
	int64_t got = 1;

	while (have < length && got > 0) {
		got = tdi_stream_read(hand->stream, (char *)bytes + have, length - have, SOON);
		have += got > 0 ? (uint32_t)got : 0;
	}
	return have == length;
}

ntstatus hand_hear_end(struct hand *hand)
{
	char bytes[256];
	int64_t got;

	do
		got = tdi_stream_read(hand->stream, bytes, sizeof(bytes), SOON);
	while (got > 0);
	return (ntstatus)got;
}

void hand_call(struct hand *hand, struct nodes *nodes, uint32_t limit)
{
	struct transport_address any = nodes->ground->any();
	ntstatus status = tdi_open_stream_address(nodes->device, &any, &hand->address);

	need(nt_success(status), nt_status_name(status));
	hand->stream = tdi_create_stream(&hand->address, limit, &status);
	need(hand->stream != NULL, nt_status_name(status));
	status = tdi_connect_peer(hand->stream, &nodes->place, SOON);
	need(nt_success(status), nt_status_name(status));
}

void hand_hang_up(struct hand *hand)
{
	tdi_delete_stream(hand->stream);
	tdi_close(&hand->address);
}

void encode_greeting(const struct hand *hand, void *bytes)
{
	const struct lnet_acceptor_request request = {LNET_PROTO_ACCEPTOR_VERSION, SERVER_NID};
	const struct ksock_hello hello = {
		.version = hand->version != 0 ? hand->version : KSOCK_PROTO_V3,
		.src_nid = HAND_NID,
		.dst_nid = SERVER_NID,
		.src_pid = LNET_PID_LUSTRE,
		.dst_pid = LNET_PID_LUSTRE,
		.src_incarnation = hand->incarnation != 0 ? hand->incarnation : 1,
		.connection_type = SOCKLND_CONN_ANY,
	};

	lnet_encode_acceptor_request(bytes, &request, hand->swapped);
	ksock_encode_hello((char *)bytes + LNET_ACCEPTOR_BYTES, &hello, hand->swapped);
}

void hand_greet(struct hand *hand)
{
	char bytes[GREETING_BYTES];
	struct ksock_hello hello;
	bool swapped;

	encode_greeting(hand, bytes);
	CU_ASSERT_EQUAL(hand_say(hand, bytes, sizeof(bytes)), STATUS_SUCCESS);
	need(hand_hear(hand, bytes, KSOCK_HELLO_BYTES), "no HELLO");
	CU_ASSERT_EQUAL(ksock_decode_hello(bytes, KSOCK_HELLO_BYTES, &hello, &swapped),
			LNET_WIRE_GOOD);
	CU_ASSERT_FALSE(swapped);
	CU_ASSERT_EQUAL(hello.version, hand->version != 0 ? hand->version : KSOCK_PROTO_V3);
	CU_ASSERT_EQUAL(hello.src_nid, SERVER_NID);
	CU_ASSERT_EQUAL(hello.dst_nid, HAND_NID);
	CU_ASSERT_EQUAL(hello.dst_incarnation, hand->incarnation != 0 ? hand->incarnation : 1);
	CU_ASSERT_EQUAL(hello.connection_type, SOCKLND_CONN_ANY);
}

void encode_headers(const struct hand *hand, void *bytes, const struct lnet_header *header,
		    const void *payload, uint64_t zc_cookie)
{
	const struct ksock_message_header message = {.type = KSOCK_MSG_LNET,
						     .zc_cookies = {zc_cookie, 0}};
	char *lnet_header = (char *)bytes + KSOCK_MESSAGE_BYTES;
	uint32_t sum;

	ksock_encode_message(bytes, &message, hand->swapped);
	lnet_encode_header(lnet_header, header, LNET_HEADER_SWAPPED);
	sum = ksock_checksum_add(ksock_checksum_begin(bytes), lnet_header, LNET_HEADER_BYTES);
	if (payload != NULL)
		sum = ksock_checksum_add(sum, payload, header->payload_length);
	ksock_set_checksum(bytes, sum, hand->swapped);
}

struct lnet_header hand_header(uint32_t type, uint32_t payload_length)
{
	return (struct lnet_header){
		.dest_nid = SERVER_NID,
		.src_nid = HAND_NID,
		.dest_pid = LNET_PID_LUSTRE,
		.src_pid = LNET_PID_LUSTRE,
		.type = type,
		.payload_length = payload_length,
	};
}

void hand_send(struct hand *hand, const struct lnet_header *header, const void *payload,
	       uint64_t zc_cookie)
{
	char bytes[HEADERS_BYTES];

	encode_headers(hand, bytes, header, payload, zc_cookie);
	CU_ASSERT_EQUAL(hand_say(hand, bytes, sizeof(bytes)), STATUS_SUCCESS);
	if (header->payload_length > 0)
		CU_ASSERT_EQUAL(hand_say(hand, payload, header->payload_length), STATUS_SUCCESS);
}

void hand_noop(struct hand *hand, uint64_t first, uint64_t second)
{
	const struct ksock_message_header noop = {.type = KSOCK_MSG_NOOP,
						  .zc_cookies = {first, second}};
	char bytes[KSOCK_MESSAGE_BYTES];

	ksock_encode_message(bytes, &noop, hand->swapped);
	CU_ASSERT_EQUAL(hand_say(hand, bytes, sizeof(bytes)), STATUS_SUCCESS);
}

bool hand_hear_message(struct hand *hand, struct ksock_message_header *message,
		       struct lnet_header *header)
{
	char bytes[LNET_HEADER_BYTES];

	if (!hand_hear(hand, bytes, KSOCK_MESSAGE_BYTES))
		return false;
	CU_ASSERT_EQUAL(ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, message, false),
			LNET_WIRE_GOOD);
	if (message->type == KSOCK_MSG_NOOP)
		return true;
	if (!hand_hear(hand, bytes, LNET_HEADER_BYTES))
		return false;
	CU_ASSERT_EQUAL(lnet_decode_header(bytes, LNET_HEADER_BYTES, header, LNET_HEADER_SWAPPED),
			LNET_WIRE_GOOD);
	return true;
}
