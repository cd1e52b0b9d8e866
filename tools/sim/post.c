#include "post.h"

#include <string.h>

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

void parcel_over(void *context, ntstatus status, uint32_t length)
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

void start_put(struct post *post, int number, uint32_t flags)
{
	const struct lnet_put put = {.ptl_index = PORTAL, .match_bits = (uint64_t)number};
	struct parcel *parcel = &post->parcels[number];

	lnet_put(post->peers[number % 2], &parcel->tx, &put, &parcel->from, flags, parcel_over,
		 parcel);
}

void start_get(struct post *post, int number)
{
	const struct lnet_get get = {.ptl_index = PORTAL, .match_bits = (uint64_t)number};
	struct parcel *parcel = &post->parcels[number];

	lnet_get(post->peers[number % 2], &parcel->tx, &get, &parcel->into, parcel_over, parcel);
}

void wait_for(struct post *post, int number)
{
	ke_wait_for_single_object(&post->parcels[number].over, KE_WAIT_FOREVER);
}

/* ---- Both nodes ---------------------------------------------------------------------------- */

const struct transport_address post_any = {.address_type = TDI_ADDRESS_TYPE_IP};

static struct lnet_node *start_node(struct post *post, const uint64_t *nids, uint32_t count,
				    const struct transport_address *listen)
{
	struct lnet_options options = post->options;
	ntstatus status;

	options.device = post->device;
	options.backlog = 3;
	options.batches = 2; /* one in hand, and one that can be open */
	options.portals = post->portals;
	options.portal_count = PORTAL + 1;
	options.listen = listen;
	options.nids = nids;
	options.nid_count = count;
	return lnet_startup(&options, &status);
}

void start_server(struct post *post, const struct transport_address *listen)
{
	static const uint64_t nid = SERVER_NID;

	post->server = start_node(post, &nid, 1, listen);
	if (post->server != NULL && !nt_success(lnet_query_listener(post->server, &post->place)))
		post->place = post_any;
}

void start_client(struct post *post, const struct transport_address *listen)
{
	post->client = start_node(post, post->client_nids, 2, listen);
	for (int i = 0; i < 2 && post->client != NULL; i++)
		post->peers[i] = ksocknal_find_peer(
			lnet_find_ni(post->client, post->client_nids[i]), SERVER_NID, &post->place);
}

void stop_client(struct post *post)
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

void stop_server(void *context)
{
	struct post *post = context;

	if (post->server != NULL)
		lnet_shutdown(post->server);
	post->server = NULL;
}

bool is_complete(const struct post *post)
{
	return post->server != NULL && post->client != NULL && post->peers[0] != NULL &&
	       post->peers[1] != NULL;
}

bool open_post(struct post *post, const struct link_options *link,
	       const struct lnet_options *options, uint32_t bytes)
{
	bool complete = true;

	memset(post, 0, sizeof(*post));
	post->bytes = bytes;
	post->options = *options;
	post->client_nids[0] = CLIENT_NID;
	post->client_nids[1] = CLIENT_NID + 0x100;
	post->portals[PORTAL] =
		(struct lnet_portal){.put = on_put, .done = on_done, .get = on_get, .owner = post};
	ke_initialize_event(&post->holding, SYNCHRONIZATION_EVENT, false);
	for (int i = 0; i < MOST; i++)
		complete &= make_parcel(&post->parcels[i], bytes, i);
	post->device = link_create_device(link);
	if (!complete || post->device == NULL)
		return false;
	start_server(post, &post_any);
	if (post->server != NULL)
		start_client(post, NULL);
	return is_complete(post);
}

void close_post(struct post *post)
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

void expect_received(struct post *post, int number)
{
	const struct parcel *parcel = &post->parcels[number];

	if (!nt_success(parcel->status))
		return;
	scenario_expect(interlocked_read(&parcel->dones) == 1 &&
				interlocked_read(&parcel->failed) == 0,
			"an acknowledged PUT was not received");
	scenario_expect(parcel->length == post->bytes, "an ACK of %u bytes", parcel->length);
}

void expect_reply(struct post *post, int number)
{
	const struct parcel *parcel = &post->parcels[number];

	scenario_expect(!nt_success(parcel->status) ||
				(parcel->length == post->bytes &&
				 memcmp(parcel->sent, parcel->got, post->bytes) == 0),
			"a REPLY is not what was asked for");
}

int count_of(const void *context)
{
	unsigned requests = ((const struct sim_setting *)context)->requests;

	return requests < MOST ? (int)requests : MOST;
}
/* ---- What is run as schedulers, and as threads ---------------------------------------------- */

void put_and_get(const void *context, const struct link_options *link,
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

void held_while_closed(void *context, bool threads)
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
