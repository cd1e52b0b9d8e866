/*
 * Stages 07 and 08 between two nodes: what goes in at one end comes out at the other, whatever the
 * payloads are made of, and whatever the owners of portals answer.
 */
#include <stdio.h>
#include <string.h>

#include "nal_host.h"
#include "suites.h"
#include "transport_client.h"

static const struct lnet_options plain = {0};
static const struct lnet_options checked = {.checksums = true};
static const struct lnet_options typed = {.typed = true};
static const struct lnet_options all_of_it = {
	.typed = true, .checksums = true, .zero_copy_bytes = 16384};
static const struct lnet_options zero_copy = {.checksums = true, .zero_copy_bytes = 1024};
static const struct lnet_options short_of_time = {.timeout_ns = MILLISECONDS(400),
						  .keepalive_ns = MILLISECONDS(200)};

static const struct lnet_options *const settings[] = {&plain, &checked, &typed, &zero_copy,
						      &all_of_it};

static void in_all_settings(const struct ground *const *where, nodes_case *body)
{
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		unsigned failures = CU_get_number_of_failures();

		with_nodes_on(where, body, settings[i]);
		if (CU_get_number_of_failures() != failures)
			printf("    with setting %u\n", i);
	}
}

/* ---- There and back ------------------------------------------------------------------------ */

/* A PUT to each kind of portal, and a GET of the same. */
static void there_and_back(struct nodes *nodes, uint32_t length, uint32_t count, bool pages)
{
	struct shelf *placed = &nodes->server.owner.shelves[1];
	struct shelf *shown = &nodes->server.owner.shelves[2];
	struct sheet from, into, whole, back;
	uint32_t taken;

	make_sheet(&from, length, count, pages);
	make_sheet(&into, length, count + 2, !pages);
	make_sheet(&whole, length, 1, false);
	make_sheet(&back, length, 3, pages);
	fill_sheet(&from, length);
	placed->payload = into.payload;
	shown->payload = whole.payload;
	CU_ASSERT_EQUAL(put(nodes->peer, PORTAL_PLACED, 1, &from.payload, LNET_ACK_WANTED, &taken),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, length);
	CU_ASSERT(sheet_is(&into, length, length));
	CU_ASSERT_EQUAL(put(nodes->peer, PORTAL_SHOWN, 2, &from.payload, LNET_ACK_WANTED, &taken),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, length);
	CU_ASSERT_EQUAL(look_at(&nodes->server.owner, 2).shown, length);
	CU_ASSERT(sheet_is(&whole, length, length));
	CU_ASSERT_EQUAL(get(nodes->peer, PORTAL_PLACED, 1, &back.payload, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, length);
	CU_ASSERT(sheet_is(&back, length, length));
	stop_nodes(nodes); /* then nobody has the sheets any more */
	CU_ASSERT_EQUAL(placed->puts, 1);
	CU_ASSERT_EQUAL(placed->dones, 1);
	CU_ASSERT_EQUAL(placed->gets, 1);
	CU_ASSERT_EQUAL(placed->gots, 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "payload_bytes"), 3 * (uint64_t)length);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "slop_bytes"), 0);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "dropped"), 0);
	drop_sheet(&from);
	drop_sheet(&into);
	drop_sheet(&whole);
	drop_sheet(&back);
}

#define SIZE_CASE(name, length, count, pages)                                                      \
	static void name(struct nodes *nodes)                                                      \
	{                                                                                          \
		there_and_back(nodes, length, count, pages);                                       \
	}

SIZE_CASE(nothing, 0, 1, false)
SIZE_CASE(one_byte, 1, 1, true)
SIZE_CASE(below_bulk, 1023, 7, false)
SIZE_CASE(bulk, 1024, 3, true)
SIZE_CASE(last_copied, 16384, 9, false)
SIZE_CASE(first_in_place, 16385, 9, true)
SIZE_CASE(odd, 65535, 33, false)
SIZE_CASE(one_page, 65535, 1, true)
SIZE_CASE(longest, LNET_MTU, 1, false)
SIZE_CASE(longest_in_pages, LNET_MTU, 256, true)
SIZE_CASE(longest_in_scraps, LNET_MTU, 777, false)

static void test_small(void)
{
	in_all_settings(all_grounds, nothing);
	in_all_settings(all_grounds, one_byte);
	in_all_settings(all_grounds, below_bulk);
	in_all_settings(all_grounds, bulk);
}

