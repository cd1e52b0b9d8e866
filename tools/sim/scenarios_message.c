/*
 * Stages 07 and 08 on the link: two nodes, and messages between them, while connections are made,
 * break and are closed in every order that the link's choices and the scheduler allow.
 *
 * Each message has match bits of its own, so that both sides can say what has become of it. What is
 * never called back leaves its giver waiting, which is a deadlock.
 */
#include <string.h>

#include "link/link.h"
#include "nal/lnet.h"
#include "scenarios.h"

enum {
	PORTAL = 1,
	MOST = 8, /* messages */
	BYTES = 5,
	BULK_BYTES = 1024,
	TIMEOUT = 1000000000,
};

#define SERVER_NID UINT64_C(0x000200000a000002)
#define CLIENT_NID UINT64_C(0x000200000a000001) /* and the next */

/* A message, at both ends. */
struct parcel {
	struct ksock_tx tx;
	struct kevent over;
	struct lnet_iov out[2], in[2];
	struct lnet_payload from, into;
	char *sent, *got; /* pool */
	int32_t callbacks;
	int32_t puts, dones, failed; /* at the server's portal */
	ntstatus status;
	uint32_t length;
};

struct post {
	struct device_object *device;
	struct lnet_portal portals[PORTAL + 1];
	struct lnet_node *server, *client;
	struct transport_address place;
	uint64_t client_nids[2];
	struct ksock_peer *peers[2]; /* the server, as the client's interfaces see it */
	struct parcel parcels[MOST];
	uint32_t bytes; /* of each payload */
	int32_t holds;	/* so many questions are answered with STATUS_PENDING */
	struct lnet_incoming *held;
	struct kevent holding; /* something is held, or nothing will be any more */
};

/* ---- The server's portal ------------------------------------------------------------------- */

static struct parcel *parcel_of(struct post *post, const struct lnet_header *header)
{
	uint64_t number = header->type == LNET_MSG_PUT ? header->msg.put.match_bits
						       : header->msg.get.match_bits;

	scenario_expect(number < MOST, "nobody has sent number %u", (unsigned)number);
	return &post->parcels[number];
}

/* Whether this question is answered with STATUS_PENDING. */
static bool is_held(struct post *post, struct lnet_incoming *incoming)
{
	if (interlocked_read(&post->holds) == 0)
		return false;
	interlocked_decrement(&post->holds);
	interlocked_exchange_pointer((void **)&post->held, incoming);
	ke_set_event(&post->holding);
	return true;
}

static ntstatus on_put(void *owner, struct lnet_incoming *incoming)
{
	struct parcel *parcel = parcel_of(owner, &incoming->header);

	if (is_held(owner, incoming))
		return STATUS_PENDING;
	scenario_expect(interlocked_increment(&parcel->puts) == 1, "a PUT has come twice");
	incoming->into = parcel->into;
	return STATUS_SUCCESS;
}

static ntstatus on_done(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	struct post *post = owner;
	struct parcel *parcel = parcel_of(post, &incoming->header);

	scenario_expect(interlocked_increment(&parcel->dones) == 1,
			"the end of a PUT is told twice");
	if (!nt_success(status)) {
		interlocked_increment(&parcel->failed);
		return status;
	}
	scenario_expect(memcmp(parcel->sent, parcel->got, post->bytes) == 0,
			"a payload is not what was sent");
	return is_held(owner, incoming) ? STATUS_PENDING : STATUS_SUCCESS;
}

/* What was put there. */
static ntstatus on_get(void *owner, const struct lnet_header *header, struct lnet_payload *from)
{
	*from = parcel_of(owner, header)->from;
	return STATUS_SUCCESS;
}

/* ---- Messages ------------------------------------------------------------------------------ */

static void parcel_over(void *context, ntstatus status, uint32_t length)
{
	struct parcel *parcel = context;

	scenario_expect(interlocked_increment(&parcel->callbacks) == 1,
			"a message is called back twice");
	parcel->status = status;
	parcel->length = length;
	ke_set_event(&parcel->over);
}

