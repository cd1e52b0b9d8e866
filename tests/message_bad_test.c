/*
 * Stage 07 and peers who do what they should not: bytes that are no messages, ends in the midst,
 * silence. Whoever does that loses his connection, and the others do not notice.
 */
#include <stdio.h>
#include <string.h>

#include "nal_hand.h"
#include "suites.h"
#include "transport_client.h"

static const struct lnet_options plain = {0};
static const struct lnet_options short_of_time = {.timeout_ns = MILLISECONDS(300),
						  .keepalive_ns = MILLISECONDS(100)};
static const struct lnet_options held_off = {.reconnect_ns = MILLISECONDS(300)};

/* A greeting and a PUT of some bytes. */
enum {
	TEXT = 5,
	SESSION = GREETING_BYTES + HEADERS_BYTES + TEXT,
	ACCEPTOR_AT = 0,
	HELLO_AT = LNET_ACCEPTOR_BYTES,
	MESSAGE_AT = GREETING_BYTES,
	HEADER_AT = MESSAGE_AT + KSOCK_MESSAGE_BYTES,
	PAYLOAD_AT = HEADER_AT + LNET_HEADER_BYTES,
};

static void encode_session(const struct hand *hand, uint8_t *bytes)
{
	struct lnet_header put = hand_header(LNET_MSG_PUT, TEXT);

	put.msg.put = (struct lnet_put){
		.ack_wmd = {UINT64_MAX, 0}, .match_bits = 1, .ptl_index = PORTAL_PLACED};
	encode_greeting(hand, bytes);
	encode_headers(hand, bytes + MESSAGE_AT, &put, "hello", 0);
	memcpy(bytes + PAYLOAD_AT, "hello", TEXT);
}

/* Says these bytes to the server, and that this is all, if so; the server ends the connection. */
static void say_to_server(struct nodes *nodes, const uint8_t *bytes, uint32_t length, bool all)
{
	struct hand hand = {0};

	hand_call(&hand, nodes, 0);
	if (length > 0)
		hand_say(&hand, bytes, length);
	if (all)
		tdi_disconnect(&hand.stream->file, TDI_DISCONNECT_RELEASE);
	CU_ASSERT_NOT_EQUAL(hand_hear_end(&hand), STATUS_IO_TIMEOUT);
	hand_hang_up(&hand);
}

/* ---- No messages --------------------------------------------------------------------------- */

/* A field of the session, and what it is instead. */
struct flaw {
	uint32_t at;
	uint32_t value;
	const char *counter;
	uint32_t at_too, value_too; /* if not 0 */
};

static const struct flaw flaws[] = {
	{ACCEPTOR_AT, LNET_PROTO_MAGIC, "bad_magic"},
	{ACCEPTOR_AT + 4, 0, "bad_version"},
	{ACCEPTOR_AT + 4, 2, "bad_version"},
	{ACCEPTOR_AT + 8, 7, "bad_nid"},
	{HELLO_AT, LNET_PROTO_ACCEPTOR_MAGIC, "bad_magic"},
	{HELLO_AT + 4, 1, "bad_version"},
	{HELLO_AT + 4, 4, "bad_version"},
	{HELLO_AT + 8, UINT32_MAX, "bad_nid", HELLO_AT + 12, UINT32_MAX},
	{HELLO_AT + 16, 7, "bad_nid"},
	{HELLO_AT + 48, SOCKLND_CONN_TYPES, "bad_connection_type"},
	{HELLO_AT + 52, LNET_MOST_ADDRESSES + 1, "too_many_addresses"},
	{HELLO_AT + 52, UINT32_MAX, "too_many_addresses"},
	{MESSAGE_AT, 0, "bad_message_type"},
	{MESSAGE_AT, 0xc2, "bad_message_type"},
	{MESSAGE_AT + 4, 1, "bad_checksum"},
	{PAYLOAD_AT, 0, "bad_checksum"},
	{HEADER_AT + 8, 7, "bad_nid"},
	{HEADER_AT + 24, 4, "bad_lnet_type"},
	{HEADER_AT + 24, LNET_MSG_ACK, "unwanted_payload"},
	{HEADER_AT + 24, LNET_MSG_GET, "unwanted_payload"},
	{HEADER_AT + 28, LNET_MTU + 1, "payload_too_long"},
	{HEADER_AT + 28, UINT32_MAX, "payload_too_long"},
	{HEADER_AT + 24, UINT32_MAX, "bad_lnet_type"},
};

