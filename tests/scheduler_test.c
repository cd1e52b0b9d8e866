/*
 * Stage 08: what schedulers do at a steady load, and with more work than one turn has.
 *
 * A stream of PUTs keeps itself going: each that is over is given again from its callback. What the
 * counters say is looked at when all is over.
 */
#include <string.h>

#include "nal_host.h"
#include "suites.h"
#include "transport_client.h"

static const struct lnet_options plain = {0};
static const struct lnet_options typed = {.typed = true, .zero_copy_bytes = 2048};

enum { AT_ONCE = 16, ROUNDS = EXECUTIVE_HOST ? 100 : 12, LENGTH = 2048 };

struct flow {
	struct nodes *nodes;
	struct relay {
		struct ksock_tx tx;
		struct flow *flow;
		unsigned shelf;
		int32_t left;
	} relays[AT_ONCE];
	struct lnet_payload payload;
	uint32_t flags;
	int32_t running;
	int32_t failed;
	struct kevent over;
};

static void give(struct relay *relay);

static void relay_over(void *context, ntstatus status, uint32_t length)
{
	struct relay *relay = context;
	struct flow *flow = relay->flow;

	(void)length;
	if (!nt_success(status))
		interlocked_increment(&flow->failed);
	if (--relay->left > 0)
		give(relay);
	else if (interlocked_decrement(&flow->running) == 0)
		ke_set_event(&flow->over);
}

static void give(struct relay *relay)
{
	const struct lnet_put put = {.ptl_index = PORTAL_PLACED, .match_bits = relay->shelf};
	struct flow *flow = relay->flow;

	lnet_put(flow->nodes->peer, &relay->tx, &put, &flow->payload, flow->flags, relay_over,
		 relay);
}

static void run_flow(struct nodes *nodes, const struct lnet_payload *payload, uint32_t flags)
{
	struct flow *flow = need_pool(sizeof(*flow));

	*flow = (struct flow){
		.nodes = nodes, .payload = *payload, .flags = flags, .running = AT_ONCE};
	ke_initialize_event(&flow->over, NOTIFICATION_EVENT, false);
	CU_ASSERT(knock(nodes));
	for (unsigned i = 0; i < AT_ONCE; i++) {
		flow->relays[i] = (struct relay){.flow = flow, .shelf = i, .left = ROUNDS};
		give(&flow->relays[i]);
	}
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&flow->over, SOON), STATUS_SUCCESS);
	wait_for_dones(&nodes->server.owner, AT_ONCE * ROUNDS);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(flow->failed, 0);
	ex_free_pool(flow);
}

static uint64_t counted(struct nodes *nodes, const char *counter)
{
	return sum_of(&nodes->counted, "scheduler", counter);
}

/* Batches and answers are used again: there are no more than were needed at the same time. */
static void steady(struct nodes *nodes)
{
	struct sheet from;

	make_sheet(&from, LENGTH, 3, false);
	run_flow(nodes, &from.payload, LNET_ACK_WANTED);
	CU_ASSERT(counted(nodes, "allocations") <= 4 * AT_ONCE + 16);
	CU_ASSERT_EQUAL(counted(nodes, "messages"), 2 * (AT_ONCE * ROUNDS + 1));
	CU_ASSERT(counted(nodes, "batches") <= counted(nodes, "messages") * 2 + 12);
	drop_sheet(&from);
}

static void test_steady(void)
{
	with_nodes_on(swift_grounds, steady, &plain);
	with_nodes_on(swift_grounds, steady, &typed);
}

/* Who is at work finds what its own callbacks give, and nobody wakes it for that. */
static void at_work(struct nodes *nodes)
{
	const struct lnet_payload nothing = {0};

	run_flow(nodes, &nothing, 0);
	CU_ASSERT_EQUAL(counted(nodes, "messages"), AT_ONCE * ROUNDS + 2);
	/* Each batch is read on the other side, perhaps in several turns; none of them is woken
	   for each message. */
	CU_ASSERT(counted(nodes, "wakeups") <= AT_ONCE * ROUNDS / 4 + 24);
	CU_ASSERT(counted(nodes, "batches") <= AT_ONCE * ROUNDS / 4 + 24);
}