/* In two pieces on each side, of different sizes. */
static bool make_parcel(struct parcel *parcel, uint32_t bytes, int number)
{
	*parcel = (struct parcel){.sent = ex_allocate_pool(bytes), .got = ex_allocate_pool(bytes)};
	ke_initialize_event(&parcel->over, NOTIFICATION_EVENT, false);
	if (parcel->sent == NULL || parcel->got == NULL)
		return false;
	memset(parcel->sent, 'a' + number, bytes);
	memset(parcel->got, 0, bytes);
	parcel->out[0] = (struct lnet_iov){parcel->sent, 1};
	parcel->out[1] = (struct lnet_iov){parcel->sent + 1, bytes - 1};
	parcel->in[0] = (struct lnet_iov){parcel->got, bytes - 2};
	parcel->in[1] = (struct lnet_iov){parcel->got + bytes - 2, 2};
	parcel->from = (struct lnet_payload){.length = bytes, .count = 2, .iov = parcel->out};
	parcel->into = (struct lnet_payload){.length = bytes, .count = 2, .iov = parcel->in};
	return true;
}

static void start_put(struct post *post, int number, uint32_t flags)
{
	const struct lnet_put put = {.ptl_index = PORTAL, .match_bits = (uint64_t)number};
	struct parcel *parcel = &post->parcels[number];

	lnet_put(post->peers[number % 2], &parcel->tx, &put, &parcel->from, flags, parcel_over,
		 parcel);
}

static void start_get(struct post *post, int number)
{
	const struct lnet_get get = {.ptl_index = PORTAL, .match_bits = (uint64_t)number};
	struct parcel *parcel = &post->parcels[number];

	lnet_get(post->peers[number % 2], &parcel->tx, &get, &parcel->into, parcel_over, parcel);
}

static void wait_for(struct post *post, int number)
{
	ke_wait_for_single_object(&post->parcels[number].over, KE_WAIT_FOREVER);
}

/* ---- Both nodes ---------------------------------------------------------------------------- */

static bool start_nodes(struct post *post, struct lnet_options options)
{
	static const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	static const uint64_t server_nid = SERVER_NID;
	ntstatus status;

	options.device = post->device;
	options.backlog = 3;
	options.portals = post->portals;
	options.portal_count = PORTAL + 1;
	options.listen = &any;
	options.nids = &server_nid;
	options.nid_count = 1;
	post->server = lnet_startup(&options, &status);
	options.listen = NULL;
	options.nids = post->client_nids;
	options.nid_count = 2;
	if (post->server != NULL && nt_success(lnet_query_listener(post->server, &post->place)))
		post->client = lnet_startup(&options, &status);
	if (post->client == NULL)
		return false;
	for (int i = 0; i < 2; i++)
		post->peers[i] = ksocknal_find_peer(
			lnet_find_ni(post->client, post->client_nids[i]), SERVER_NID, &post->place);
	return post->peers[0] != NULL && post->peers[1] != NULL;
}

static void stop_client(struct post *post)
{
	for (int i = 0; i < 2; i++) {
		if (post->peers[i] != NULL)
			ksocknal_put_peer(post->peers[i]);
		post->peers[i] = NULL;
	}
	if (post->client != NULL)
		lnet_shutdown(post->client);
	post->client = NULL;
}

static void stop_server(void *context)
{
	struct post *post = context;

	if (post->server != NULL)
		lnet_shutdown(post->server);
	post->server = NULL;
}

/* False, and all that it lacks is missing, when there is no pool. */
static bool open_post(struct post *post, const struct link_options *link,
		      const struct lnet_options *options, uint32_t bytes)
{
	bool complete = true;

	memset(post, 0, sizeof(*post));
	post->bytes = bytes;
	post->client_nids[0] = CLIENT_NID;
	post->client_nids[1] = CLIENT_NID + 0x100;
	post->portals[PORTAL] =
		(struct lnet_portal){.put = on_put, .done = on_done, .get = on_get, .owner = post};
	ke_initialize_event(&post->holding, SYNCHRONIZATION_EVENT, false);
	for (int i = 0; i < MOST; i++)
		complete &= make_parcel(&post->parcels[i], bytes, i);
	post->device = link_create_device(link);
	return complete && post->device != NULL && start_nodes(post, *options);
}

