/*
 * Stage 07 and a peer that is played by hand: of the other byte order, of version 2, one that
 * answers what nobody has asked, one that lives a second time.
 */
#include <string.h>

#include "nal_hand.h"
#include "suites.h"
#include "transport_client.h"

static const struct lnet_options plain = {0};
static const struct lnet_options zero_copy = {.zero_copy_bytes = 1024};

enum { LENGTH = 1500 };

static struct ksock_peer *peer_of_hand(struct nodes *nodes, const struct transport_address *address)
{
	struct host *host = address != NULL ? &nodes->client : &nodes->server;
	struct ksock_peer *peer =
		ksocknal_find_peer(lnet_find_ni(host->node, host->nid), HAND_NID, address);

	CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
	return peer;
}

/* ---- What the hand sends ------------------------------------------------------------------- */

/* Hears NOOPs and messages until both cookies are acknowledged. */
static void hear_zc_acks(struct hand *hand, uint64_t first, uint64_t last)
{
	uint32_t heard = 0;

	while (heard < last - first + 1) {
		struct ksock_message_header message;
		struct lnet_header header;
		uint64_t *cookies = message.zc_cookies;

		if (!hand_hear_message(hand, &message, &header)) {
			CU_FAIL("not all that has come is acknowledged");
			return;
		}
		if (message.type == KSOCK_MSG_NOOP && cookies[0] != 0) {
			CU_ASSERT_NOT_EQUAL(hand->version, KSOCK_PROTO_V2); /* it knows no ranges */
			CU_ASSERT_EQUAL(cookies[0], first + heard);
			heard = (uint32_t)(cookies[1] - first + 1);
		} else if (cookies[1] != 0) {
			CU_ASSERT_EQUAL(cookies[1], first + heard);
			heard++;
		}
	}
	CU_ASSERT_EQUAL(heard, last - first + 1);
}

static void a_stranger(struct nodes *nodes, bool swapped, uint32_t version)
{
	struct hand hand = {.swapped = swapped, .version = version};
	struct lnet_header put = hand_header(LNET_MSG_PUT, LENGTH), ack;
	uint8_t *payload = need_pool(LENGTH);
	struct ksock_message_header message;
	struct sheet into;

	make_sheet(&into, LENGTH, 3, false);
	fill_pattern(payload, 3, 0, LENGTH);
	nodes->server.owner.shelves[1].payload = into.payload;
	put.msg.put = (struct lnet_put){
		.ack_wmd = {11, 22}, .match_bits = 1, .hdr_data = 33, .ptl_index = PORTAL_PLACED};
	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	hand_send(&hand, &put, payload, 0);
	CU_ASSERT(hand_hear_message(&hand, &message, &ack));
	CU_ASSERT_EQUAL(ack.type, LNET_MSG_ACK);
	CU_ASSERT_EQUAL(ack.msg.ack.dst_wmd.interface_cookie, 11);
	CU_ASSERT_EQUAL(ack.msg.ack.dst_wmd.object_cookie, 22);
	CU_ASSERT_EQUAL(ack.msg.ack.match_bits, 1);
	CU_ASSERT_EQUAL(ack.msg.ack.mlength, LENGTH);
	CU_ASSERT(sheet_is(&into, 3, LENGTH));
	CU_ASSERT_EQUAL(look_at(&nodes->server.owner, 1).header.msg.put.hdr_data, 33);
	put.msg.put.ack_wmd.interface_cookie = UINT64_MAX; /* none is wanted */
	for (uint64_t cookie = 5; cookie <= 9; cookie++)
		hand_send(&hand, &put, payload, cookie);
	hear_zc_acks(&hand, 5, 9);
	hand_hang_up(&hand);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), 0);
	CU_ASSERT_EQUAL(nodes->server.owner.shelves[1].dones, 6);
	ex_free_pool(payload);
	drop_sheet(&into);
}

static void version_3(struct nodes *nodes)
{
	a_stranger(nodes, false, KSOCK_PROTO_V3);
}

static void version_2(struct nodes *nodes)
{
	a_stranger(nodes, false, KSOCK_PROTO_V2);
}