static void test_at_work(void)
{
	with_nodes_on(swift_grounds, at_work, &plain);
}

/* More than the open batches have room for, all given before there is a connection. */
static void in_their_order(struct nodes *nodes)
{
	/* Five of these have room in a batch, but only four in one that is open. */
	enum { MESSAGES = 36, BYTES = 13011 };
	struct letter *letters = need_pool(MESSAGES * sizeof(*letters));
	struct sheet from;

	memset(letters, 0, MESSAGES * sizeof(*letters));
	make_sheet(&from, BYTES, 1, false);
	for (unsigned i = 0; i < MESSAGES; i++)
		start_put(&letters[i], nodes->peer, PORTAL_PLACED, i, &from.payload, 0);
	wait_for_dones(&nodes->server.owner, MESSAGES);
	for (unsigned i = 0; i < MESSAGES; i++) {
		CU_ASSERT_EQUAL(look_at(&nodes->server.owner, i).order, (int32_t)i + 1);
		CU_ASSERT_EQUAL(wait_for_letter(&letters[i]), STATUS_SUCCESS);
	}
	drop_sheet(&from);
	ex_free_pool(letters);
}

static void test_in_their_order(void)
{
	static const struct lnet_options few = {.batches = 3}, usual = {.batches = 8};

	with_nodes(in_their_order, &few);
	with_nodes(in_their_order, &usual);
}

/* Several connections, each with more than its turns take: all come to their end. */
static void many_connections(struct nodes *nodes)
{
	enum { CLIENTS = 5 };
	uint64_t nids[CLIENTS];
	struct letter letters[CLIENTS][2] = {0};
	struct ksock_peer *peers[CLIENTS];
	struct lnet_options options = {.device = nodes->device,
				       .nids = nids,
				       .nid_count = CLIENTS,
				       .segment = nodes->counted.segment};
	struct sheet from;
	struct lnet_node *node;
	ntstatus status;

	make_sheet(&from, 300000, 70, true);
	for (int i = 0; i < CLIENTS; i++)
		nids[i] = CLIENT_NID + 0x100 + (uint64_t)i;
	node = lnet_startup(&options, &status);
	CU_ASSERT_PTR_NOT_NULL_FATAL(node);
	for (int i = 0; i < CLIENTS; i++) {
		struct lnet_payload payload = from.payload;

		peers[i] =
			ksocknal_find_peer(lnet_find_ni(node, nids[i]), SERVER_NID, &nodes->place);
		start_put(&letters[i][0], peers[i], PORTAL_PLACED, 1, &payload, LNET_ACK_WANTED);
		payload.length = 10;
		start_put(&letters[i][1], peers[i], PORTAL_PLACED, 1, &payload, LNET_ACK_WANTED);
	}
	for (int i = 0; i < CLIENTS; i++) {
		CU_ASSERT_EQUAL(wait_for_letter(&letters[i][0]), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(wait_for_letter(&letters[i][1]), STATUS_SUCCESS);
		ksocknal_put_peer(peers[i]);
	}
	lnet_shutdown(node);
	stop_nodes(nodes);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "accepted"), CLIENTS);
	CU_ASSERT_EQUAL(sum_of(&nodes->counted, "message", "slop_bytes"), CLIENTS * 300010);
	drop_sheet(&from);
}

static void test_many_connections(void)
{
	with_nodes_on(swift_grounds, many_connections, &plain);
}

void register_scheduler_suite(void)
{
	static const struct test_case cases[] = {
		{"at a steady load nothing is allocated", test_steady},
		{"a scheduler at work is not woken", test_at_work},
		{"messages that have no room in what is open keep their order",
		 test_in_their_order},
		{"several connections with more than a turn takes", test_many_connections},
		{NULL, NULL},
	};

	add_suite("08-scheduler", cases);
}