static void close_post(struct post *post)
{
	stop_client(post);
	stop_server(post);
	ke_flush_queued_dpcs();
	if (post->device != NULL)
		link_delete_device(post->device);
	for (int i = 0; i < MOST; i++) {
		struct parcel *parcel = &post->parcels[i];

		scenario_expect(parcel->dones == parcel->puts, "the end of a PUT is not told");
		ex_free_pool(parcel->sent);
		ex_free_pool(parcel->got);
	}
}

/* What is acknowledged was received, and all of it. */
static void expect_received(struct post *post, int number)
{
	const struct parcel *parcel = &post->parcels[number];

	if (!nt_success(parcel->status))
		return;
	scenario_expect(interlocked_read(&parcel->dones) == 1 &&
				interlocked_read(&parcel->failed) == 0,
			"an acknowledged PUT was not received");
	scenario_expect(parcel->length == post->bytes, "an ACK of %u bytes", parcel->length);
}

/* What was asked for has come. */
static void expect_reply(struct post *post, int number)
{
	const struct parcel *parcel = &post->parcels[number];

	scenario_expect(!nt_success(parcel->status) ||
				(parcel->length == post->bytes &&
				 memcmp(parcel->sent, parcel->got, post->bytes) == 0),
			"a REPLY is not what was asked for");
}

static int count_of(const void *context)
{
	unsigned requests = ((const struct sim_setting *)context)->requests;

	return requests < MOST ? (int)requests : MOST;
}

/* ---- Message: transfer --------------------------------------------------------------------- */

static void put_and_get(const void *context, const struct link_options *link,
			const struct lnet_options *options, uint32_t bytes)
{
	struct post *post = ex_allocate_pool(sizeof(*post));
	int count = count_of(context);

	if (post == NULL)
		return;
	if (open_post(post, link, options, bytes)) {
		for (int i = 0; i < count; i++)
			i % 3 == 2 ? start_get(post, i) : start_put(post, i, LNET_ACK_WANTED);
		for (int i = 0; i < count; i++) {
			wait_for(post, i);
			i % 3 == 2 ? expect_reply(post, i) : expect_received(post, i);
		}
	}
	close_post(post);
	ex_free_pool(post);
}

static void transfer(void *context)
{
	const struct link_options link = {
		.buffered = true, .cut = true, .window_bytes = 200, .chained_bytes = 30};

	put_and_get(context, &link, &(struct lnet_options){.checksums = true}, BYTES);
}

static void transfer_by_threads(void *context)
{
	const struct link_options link = {.buffered = true};

	put_and_get(context, &link, &(struct lnet_options){.threads = true}, BYTES);
}

static void typed_transfer(void *context)
{
	const struct link_options link = {.buffered = true};

	put_and_get(context, &link,
		    &(struct lnet_options){.typed = true, .zero_copy_bytes = BULK_BYTES},
		    BULK_BYTES);
}

static void faults_by_threads(void *context)
{
	const struct link_options link = {.buffered = true, .faults = true, .cut = true};

	put_and_get(
		context, &link,
		&(struct lnet_options){.threads = true, .timeout_ns = TIMEOUT, .reconnect_ns = 1},
		BYTES);
}

static void faults(void *context)
{
	const struct link_options link = {.buffered = true, .faults = true};

	put_and_get(context, &link,
		    &(struct lnet_options){.timeout_ns = TIMEOUT, .reconnect_ns = 1}, BYTES);
}

/* ---- Message: held ------------------------------------------------------------------------- */

/* Lets go of what the owner holds, as often as he will. */
static void run_releaser(void *context)
{
	struct post *post = context;
	struct lnet_incoming *held;

	do {
		ke_wait_for_single_object(&post->holding, KE_WAIT_FOREVER);
		held = interlocked_exchange_pointer((void **)&post->held, NULL);
		if (held != NULL)
			lnet_resume(held);
	} while (held != NULL);
}

static void held_while_closed(void *context, bool threads)
{
	const struct link_options link = {.buffered = true};
	const struct lnet_options options = {.timeout_ns = TIMEOUT, .threads = threads};
	struct post *post = ex_allocate_pool(sizeof(*post));
	struct kthread releaser;
	int count = count_of(context);

	if (post == NULL)
		return;
	if (open_post(post, &link, &options, BYTES) &&
	    nt_success(ps_create_system_thread(&releaser, run_releaser, post))) {
		post->holds = 2;
		for (int i = 0; i < count; i++)
			start_put(post, 2 * i, LNET_ACK_WANTED);
		if (ke_choose(2, "whether the peer is closed") == 1)
			ksocknal_close_peer(post->peers[0], STATUS_CANCELLED);
		for (int i = 0; i < count; i++) {
			wait_for(post, 2 * i);
			expect_received(post, 2 * i);
		}
		stop_client(post);
		stop_server(post); /* nothing is held any more */
		ke_set_event(&post->holding);
		ke_wait_for_thread(&releaser);
	}
	close_post(post);
	ex_free_pool(post);
}