enum { FLAWS = sizeof(flaws) / sizeof(flaws[0]) };

static uint32_t flaws_of(const char *counter)
{
	uint32_t count = 0;

	for (int i = 0; i < FLAWS; i++)
		count += strcmp(flaws[i].counter, counter) == 0;
	return count;
}

static void set_field(uint8_t *bytes, uint32_t at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

static void no_messages(struct nodes *nodes)
{
	uint8_t *bytes = need_pool(SESSION), into[TEXT];
	struct lnet_iov piece = {into, TEXT};
	const struct hand hand = {0};

	nodes->server.owner.shelves[1].payload =
		(struct lnet_payload){.length = TEXT, .count = 1, .iov = &piece};
	CU_ASSERT(knock(nodes));
	for (int i = 0; i < FLAWS; i++) {
		encode_session(&hand, bytes);
		set_field(bytes, flaws[i].at, flaws[i].value);
		if (flaws[i].at_too != 0)
			set_field(bytes, flaws[i].at_too, flaws[i].value_too);
		say_to_server(nodes, bytes, SESSION, false);
	}
	CU_ASSERT(knock(nodes)); /* by the same connection */
	stop_nodes(nodes);
	for (int i = 0; i < FLAWS; i++)
		if (sum_of(&nodes->counted, "message", flaws[i].counter) !=
		    flaws_of(flaws[i].counter)) {
			printf("\n    flaw %d is not counted as %s\n", i, flaws[i].counter);
			CU_FAIL("a reason is not counted");
		}
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), FLAWS);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "called"), 1);
	/* Whose checksum is not right is told to be over, and not to be there. */
	CU_ASSERT_EQUAL(look_at(&nodes->server.owner, 1).puts, 2);
	CU_ASSERT_EQUAL(look_at(&nodes->server.owner, 1).failed, 2);
	ex_free_pool(bytes);
}

static void test_no_messages(void)
{
	with_nodes(no_messages, &plain);
}

/* Lengths in answers that no payload can have; and a PUT for another node. */
static void other_lengths(struct nodes *nodes)
{
	static const uint32_t types[] = {LNET_MSG_ACK, LNET_MSG_GET};
	uint8_t *bytes = need_pool(SESSION);
	const struct hand plain_hand = {0};
	struct hand hand = {0};
	struct lnet_header header;

	for (int i = 0; i < 2; i++) {
		header = hand_header(types[i], 0);
		if (types[i] == LNET_MSG_ACK)
			header.msg.ack.mlength = LNET_MTU + 1;
		else
			header.msg.get.sink_length = LNET_MTU + 1;
		encode_greeting(&plain_hand, bytes);
		encode_headers(&plain_hand, bytes + MESSAGE_AT, &header, NULL, 0);
		say_to_server(nodes, bytes, PAYLOAD_AT, false);
	}
	header = hand_header(LNET_MSG_PUT, TEXT);
	header.dest_nid++;
	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	hand_send(&hand, &header, "hello", 9);
	hand_noop(&hand, 0, SOCKNAL_KEEPALIVE_PING);
	CU_ASSERT(hand_hear(&hand, bytes, KSOCK_MESSAGE_BYTES)); /* its payload has come */
	hand_hang_up(&hand);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "bad_length"), 2);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "dropped"), 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "slop_bytes"), TEXT);
	ex_free_pool(bytes);
}

static void test_other_lengths(void)
{
	with_nodes(other_lengths, &plain);
}

/* ---- Ends in the midst --------------------------------------------------------------------- */

/* Of all sessions that end early, those from `first` on; each `step`th. */
static void early_ends(struct nodes *nodes, uint32_t portal, uint32_t first, uint32_t step)
{
	uint8_t *bytes = need_pool(SESSION), into[TEXT];
	struct lnet_iov piece = {into, TEXT};
	const struct hand hand = {0};

	nodes->server.owner.shelves[1].payload =
		(struct lnet_payload){.length = TEXT, .count = 1, .iov = &piece};
	encode_session(&hand, bytes);
	set_field(bytes, MESSAGE_AT + 4, 0); /* no checksum */
	set_field(bytes, HEADER_AT + 64, portal);
	for (uint32_t length = first; length <= SESSION; length += step)
		say_to_server(nodes, bytes, length, true);
	CU_ASSERT(knock(nodes));
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), 0);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "accepted"),
			(SESSION - first) / step + 1 + 1);
	ex_free_pool(bytes);
}