static void other_order(struct nodes *nodes)
{
	a_stranger(nodes, true, KSOCK_PROTO_V3);
}

static void other_order_version_2(struct nodes *nodes)
{
	a_stranger(nodes, true, KSOCK_PROTO_V2);
}

static void test_strangers(void)
{
	with_nodes(version_3, &plain);
	with_nodes(version_2, &plain);
	with_nodes(other_order, &plain);
	with_nodes(other_order_version_2, &plain);
}

/* ---- What the hand answers ----------------------------------------------------------------- */

static void answer_put(struct hand *hand, const struct lnet_header *put, uint64_t other_life,
		       uint64_t other_object)
{
	struct lnet_header ack = hand_header(LNET_MSG_ACK, 0);

	ack.msg.ack.dst_wmd = put->msg.put.ack_wmd;
	ack.msg.ack.dst_wmd.interface_cookie += other_life;
	ack.msg.ack.dst_wmd.object_cookie += other_object;
	ack.msg.ack.mlength = 7;
	hand_send(hand, &ack, NULL, 0);
}

static void answer_get(struct hand *hand, const struct lnet_header *get, uint64_t other_object,
		       const uint8_t *payload)
{
	struct lnet_header reply = hand_header(LNET_MSG_REPLY, LENGTH);

	reply.msg.reply.dst_wmd = get->msg.get.return_wmd;
	reply.msg.reply.dst_wmd.object_cookie += other_object;
	hand_send(hand, &reply, payload, 0);
}

/* A GET into these pieces, or a PUT (NULL), again and again until there is a connection to use. */
static void ask_hand(struct letter *letter, struct ksock_peer *peer, struct sheet *into)
{
	for (;;) {
		if (into != NULL)
			start_get(letter, peer, PORTAL_PLACED, 1, &into->payload);
		else
			start_put(letter, peer, PORTAL_PLACED, 1, NULL, LNET_ACK_WANTED);
		if (letter->tx.conn != NULL)
			return;
		CU_ASSERT_EQUAL(wait_for_letter(letter), STATUS_HOST_UNREACHABLE);
	}
}

/* An answer is the last that comes, perhaps before the transport says that the message went. */
static void last_words(struct nodes *nodes, uint32_t type)
{
	struct hand hand = {.version = KSOCK_PROTO_V3};
	struct ksock_peer *peer = peer_of_hand(nodes, NULL);
	struct letter letter = {0};
	uint8_t *payload = need_pool(LENGTH);
	struct ksock_message_header message;
	struct lnet_header asked;
	struct sheet into;

	make_sheet(&into, LENGTH, 2, false);
	fill_pattern(payload, 4, 0, LENGTH);
	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	answer_put(&hand, &(struct lnet_header){0}, 0, 0); /* and now it stands */
	ask_hand(&letter, peer, type == LNET_MSG_GET ? &into : NULL);
	CU_ASSERT(hand_hear_message(&hand, &message, &asked));
	CU_ASSERT_EQUAL(asked.type, type);
	if (type == LNET_MSG_PUT)
		answer_put(&hand, &asked, 0, 0);
	else
		answer_get(&hand, &asked, 0, payload);
	tdi_disconnect(&hand.stream->file, TDI_DISCONNECT_RELEASE);
	CU_ASSERT_EQUAL(wait_for_letter(&letter), STATUS_SUCCESS);
	hand_hang_up(&hand);
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	drop_sheet(&into);
	ex_free_pool(payload);
}

static void last_ack(struct nodes *nodes)
{
	last_words(nodes, LNET_MSG_PUT);
}

static void last_reply(struct nodes *nodes)
{
	last_words(nodes, LNET_MSG_GET);
}

static void test_last_words(void)
{
	with_nodes(last_ack, &plain);
	with_nodes(last_reply, &plain);
}