static void held(void *context)
{
	held_while_closed(context, false);
}

static void held_by_thread(void *context)
{
	held_while_closed(context, true);
}

const struct sim_scenario message_scenarios[] = {
	{"message/transfer", "PUTs with ACK and GETs, over a link that cuts them anywhere",
	 transfer, 3, true},
	{"message/typed", "the same on connections of three types, with zero-copy ACKs",
	 typed_transfer, 2, true},
	{"message/faults", "the same over a link that refuses calls and breaks connections", faults,
	 3, true},
	{"message/held", "an owner who answers later, and a peer that may be closed meanwhile",
	 held, 2, true},
	{0},
};

/* ---- Scheduler ----------------------------------------------------------------------------- */

struct giver {
	struct kthread thread;
	struct post *post;
	int first, count;
};

/* Gives every other message: those of one connection. */
static void run_giver(void *context)
{
	struct giver *giver = context;

	for (int i = 0; i < giver->count; i++)
		start_put(giver->post, giver->first + 2 * i, i % 2 != 0 ? LNET_ACK_WANTED : 0);
	for (int i = 0; i < giver->count; i++)
		wait_for(giver->post, giver->first + 2 * i);
}

static void give_from_two_threads(void *context, bool cut)
{
	const struct link_options link = {.buffered = true, .cut = cut, .window_bytes = 150};
	struct post *post = ex_allocate_pool(sizeof(*post));
	struct giver givers[2] = {{.post = post, .first = 0}, {.post = post, .first = 1}};

	if (post == NULL)
		return;
	givers[0].count = givers[1].count = count_of(context) / 2;
	if (open_post(post, &link, &(struct lnet_options){0}, BYTES)) {
		bool two = nt_success(
			ps_create_system_thread(&givers[1].thread, run_giver, &givers[1]));

		run_giver(&givers[0]);
		if (two)
			ke_wait_for_thread(&givers[1].thread);
	}
	close_post(post);
	ex_free_pool(post);
}

static void ready(void *context)
{
	give_from_two_threads(context, false);
}

/* With a window so small that a batch seldom goes out at once. */
static void pending(void *context)
{
	give_from_two_threads(context, true);
}

static void shutdown_at_once(void *context)
{
	const struct link_options link = {.buffered = true};
	struct post *post = ex_allocate_pool(sizeof(*post));
	struct kthread thread;
	int count = count_of(context);

	if (post == NULL)
		return;
	if (open_post(post, &link, &(struct lnet_options){0}, BYTES) &&
	    nt_success(ps_create_system_thread(&thread, stop_server, post))) {
		for (int i = 0; i < count; i++)
			start_put(post, i, LNET_ACK_WANTED);
		if (ke_choose(2, "whether the client waits") == 1)
			wait_for(post, 0);
		stop_client(post);
		for (int i = 0; i < count; i++) {
			wait_for(post, i);
			expect_received(post, i);
		}
		ke_wait_for_thread(&thread);
	}
	close_post(post);
	ex_free_pool(post);
}

const struct sim_scenario scheduler_scenarios[] = {
	{"scheduler/ready", "small messages from two threads on two connections", ready, 4, true},
	{"scheduler/pending", "the same through a window that holds hardly one", pending, 4, true},
	{"scheduler/shutdown", "two nodes end at any moment, with messages under way",
	 shutdown_at_once, 2, true},
	{"scheduler/threads", "PUTs and GETs, by a thread for each connection", transfer_by_threads,
	 3, true},
	{"scheduler/faults", "the same over a link that cuts, refuses and breaks",
	 faults_by_threads, 3, true},
	{"scheduler/held", "a thread whose connection is held by an owner, and may be closed",
	 held_by_thread, 2, true},
	{0},
};