static void test_large(void)
{
	in_all_settings(all_grounds, last_copied);
	in_all_settings(all_grounds, first_in_place);
	in_all_settings(swift_grounds, odd);
	in_all_settings(swift_grounds, one_page);
}

static void test_longest(void)
{
	with_nodes_on(swift_grounds, longest, &plain);
	with_nodes_on(swift_grounds, longest_in_pages, &all_of_it);
	with_nodes_on(swift_grounds, longest_in_scraps, &checked);
}

static void a_ping(struct nodes *nodes)
{
	char *bytes = need_pool(LNET_PING_MOST_BYTES);
	struct lnet_iov piece = {bytes, LNET_PING_MOST_BYTES};
	struct lnet_payload payload = {.length = LNET_PING_MOST_BYTES, .count = 1, .iov = &piece};
	const struct lnet_get what = {.match_bits = LNET_PROTO_PING_MATCHBITS};
	struct lnet_ping_reply reply;
	struct letter letter = {0};
	bool swapped;

	start_get(&letter, nodes->peer, LNET_RESERVED_PORTAL, 0, NULL);
	wait_for_letter(&letter); /* no ping, and dropped: so not before the end of the timeout */
	CU_ASSERT_EQUAL(letter.status, STATUS_IO_TIMEOUT);
	(void)what;
	lnet_get(nodes->peer, &letter.tx, &what, &payload, letter.tx.callback, &letter);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&letter.over, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(letter.status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(lnet_decode_ping_reply(bytes, letter.length, &reply, &swapped),
			LNET_WIRE_GOOD);
	CU_ASSERT_FALSE(swapped);
	CU_ASSERT_EQUAL(reply.count, 2);
	CU_ASSERT_EQUAL(reply.pid, LNET_PID_LUSTRE);
	CU_ASSERT_EQUAL(reply.interfaces[1].nid, SERVER_NID);
	CU_ASSERT_EQUAL(reply.interfaces[1].status, LNET_NI_STATUS_UP);
	stop_nodes(nodes);
	ex_free_pool(bytes);
}

static void test_ping(void)
{
	with_nodes(a_ping, &short_of_time);
}

/* ---- Places that are too small, lists that are too long ------------------------------------ */

enum { LONG = 20000, SHORT = 70 };

static void small_places(struct nodes *nodes)
{
	struct shelf *shelf = &nodes->server.owner.shelves[1];
	struct sheet from, into, back;
	uint32_t taken;

	make_sheet(&from, LONG, 3, false);
	make_sheet(&into, SHORT, 3, true);
	make_sheet(&back, LONG, 2, false);
	fill_sheet(&from, 5);
	shelf->payload = into.payload;
	CU_ASSERT_EQUAL(put(nodes->peer, PORTAL_PLACED, 1, &from.payload, LNET_ACK_WANTED, &taken),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, SHORT);
	CU_ASSERT(sheet_is(&into, 5, SHORT));
	CU_ASSERT_EQUAL(get(nodes->peer, PORTAL_PLACED, 1, &back.payload, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, SHORT); /* there is no more */
	CU_ASSERT(sheet_is(&back, 5, SHORT));
	back.payload.length = 10;
	CU_ASSERT_EQUAL(get(nodes->peer, PORTAL_PLACED, 1, &back.payload, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, 10); /* nor is more wanted */
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "slop_bytes"), LONG - SHORT);
	drop_sheet(&from);
	drop_sheet(&into);
	drop_sheet(&back);
}

static void test_small_places(void)
{
	in_all_settings(all_grounds, small_places);
}

enum { SCRAPS = 200 };

/* Of the list only the beginning is meant: by a PUT, and by the REPLY to a GET that wants less. */
static void more_pieces_than_bytes(struct nodes *nodes)
{
	struct shelf *shelf = &nodes->server.owner.shelves[1];
	struct sheet from, into;
	uint32_t taken;

	make_sheet(&from, SCRAPS * 1000, SCRAPS, false);
	make_sheet(&into, SCRAPS * 1000, SCRAPS, true);
	fill_sheet(&from, 6);
	shelf->payload = into.payload;
	from.payload.length = LONG;
	CU_ASSERT_EQUAL(put(nodes->peer, PORTAL_PLACED, 1, &from.payload, LNET_ACK_WANTED, &taken),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, LONG);
	CU_ASSERT(sheet_is(&into, 6, LONG));
	CU_ASSERT_EQUAL(get(nodes->peer, PORTAL_PLACED, 1, &from.payload, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, LONG);
	CU_ASSERT(knock(nodes)); /* and what comes behind it is in order */
	stop_nodes(nodes);
	drop_sheet(&from);
	drop_sheet(&into);
}

static void test_more_pieces(void)
{
	in_all_settings(swift_grounds, more_pieces_than_bytes);
}

/* Pieces of nothing, also more of them than a batch has pieces, before, in and behind the bytes. */
static void pieces_of_nothing(struct nodes *nodes)
{
	struct shelf *shelf = &nodes->server.owner.shelves[1];
	struct lnet_iov *list = need_pool(SCRAPS * sizeof(*list));
	struct sheet from, into;
	uint32_t taken;

	make_sheet(&from, LONG, 1, false);
	make_sheet(&into, LONG, 1, false);
	fill_sheet(&from, 7);
	for (uint32_t i = 0; i < SCRAPS; i++)
		list[i] = (struct lnet_iov){from.bytes, 0};
	list[SCRAPS / 3] = (struct lnet_iov){from.bytes, 100};
	list[SCRAPS / 3 * 2] = (struct lnet_iov){from.bytes + 100, LONG - 100};
	from.payload.iov = list;
	from.payload.count = SCRAPS;
	shelf->payload = into.payload;
	CU_ASSERT_EQUAL(put(nodes->peer, PORTAL_PLACED, 1, &from.payload, LNET_ACK_WANTED, &taken),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, LONG);
	CU_ASSERT(sheet_is(&into, 7, LONG));
	CU_ASSERT(knock(nodes));
	stop_nodes(nodes);
	ex_free_pool(list);
	drop_sheet(&from);
	drop_sheet(&into);
}

static void test_pieces_of_nothing(void)
{
	in_all_settings(swift_grounds, pieces_of_nothing);
}

/* ---- Many at a time ------------------------------------------------------------------------ */

enum { MANY = 12 };

struct traffic {
	struct letter letters[MANY];
	struct sheet from[MANY], into[MANY];
};

static uint32_t size_of_letter(int letter, uint32_t largest)
{
	static const uint32_t sizes[] = {0, 100, 1023, 1024, 5000, 16384};

	return letter % 3 == 0 ? largest : sizes[letter % 6];
}

/* From one host to the other, all at once; the large ones of so many pieces. */
static void start_traffic(struct traffic *traffic, struct ksock_peer *peer, struct owner *owner,
			  uint32_t largest, uint32_t pieces)
{
	memset(traffic, 0, sizeof(*traffic));
	for (int i = 0; i < MANY; i++) {
		uint32_t size = size_of_letter(i, largest);

		make_sheet(&traffic->from[i], size, size == largest ? pieces : 2, i % 2 != 0);
		make_sheet(&traffic->into[i], size, 3, i % 2 != 0);
		fill_sheet(&traffic->from[i], (uint32_t)i);
		owner->shelves[i].payload = traffic->into[i].payload;
	}
	for (int i = 0; i < MANY; i++)
		start_put(&traffic->letters[i], peer, PORTAL_PLACED, (unsigned)i,
			  &traffic->from[i].payload, LNET_ACK_WANTED);
}

static void check_traffic(struct traffic *traffic)
{
	for (int i = 0; i < MANY; i++) {
		uint32_t size = traffic->from[i].payload.length;

		CU_ASSERT_EQUAL(wait_for_letter(&traffic->letters[i]), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(traffic->letters[i].length, size);
		CU_ASSERT(sheet_is(&traffic->into[i], (uint32_t)i, size));
	}
}

static void drop_traffic(struct traffic *traffic)
{
	for (int i = 0; i < MANY; i++) {
		drop_sheet(&traffic->from[i]);
		drop_sheet(&traffic->into[i]);
	}
}

static void both_ways(struct nodes *nodes, uint32_t largest, uint32_t pieces)
{
	struct traffic *there = need_pool(sizeof(*there)), *back = need_pool(sizeof(*back));

	CU_ASSERT(knock(nodes)); /* so that the server has a connection to use */
	start_traffic(there, nodes->peer, &nodes->server.owner, largest, pieces);
	start_traffic(back, nodes->back, &nodes->client.owner, largest, pieces);
	check_traffic(there);
	check_traffic(back);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "puts"), 2 * MANY + 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "acks"), 2 * MANY + 1);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "dropped"), 0);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "refused"), 0);
	drop_traffic(there);
	drop_traffic(back);
	ex_free_pool(there);
	ex_free_pool(back);
}