/* Answers to messages that do not exist, have had theirs, or are of another kind. */
static void invented_answers(struct nodes *nodes)
{
	struct hand hand = {.swapped = true};
	struct ksock_peer *peer = peer_of_hand(nodes, NULL);
	struct letter put = {0}, get = {0};
	uint8_t *payload = need_pool(LENGTH);
	struct ksock_message_header message;
	struct lnet_header asked;
	struct sheet into;

	make_sheet(&into, LENGTH - 1, 2, false);
	fill_pattern(payload, 4, 0, LENGTH);
	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	answer_put(&hand, &(struct lnet_header){0}, 0, 0); /* and now it stands */
	answer_get(&hand, &(struct lnet_header){0}, 0, payload);
	ask_hand(&put, peer, NULL);
	CU_ASSERT(hand_hear_message(&hand, &message, &asked));
	CU_ASSERT_EQUAL(asked.type, LNET_MSG_PUT);
	answer_put(&hand, &asked, 1, 0);
	answer_put(&hand, &asked, 0, 1);
	answer_get(&hand, &asked, 0, payload);
	answer_put(&hand, &asked, 0, 0);
	CU_ASSERT_EQUAL(wait_for_letter(&put), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(put.length, 7);
	answer_put(&hand, &asked, 0, 0); /* late */
	start_get(&get, peer, PORTAL_PLACED, 1, &into.payload);
	CU_ASSERT(hand_hear_message(&hand, &message, &asked));
	CU_ASSERT_EQUAL(asked.type, LNET_MSG_GET);
	CU_ASSERT_EQUAL(asked.msg.get.sink_length, LENGTH - 1);
	answer_get(&hand, &asked, 1, payload);
	answer_put(&hand, &asked, 0, 0);
	answer_get(&hand, &asked, 0, payload); /* more than was wanted */
	CU_ASSERT_EQUAL(wait_for_letter(&get), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(get.length, LENGTH - 1);
	CU_ASSERT(sheet_is(&into, 4, LENGTH - 1));
	hand_hang_up(&hand);
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "dropped"), 8);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "slop_bytes"), 3 * LENGTH + 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), 0);
	ex_free_pool(payload);
	drop_sheet(&into);
}

static void test_invented_answers(void)
{
	with_nodes(invented_answers, &plain);
}

enum { COPIES = 5 };