enum { STRIDE = EXECUTIVE_HOST ? 1 : 11 };

static void early_ends_placed(struct nodes *nodes)
{
	early_ends(nodes, PORTAL_PLACED, SESSION % STRIDE, STRIDE);
}

static void early_ends_dropped(struct nodes *nodes)
{
	early_ends(nodes, PORTAL_VACANT, PAYLOAD_AT - 2, 1);
}

static void test_early_ends(void)
{
	with_nodes(early_ends_placed, &plain);
	with_nodes(early_ends_dropped, &plain);
}

/* ---- Silence ------------------------------------------------------------------------------- */

/* Who begins a piece and says no more is given up. */
static void silence(struct nodes *nodes)
{
	static const uint32_t lengths[] = {0,
					   5,
					   LNET_ACCEPTOR_BYTES,
					   GREETING_BYTES - 1,
					   MESSAGE_AT + 1,
					   HEADER_AT + 5,
					   SESSION - 1};
	enum { CALLERS = sizeof(lengths) / sizeof(lengths[0]) };
	struct hand hands[CALLERS] = {0};
	uint8_t *bytes = need_pool(SESSION);

	encode_session(&hands[0], bytes);
	for (int i = 0; i < CALLERS; i++) {
		hand_call(&hands[i], nodes, 0);
		if (lengths[i] > 0)
			hand_say(&hands[i], bytes, lengths[i]);
	}
	for (int i = 0; i < CALLERS; i++) {
		CU_ASSERT_EQUAL(hand_hear_end(&hands[i]), STATUS_CONNECTION_RESET);
		hand_hang_up(&hands[i]);
	}
	CU_ASSERT(knock(nodes));
	stop_nodes(nodes);
	ex_free_pool(bytes);
}

static void test_silence(void)
{
	with_nodes(silence, &short_of_time);
}

/* Between messages silence is no fault; each says now and then that it is alive. */
static void keepalives(struct nodes *nodes)
{
	struct ksock_message_header message;
	struct lnet_header header;
	struct hand hand = {0};

	hand_call(&hand, nodes, 0);
	hand_greet(&hand);
	for (int i = 0; i < 6; i++) { /* for longer than the timeout */
		CU_ASSERT(hand_hear_message(&hand, &message, &header));
		CU_ASSERT_EQUAL(message.type, KSOCK_MSG_NOOP);
		CU_ASSERT_EQUAL(message.zc_cookies[0], 0);
		CU_ASSERT_EQUAL(message.zc_cookies[1], SOCKNAL_KEEPALIVE_PING);
	}
	hand_hang_up(&hand);
}

static void test_keepalives(void)
{
	with_nodes(keepalives, &short_of_time);
}

enum { UNREAD = 4 };

/* A peer reads nothing: what is for it comes back. */
static void reads_nothing(struct nodes *nodes)
{
	struct ksock_peer *peer =
		ksocknal_find_peer(lnet_find_ni(nodes->server.node, SERVER_NID), HAND_NID, NULL);
	struct letter letters[UNREAD] = {0};
	struct hand hand = {0};
	struct sheet from;

	make_sheet(&from, LNET_MTU, 100, false);
	hand_call(&hand, nodes, 1);
	hand_greet(&hand);
	for (int i = 0; i < UNREAD; i++)
		do
			start_put(&letters[i], peer, PORTAL_PLACED, 1, &from.payload,
				  i % 2 != 0 ? LNET_ACK_WANTED : 0);
		while (letters[i].tx.conn == NULL && wait_for_letter(&letters[i]) != 0);
	for (int i = 0; i < UNREAD; i++)
		CU_ASSERT_EQUAL(wait_for_letter(&letters[i]), STATUS_IO_TIMEOUT);
	CU_ASSERT(knock(nodes));
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	hand_hang_up(&hand);
	drop_sheet(&from);
}

static void test_reads_nothing(void)
{
	with_nodes_on(swift_grounds, reads_nothing, &short_of_time);
}