static void both_ways_small(struct nodes *nodes)
{
	both_ways(nodes, 900, 4);
}

/* Of so many pieces that each takes several batches; zero-copy ACKs go the other way meanwhile. */
static void both_ways_in_scraps(struct nodes *nodes)
{
	both_ways(nodes, 200000, 300);
}

static void test_both_ways(void)
{
	in_all_settings(all_grounds, both_ways_small);
	in_all_settings(swift_grounds, both_ways_in_scraps);
}

/* In the order in which they were given, of whatever size. */
static void in_order(struct nodes *nodes)
{
	struct owner *owner = &nodes->server.owner;
	struct letter *letters = need_pool(SHELVES * sizeof(*letters));
	struct sheet from;

	memset(letters, 0, SHELVES * sizeof(*letters));
	make_sheet(&from, LONG, 3, false);
	for (unsigned i = 0; i < SHELVES; i++) {
		struct lnet_payload payload = from.payload;

		payload.length = size_of_letter((int)i, LONG);
		start_put(&letters[i], nodes->peer, PORTAL_PLACED, i, &payload, 0);
	}
	wait_for_dones(owner, SHELVES);
	for (unsigned i = 0; i < SHELVES; i++) {
		CU_ASSERT_EQUAL(wait_for_letter(&letters[i]), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(look_at(owner, i).order, (int32_t)i + 1);
		CU_ASSERT_NOT_EQUAL(look_at(owner, i).connection, 0);
		CU_ASSERT_EQUAL(look_at(owner, i).connection, look_at(owner, 0).connection);
	}
	stop_nodes(nodes);
	drop_sheet(&from);
	ex_free_pool(letters);
}

static void test_order(void)
{
	with_nodes(in_order, &plain);
	with_nodes(in_order, &checked);
}

/* ---- What owners answer -------------------------------------------------------------------- */

static void nobody_wants_it(struct nodes *nodes)
{
	static const struct {
		uint32_t portal;
		unsigned shelf;
	} places[] = {{PORTAL_VACANT, 1}, {PORTALS, 1},	      {UINT32_MAX, 1},
		      {PORTAL_PLACED, 2}, {PORTAL_PLACED, 3}, {LNET_RESERVED_PORTAL, 1}};
	enum { PLACES = sizeof(places) / sizeof(places[0]) };
	struct letter letters[2 * PLACES] = {0};
	struct sheet from;

	make_sheet(&from, LONG, 2, false);
	nodes->server.owner.shelves[2].answer = STATUS_ACCESS_DENIED;
	nodes->server.owner.shelves[3].last_word = STATUS_ACCESS_DENIED;
	for (int i = 0; i < PLACES; i++) {
		uint32_t taken;

		CU_ASSERT_EQUAL(put(nodes->peer, places[i].portal, places[i].shelf, &from.payload,
				    0, &taken),
				STATUS_SUCCESS);
		start_put(&letters[2 * i], nodes->peer, places[i].portal, places[i].shelf,
			  &from.payload, LNET_ACK_WANTED);
		if (places[i].shelf == 3)
			continue;
		start_get(&letters[2 * i + 1], nodes->peer, places[i].portal, places[i].shelf,
			  &from.payload);
	}
	CU_ASSERT(knock(nodes)); /* others are served meanwhile */
	for (int i = 0; i < 2 * PLACES; i++)
		if (i != 9) /* a GET from that shelf is answered */
			CU_ASSERT_EQUAL(wait_for_letter(&letters[i]), STATUS_IO_TIMEOUT);
	CU_ASSERT(knock(nodes));
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(nodes->server.owner.shelves[2].dones, 0);
	CU_ASSERT_EQUAL(nodes->server.owner.shelves[3].dones, 2);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "dropped"), 3 * PLACES - 3);
	drop_sheet(&from);
}