/* The hand says of some payloads that it has them, in every way. */
static void zero_copy_words(struct nodes *nodes)
{
	struct hand hand = {0};
	struct ksock_peer *peer = peer_of_hand(nodes, NULL);
	struct letter letters[COPIES] = {0};
	uint64_t cookies[COPIES];
	uint8_t *payload = need_pool(LENGTH);
	struct sheet from;

	make_sheet(&from, LENGTH, 2, false);
	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	for (int i = 0; i < COPIES; i++) {
		struct ksock_message_header message;
		struct lnet_header header;

		while (start_put(&letters[i], peer, PORTAL_PLACED, 1, &from.payload, 0),
		       letters[i].tx.conn == NULL)
			wait_for_letter(&letters[i]);
		CU_ASSERT(hand_hear_message(&hand, &message, &header));
		CU_ASSERT(hand_hear(&hand, payload, LENGTH));
		cookies[i] = message.zc_cookies[0];
		CU_ASSERT(cookies[i] > SOCKNAL_KEEPALIVE_PING);
	}
	hand_noop(&hand, 0, SOCKNAL_KEEPALIVE_PING);
	hand_noop(&hand, 0, cookies[COPIES - 1] + 1); /* of no message */
	hand_noop(&hand, cookies[2], cookies[0]);     /* two, and not those between */
	CU_ASSERT_EQUAL(wait_for_letter(&letters[0]), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_letter(&letters[2]), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(read_count(&letters[1].callbacks), 0);
	CU_ASSERT_EQUAL(read_count(&letters[3].callbacks), 0);
	hand_noop(&hand, cookies[0], cookies[3]); /* all of these */
	CU_ASSERT_EQUAL(wait_for_letter(&letters[1]), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_letter(&letters[3]), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(read_count(&letters[4].callbacks), 0);
	hand_hang_up(&hand);
	CU_ASSERT_EQUAL(wait_for_letter(&letters[4]), STATUS_CONNECTION_RESET);
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	ex_free_pool(payload);
	drop_sheet(&from);
}

static void test_zero_copy_words(void)
{
	with_nodes(zero_copy_words, &zero_copy);
}

/* ---- Another life -------------------------------------------------------------------------- */

static void another_life(struct nodes *nodes)
{
	struct hand first = {.incarnation = 10}, twin = {.incarnation = 10},
		    second = {.incarnation = 11};
	struct ksock_peer *peer = peer_of_hand(nodes, NULL);
	struct ksock_message_header message;
	struct letter letter = {0};
	struct lnet_header header;

	hand_call(&first, nodes, 0);
	hand_greet(&first);
	while (start_put(&letter, peer, PORTAL_PLACED, 1, NULL, LNET_ACK_WANTED),
	       letter.tx.conn == NULL)
		wait_for_letter(&letter);
	CU_ASSERT(hand_hear_message(&first, &message, &header));
	hand_call(&twin, nodes, 0); /* of the same life: nothing ends */
	hand_greet(&twin);
	hand_noop(&twin, 0, SOCKNAL_KEEPALIVE_PING);
	hand_call(&second, nodes, 0);
	hand_greet(&second);
	CU_ASSERT_EQUAL(wait_for_letter(&letter), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(hand_hear_end(&first), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(hand_hear_end(&twin), STATUS_CONNECTION_RESET);
	while (start_put(&letter, peer, PORTAL_PLACED, 2, NULL, LNET_ACK_WANTED),
	       letter.tx.conn == NULL)
		wait_for_letter(&letter);
	CU_ASSERT(hand_hear_message(&second, &message, &header));
	CU_ASSERT_EQUAL(header.msg.put.match_bits, 2);
	answer_put(&second, &header, 0, 0);
	CU_ASSERT_EQUAL(wait_for_letter(&letter), STATUS_SUCCESS);
	hand_hang_up(&first);
	hand_hang_up(&twin);
	hand_hang_up(&second);
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), 0);
}

static void test_another_life(void)
{
	with_nodes(another_life, &plain);
}

/* A whole node that is started anew; its peer finds that out, and calls it again. */
static void restarted(struct nodes *nodes)
{
	CU_ASSERT(knock(nodes));
	for (int life = 0; life < 2; life++) {
		uint32_t length;
		int tries = 0;

		restart_server(nodes, &plain);
		while (!nt_success(put(nodes->peer, PORTAL_SILENT, 1, NULL, LNET_ACK_WANTED,
				       &length)) &&
		       tries < 1000)
			tries++; /* by the connection that is about to end */
		CU_ASSERT(tries < 1000);
	}
	CU_ASSERT(knock(nodes));
}

static void test_restarted(void)
{
	with_nodes(restarted, &plain);
}

/* ---- The hand is called -------------------------------------------------------------------- */

enum { GOOD, OTHER_NID, OTHER_TARGET, OTHER_TYPE, KINDS };

struct door {
	struct tdi_daemon daemon;
	struct transport_address place;
};

static void open_door(struct door *door, struct nodes *nodes)
{
	door->place = nodes->ground->any();
	CU_ASSERT_EQUAL_FATAL(tdi_start_daemon(&door->daemon, nodes->device, &door->place, 1, 0),
			      STATUS_SUCCESS);
	door->place.port = local_of(&door->daemon.address).port;
}

/* Takes a call and answers its HELLO, in one of the ways. */
static void answer_call(struct door *door, struct hand *hand, int kind)
{
	struct lnet_acceptor_request request;
	struct ksock_hello asked, hello;
	char bytes[GREETING_BYTES];
	ntstatus status;
	bool swapped;

	hand->stream = tdi_accept_stream(&door->daemon, SOON, &status);
	CU_ASSERT_PTR_NOT_NULL_FATAL(hand->stream);
	CU_ASSERT(hand_hear(hand, bytes, sizeof(bytes)));
	CU_ASSERT_EQUAL(
		lnet_decode_acceptor_request(bytes, LNET_ACCEPTOR_BYTES, &request, &swapped),
		LNET_WIRE_GOOD);
	CU_ASSERT_EQUAL(request.target_nid, HAND_NID);
	CU_ASSERT_EQUAL(ksock_decode_hello(bytes + LNET_ACCEPTOR_BYTES, KSOCK_HELLO_BYTES, &asked,
					   &swapped),
			LNET_WIRE_GOOD);
	CU_ASSERT_EQUAL(asked.src_nid, CLIENT_NID);
	hello = (struct ksock_hello){
		.version = hand->version,
		.src_nid = HAND_NID + (kind == OTHER_NID),
		.dst_nid = CLIENT_NID + (kind == OTHER_TARGET),
		.src_incarnation = 1,
		.dst_incarnation = asked.src_incarnation,
		.connection_type = kind == OTHER_TYPE ? SOCKLND_CONN_CONTROL : SOCKLND_CONN_ANY,
	};
	ksock_encode_hello(bytes, &hello, hand->swapped);
	CU_ASSERT_EQUAL(hand_say(hand, bytes, KSOCK_HELLO_BYTES), STATUS_SUCCESS);
}

/* Whoever was called answers with version 2: so it is spoken with. */
static void calls_version_2(struct nodes *nodes)
{
	struct hand hand = {.swapped = true, .version = KSOCK_PROTO_V2};
	struct lnet_header header = hand_header(LNET_MSG_PUT, 0), heard;
	struct ksock_message_header message;
	char bytes[5 * HEADERS_BYTES];
	struct letter letter = {0};
	struct ksock_peer *peer;
	struct door door;

	open_door(&door, nodes);
	peer = peer_of_hand(nodes, &door.place);
	start_put(&letter, peer, PORTAL_PLACED, 1, NULL, LNET_ACK_WANTED);
	answer_call(&door, &hand, GOOD);
	CU_ASSERT(hand_hear_message(&hand, &message, &heard));
	CU_ASSERT_EQUAL(heard.type, LNET_MSG_PUT);
	header.dest_nid = CLIENT_NID;
	header.msg.put.ack_wmd.interface_cookie = UINT64_MAX;
	header.msg.put.ptl_index = PORTAL_SILENT;
	for (uint32_t i = 0; i < 5; i++)
		encode_headers(&hand, bytes + i * HEADERS_BYTES, &header, NULL, 5 + i);
	CU_ASSERT_EQUAL(hand_say(&hand, bytes, sizeof(bytes)), STATUS_SUCCESS);
	hear_zc_acks(&hand, 5, 9);
	tdi_delete_stream(hand.stream);
	CU_ASSERT_EQUAL(wait_for_letter(&letter), STATUS_CONNECTION_RESET);
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	tdi_stop_daemon(&door.daemon);
}

static void test_calls_version_2(void)
{
	with_nodes(calls_version_2, &plain);
}

/* Whoever answers the call is not who was called. */
static void wrong_answers(struct nodes *nodes)
{
	struct ksock_peer *peer;
	struct door door;

	open_door(&door, nodes);
	peer = peer_of_hand(nodes, &door.place);
	for (int kind = OTHER_NID; kind < KINDS; kind++) {
		struct hand hand = {.version = KSOCK_PROTO_V3};
		struct letter letter = {0};

		start_put(&letter, peer, PORTAL_PLACED, 1, NULL, 0);
		answer_call(&door, &hand, kind);
		CU_ASSERT_EQUAL(wait_for_letter(&letter), STATUS_INVALID_NETWORK_RESPONSE);
		CU_ASSERT_EQUAL(hand_hear_end(&hand), STATUS_CONNECTION_RESET);
		tdi_delete_stream(hand.stream);
	}
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	tdi_stop_daemon(&door.daemon);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "bad_nid"), 2);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "bad_connection_type"), 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "called"), 3);
}

static void test_wrong_answers(void)
{
	with_nodes(wrong_answers, &plain);
}

void register_message_peer_suite(void)
{
	static const struct test_case cases[] = {
		{"a peer of the other byte order, of version 2, of both", test_strangers},
		{"answers that are late, or that nobody has asked for", test_invented_answers},
		{"an answer counts, though the connection ends with it", test_last_words},
		{"zero-copy ACKs: one, two, a range", test_zero_copy_words},
		{"a peer comes back with another life", test_another_life},
		{"a node is started anew", test_restarted},
		{"who is called answers with version 2", test_calls_version_2},
		{"who answers is not who was called", test_wrong_answers},
		{NULL, NULL},
	};

	add_suite("07-message peers", cases);
}