/* A peer of version 2 wants words for so many payloads, and reads none of them. */
static void too_many_cookies(struct nodes *nodes)
{
	struct hand hand = {.version = KSOCK_PROTO_V2};
	struct lnet_header put = hand_header(LNET_MSG_PUT, 0);
	char *bytes = need_pool(100 * HEADERS_BYTES);
	ntstatus status = STATUS_SUCCESS;
	int said = 0;

	put.msg.put.ack_wmd.interface_cookie = UINT64_MAX;
	for (uint32_t i = 0; i < 100; i++)
		encode_headers(&hand, bytes + i * HEADERS_BYTES, &put, NULL, 10 + 2 * i);
	hand_call(&hand, nodes, 1);
	hand_greet(&hand);
	while (nt_success(status) && said++ < 10000)
		status = hand_say(&hand, bytes, 100 * HEADERS_BYTES);
	CU_ASSERT_FALSE(nt_success(status));
	hand_hang_up(&hand);
	CU_ASSERT(knock(nodes));
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "too_many_cookies"), 1);
	ex_free_pool(bytes);
}

static void test_too_many_cookies(void)
{
	with_nodes_on(swift_grounds, too_many_cookies, &plain);
}

/* ---- Nobody is there ----------------------------------------------------------------------- */

static void unreachable(struct nodes *nodes)
{
	struct transport_address nowhere = nodes->ground->any();
	struct file_object address;
	struct ksock_peer *peer;
	uint32_t length;

	CU_ASSERT_EQUAL_FATAL(tdi_open_transport_address(nodes->device, &nowhere, &address),
			      STATUS_SUCCESS);
	nowhere.port = local_of(&address).port;
	tdi_close(&address);
	peer = ksocknal_find_peer(lnet_find_ni(nodes->client.node, CLIENT_NID), HAND_NID, &nowhere);
	CU_ASSERT_EQUAL(put(nodes->back, PORTAL_PLACED, 1, NULL, 0, &length),
			STATUS_HOST_UNREACHABLE); /* it has not called, and can't be */
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(put(peer, PORTAL_PLACED, 1, NULL, LNET_ACK_WANTED, &length),
				STATUS_CONNECTION_REFUSED);
	ke_delay_execution_thread(held_off.reconnect_ns + 1);
	CU_ASSERT_EQUAL(get(peer, PORTAL_PLACED, 1, NULL, &length), STATUS_CONNECTION_REFUSED);
	CU_ASSERT(knock(nodes));
	ksocknal_put_peer(peer);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "called"), 3);
}

static void test_unreachable(void)
{
	with_nodes(unreachable, &held_off);
}

/* Everything is under way when both nodes end. */
static void end_of_all(struct nodes *nodes)
{
	enum { LETTERS = 10 };
	struct letter there[LETTERS] = {0}, back[LETTERS] = {0};
	struct sheet from;

	make_sheet(&from, 100000, 90, true);
	nodes->server.owner.shelves[1].payload = nodes->client.owner.shelves[1].payload =
		from.payload;
	CU_ASSERT(knock(nodes));
	for (int i = 0; i < LETTERS; i++) {
		start_put(&there[i], nodes->peer, PORTAL_PLACED, 2, &from.payload, i % 2);
		start_get(&back[i], nodes->back, PORTAL_PLACED, 1, &from.payload);
	}
	stop_nodes(nodes);
	for (int i = 0; i < LETTERS; i++) {
		wait_for_letter(&there[i]);
		wait_for_letter(&back[i]);
	}
	CU_ASSERT_EQUAL(nodes->server.owner.shelves[2].puts, nodes->server.owner.shelves[2].dones);
	CU_ASSERT_EQUAL(nodes->client.owner.shelves[1].gets, nodes->client.owner.shelves[1].gots);
	drop_sheet(&from);
}

static void test_end_of_all(void)
{
	with_nodes_on(swift_grounds, end_of_all, &plain);
}

void register_message_bad_suite(void)
{
	static const struct test_case cases[] = {
		{"what can't be a message ends the connection, and is counted", test_no_messages},
		{"lengths that no payload has, and a PUT for somebody else", test_other_lengths},
		{"sessions that end anywhere", test_early_ends},
		{"who says nothing more is given up", test_silence},
		{"who has nothing to say says that he is alive", test_keepalives},
		{"who reads nothing is given up", test_reads_nothing},
		{"a peer wants more words than are kept in mind", test_too_many_cookies},
		{"a peer can't be reached, and is not called again at once", test_unreachable},
		{"two nodes end with everything under way", test_end_of_all},
		{NULL, NULL},
	};

	add_suite("07-message bad", cases);
}