static void test_nobody_wants_it(void)
{
	with_nodes(nobody_wants_it, &short_of_time);
}

static void not_now(struct nodes *nodes, bool at_once)
{
	struct owner *owner = &nodes->server.owner;
	struct letter first = {0}, second = {0};
	struct sheet from, into;

	make_sheet(&from, 1000, 2, false);
	make_sheet(&into, 1000, 2, false);
	fill_sheet(&from, 8);
	owner->shelves[1].payload = into.payload;
	owner->holds_puts = owner->holds_dones = 2;
	owner->resumes_at_once = at_once;
	start_put(&first, nodes->peer, PORTAL_PLACED, 1, &from.payload, LNET_ACK_WANTED);
	start_put(&second, nodes->peer, PORTAL_PLACED, 2, &from.payload, LNET_ACK_WANTED);
	for (int i = 0; i < 4 && !at_once; i++) {
		/* Asked twice for the first, then told; the second comes behind that. */
		wait_for_held(owner);
		CU_ASSERT_EQUAL(look_at(owner, 2).puts, i == 3);
		let_held_go(owner);
	}
	CU_ASSERT_EQUAL(wait_for_letter(&first), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_letter(&second), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(first.length, 1000);
	CU_ASSERT(sheet_is(&into, 8, 1000));
	stop_nodes(nodes);
	for (int i = 1; i <= 2; i++) {
		CU_ASSERT_EQUAL(owner->shelves[i].puts, 1);
		CU_ASSERT_EQUAL(owner->shelves[i].dones, 1);
	}
	drop_sheet(&from);
	drop_sheet(&into);
}

static void not_now_but_later(struct nodes *nodes)
{
	not_now(nodes, false);
}

static void not_now_but_at_once(struct nodes *nodes)
{
	not_now(nodes, true);
}

static void test_not_now(void)
{
	with_nodes(not_now_but_later, &plain);
	with_nodes(not_now_but_at_once, &plain);
	with_nodes(not_now_but_later, &all_of_it);
	with_nodes(not_now_but_at_once, &all_of_it);
}

/* The connection is closed while the owner holds a message: he lets it go, and that is all. */
static void held_at_the_end(struct nodes *nodes, bool at_put)
{
	struct owner *owner = &nodes->server.owner;
	struct letter first = {0}, second = {0};

	owner->holds_puts = at_put;
	owner->holds_dones = !at_put;
	start_put(&first, nodes->peer, PORTAL_PLACED, 1, NULL, LNET_ACK_WANTED);
	start_put(&second, nodes->peer, PORTAL_PLACED, 2, NULL, LNET_ACK_WANTED);
	wait_for_held(owner);
	ksocknal_close_peer(nodes->back, STATUS_CANCELLED);
	let_held_go(owner);
	CU_ASSERT_EQUAL(wait_for_letter(&first), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(wait_for_letter(&second), STATUS_CONNECTION_RESET);
	CU_ASSERT(knock(nodes)); /* by another connection */
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(owner->shelves[1].dones, !at_put);
	CU_ASSERT_EQUAL(owner->shelves[1].failed, 0);
	CU_ASSERT_EQUAL(owner->shelves[2].puts, 0);
}

static void held_at_put(struct nodes *nodes)
{
	held_at_the_end(nodes, true);
}

static void held_at_done(struct nodes *nodes)
{
	held_at_the_end(nodes, false);
}

static void test_held_at_the_end(void)
{
	with_nodes(held_at_put, &plain);
	with_nodes(held_at_done, &plain);
}

void register_message_suite(void)
{
	static const struct test_case cases[] = {
		{"small payloads go there and back", test_small},
		{"large ones", test_large},
		{"the longest, in one piece and in hundreds", test_longest},
		{"a ping is answered with the interfaces", test_ping},
		{"what has no place is skipped, and told", test_small_places},
		{"a list has more pieces than the payload needs", test_more_pieces},
		{"a list has pieces of nothing", test_pieces_of_nothing},
		{"many messages both ways", test_both_ways},
		{"messages come in the order in which they were given", test_order},
		{"what nobody wants is dropped, and its sender is told in the end",
		 test_nobody_wants_it},
		{"an owner answers later", test_not_now},
		{"a connection ends while an owner holds it", test_held_at_the_end},
		{NULL, NULL},
	};

	add_suite("07-message", cases);
}
