#include "nal_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/link.h"
#include "transport_client.h"

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "no nodes: %s\n", what);
	abort();
}

/* ---- Payloads ------------------------------------------------------------------------------ */

/* Where the piece begins in the payload; the pieces have all sizes from small to twice the mean. */
static uint32_t piece_begin(uint32_t length, uint32_t count, uint32_t piece)
{
	uint32_t even = (uint32_t)((uint64_t)length * piece / count);

	return piece % 2 == 0 || piece == count ? even : even - length / count / 2;
}

void make_sheet(struct sheet *sheet, uint32_t length, uint32_t count, bool pages)
{
	uint32_t at = length;

	*sheet = (struct sheet){.bytes = need_pool(length + 1)};
	memset(sheet->bytes, 0, length + 1);
	sheet->payload = (struct lnet_payload){.length = length, .count = count};
	sheet->iov = need_pool(count * sizeof(*sheet->iov));
	sheet->kiov = need_pool(count * sizeof(*sheet->kiov));
	for (uint32_t i = 0; i < count; i++) { /* the first stands last */
		uint32_t begin = piece_begin(length, count, i);
		uint32_t size = piece_begin(length, count, i + 1) - begin;

		at -= size;
		sheet->iov[i] = (struct lnet_iov){sheet->bytes + at, size};
		sheet->kiov[i] = (struct lnet_kiov){sheet->bytes + at / 2, at - at / 2, size};
	}
	if (pages)
		sheet->payload.kiov = sheet->kiov;
	else
		sheet->payload.iov = sheet->iov;
}

void drop_sheet(struct sheet *sheet)
{
	ex_free_pool(sheet->bytes);
	ex_free_pool(sheet->iov);
	ex_free_pool(sheet->kiov);
}

void fill_sheet(struct sheet *sheet, uint32_t stream)
{
	uint32_t offset = 0;

	for (uint32_t i = 0; i < sheet->payload.count; i++) {
		fill_pattern(sheet->iov[i].base, stream, offset, sheet->iov[i].length);
		offset += sheet->iov[i].length;
	}
}

bool sheet_is(const struct sheet *sheet, uint32_t stream, uint32_t length)
{
	uint32_t offset = 0;

	for (uint32_t i = 0; i < sheet->payload.count && offset < length; i++) {
		uint32_t size = sheet->iov[i].length;

		if (size > length - offset)
			size = length - offset;
		if (!is_pattern(sheet->iov[i].base, stream, offset, size))
			return false;
		offset += size;
	}
	return offset == length;
}

/* ---- Portals ------------------------------------------------------------------------------- */

static struct shelf *shelf_of(struct owner *owner, uint64_t match_bits)
{
	return &owner->shelves[match_bits < SHELVES ? match_bits : SHELVES - 1];
}

/* Whether this one is answered with STATUS_PENDING. Lock held. */
static bool hold(struct owner *owner, int32_t *holds, struct lnet_incoming *incoming)
{
	if (*holds == 0)
		return false;
	(*holds)--;
	if (!owner->resumes_at_once) {
		owner->held = incoming;
		ke_set_event(&owner->holds);
	}
	return true;
}

static ntstatus on_put(void *context, struct lnet_incoming *incoming)
{
	struct owner *owner = context;
	struct shelf *shelf = shelf_of(owner, incoming->header.msg.put.match_bits);
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	bool held = hold(owner, &owner->holds_puts, incoming), at_once = owner->resumes_at_once;
	ntstatus answer = held ? STATUS_PENDING : shelf->answer;

	if (!held) {
		shelf->puts++;
		shelf->header = incoming->header;
		shelf->connection = incoming->connection;
		shelf->shown = 0;
	}
	incoming->into = shelf->payload;
	incoming->context = shelf;
	ke_release_spin_lock(&owner->lock, irql);
	if (held && at_once)
		lnet_resume(incoming);
	return answer;
}

/* The shelf's payload is in one piece there. */
static void on_take(void *context, struct lnet_incoming *incoming, uint32_t offset,
		    const void *bytes, uint32_t length)
{
	struct owner *owner = context;
	struct shelf *shelf = incoming->context;
	kirql irql = ke_acquire_spin_lock(&owner->lock);

	if (offset == shelf->shown && offset + length <= shelf->payload.length)
		memcpy((char *)shelf->payload.iov[0].base + offset, bytes, length);
	shelf->shown += length;
	ke_release_spin_lock(&owner->lock, irql);
}

static ntstatus on_done(void *context, struct lnet_incoming *incoming, ntstatus status)
{
	struct owner *owner = context;
	struct shelf *shelf = incoming->context;
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	bool held = nt_success(status) && hold(owner, &owner->holds_dones, incoming);
	bool at_once = owner->resumes_at_once;
	ntstatus answer = held ? STATUS_PENDING : shelf->last_word;

	shelf->dones++;
	shelf->failed += !nt_success(status);
	shelf->status = status;
	shelf->order = ++owner->dones;
	ke_set_event(&owner->told);
	ke_release_spin_lock(&owner->lock, irql);
	if (held && at_once)
		lnet_resume(incoming);
	return answer;
}

static ntstatus on_get(void *context, const struct lnet_header *header, struct lnet_payload *from)
{
	struct owner *owner = context;
	struct shelf *shelf = shelf_of(owner, header->msg.get.match_bits);
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	ntstatus answer = shelf->answer;

	shelf->gets++;
	shelf->header = *header;
	*from = shelf->payload;
	ke_release_spin_lock(&owner->lock, irql);
	return answer;
}

static void on_got(void *context, const struct lnet_payload *from, ntstatus status)
{
	struct owner *owner = context;
	kirql irql = ke_acquire_spin_lock(&owner->lock);

	(void)status;
	for (unsigned i = 0; i < SHELVES; i++) {
		const struct lnet_payload *payload = &owner->shelves[i].payload;

		if (from->iov == payload->iov && from->kiov == payload->kiov) {
			owner->shelves[i].gots++;
			break;
		}
	}
	ke_release_spin_lock(&owner->lock, irql);
}

void wait_for_held(struct owner *owner)
{
	need(ke_wait_for_single_object(&owner->holds, SOON) == STATUS_SUCCESS, "nothing is held");
}

void let_held_go(struct owner *owner)
{
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	struct lnet_incoming *held = owner->held;

	owner->held = NULL;
	ke_release_spin_lock(&owner->lock, irql);
	lnet_resume(held);
}

struct shelf look_at(struct owner *owner, unsigned shelf)
{
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	struct shelf copy = owner->shelves[shelf];

	ke_release_spin_lock(&owner->lock, irql);
	return copy;
}

static int32_t dones_of(struct owner *owner)
{
	kirql irql = ke_acquire_spin_lock(&owner->lock);
	int32_t dones = owner->dones;

	ke_release_spin_lock(&owner->lock, irql);
	return dones;
}

bool wait_for_dones(struct owner *owner, int32_t dones)
{
	while (dones_of(owner) < dones)
		if (ke_wait_for_single_object(&owner->told, SOON) != STATUS_SUCCESS) {
			CU_FAIL("the owner is not told");
			return false;
		}
	return true;
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static void furnish(struct host *host, uint64_t nid)
{
	struct owner *owner = &host->owner;

	memset(host, 0, sizeof(*host));
	host->nid = nid;
	ke_initialize_spin_lock(&owner->lock);
	ke_initialize_event(&owner->holds, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&owner->told, SYNCHRONIZATION_EVENT, false);
	host->portals[PORTAL_PLACED] = (struct lnet_portal){
		.put = on_put, .done = on_done, .get = on_get, .got = on_got, .owner = owner};
	host->portals[PORTAL_SHOWN] = (struct lnet_portal){
		.put = on_put, .take = on_take, .done = on_done, .owner = owner};
	host->portals[PORTAL_SILENT] =
		(struct lnet_portal){.put = on_put, .get = on_get, .owner = owner};
}

void start_host(struct nodes *nodes, struct host *host, const struct lnet_options *options,
		const struct transport_address *listen)
{
	struct lnet_options whole = *options;
	int tries = 1000;
	ntstatus status;

	whole.device = nodes->device;
	whole.listen = listen;
	whole.backlog = 12;
	if (whole.batches == 0)
		whole.batches = 2; /* one in hand, and one that can be open */
	whole.nids = &host->nid;
	whole.nid_count = 1;
	whole.portals = host->portals;
	whole.portal_count = PORTALS;
	whole.segment = nodes->counted.segment;
	/* Another process may have the port for a moment. */
	while ((host->node = lnet_startup(&whole, &status)) == NULL &&
	       status == STATUS_ADDRESS_ALREADY_EXISTS && tries-- > 0)
		ke_delay_execution_thread(MILLISECONDS(20));
	need(host->node != NULL, nt_status_name(status));
}

static void find_peers(struct nodes *nodes)
{
	nodes->peer = ksocknal_find_peer(lnet_find_ni(nodes->client.node, CLIENT_NID), SERVER_NID,
					 &nodes->place);
	nodes->back =
		ksocknal_find_peer(lnet_find_ni(nodes->server.node, SERVER_NID), CLIENT_NID, NULL);
	need(nodes->peer != NULL && nodes->back != NULL, "no peers");
}

void open_nodes(struct nodes *nodes, const struct ground *ground,
		const struct lnet_options *options)
{
	struct transport_address any = ground->any(), at;

	*nodes = (struct nodes){.ground = ground};
	begin_counted(&nodes->counted);
	nodes->device = ground->create(nodes->counted.segment);
	need(nodes->device != NULL, "no device");
	furnish(&nodes->server, SERVER_NID);
	furnish(&nodes->client, CLIENT_NID);
	start_host(nodes, &nodes->server, options, &any);
	need(nt_success(lnet_query_listener(nodes->server.node, &at)), "nobody listens");
	nodes->place = any;
	nodes->place.port = at.port;
	start_host(nodes, &nodes->client, options, NULL);
	find_peers(nodes);
}

static void stop_host(struct host *host, struct ksock_peer **peer)
{
	if (*peer != NULL)
		ksocknal_put_peer(*peer);
	*peer = NULL;
	if (host->node != NULL)
		lnet_shutdown(host->node);
	host->node = NULL;
}

void restart_server(struct nodes *nodes, const struct lnet_options *options)
{
	stop_host(&nodes->server, &nodes->back);
	start_host(nodes, &nodes->server, options, &nodes->place);
	nodes->back =
		ksocknal_find_peer(lnet_find_ni(nodes->server.node, SERVER_NID), CLIENT_NID, NULL);
	need(nodes->back != NULL, "no peer");
}

void stop_nodes(struct nodes *nodes)
{
	stop_host(&nodes->client, &nodes->peer);
	stop_host(&nodes->server, &nodes->back);
}

void close_nodes(struct nodes *nodes)
{
	stop_nodes(nodes);
	ke_flush_queued_dpcs();
	nodes->ground->destroy(nodes->device);
	end_counted(&nodes->counted);
}

/* ---- Grounds ------------------------------------------------------------------------------- */

static struct device_object *create_plain(struct stat_segment *segment)
{
	const struct link_options options = {
		.buffered = true, .window_bytes = 128 << 10, .segment = segment};

	return link_create_device(&options);
}

static struct device_object *create_cutting(struct stat_segment *segment)
{
	const struct link_options options = {.rtt_ns = 10000,
					     .buffered = true,
					     .cut = true,
					     .window_bytes = 32 << 10,
					     .chained_bytes = 64,
					     .segment = segment};

	return link_create_device(&options);
}

static struct device_object *create_direct(struct stat_segment *segment)
{
	const struct link_options options = {
		.rtt_ns = 10000, .window_bytes = 64 << 10, .segment = segment};

	return link_create_device(&options);
}

static struct transport_address any_address(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP};
}

const struct ground plain_link = {"link", create_plain, link_delete_device, any_address};
const struct ground unbuffered_link = {"link that does not buffer", create_direct,
				       link_delete_device, any_address};
const struct ground cutting_link = {"link that cuts", create_cutting, link_delete_device,
				    any_address};

#if EXECUTIVE_HOST
extern const struct ground tcp_ground;
const struct ground *const all_grounds[] = {&plain_link, &cutting_link, &unbuffered_link,
					    &tcp_ground, NULL};
const struct ground *const swift_grounds[] = {&plain_link, &tcp_ground, NULL};
#else
const struct ground *const all_grounds[] = {&plain_link, &cutting_link, &unbuffered_link, NULL};
const struct ground *const swift_grounds[] = {&plain_link, NULL};
#endif

struct visit {
	const struct ground *ground;
	nodes_case *body;
	struct lnet_options options;
};

static void run_visit(void *context)
{
	const struct visit *visit = context;
	struct nodes *nodes = need_pool(sizeof(*nodes));

	open_nodes(nodes, visit->ground, &visit->options);
	visit->body(nodes);
	close_nodes(nodes);
	ex_free_pool(nodes);
}

void with_nodes_on(const struct ground *const *where, nodes_case *body,
		   const struct lnet_options *options)
{
	for (; *where != NULL; where++)
		for (int threads = 0; threads < 2; threads++) {
			struct visit visit = {*where, body, *options};
			unsigned failures = CU_get_number_of_failures();

			visit.options.threads = threads != 0;
			in_executive(run_visit, &visit);
			if (CU_get_number_of_failures() != failures)
				printf("    on %s, with %s\n", (*where)->name,
				       threads ? "threads" : "schedulers");
		}
}

void with_nodes(nodes_case *body, const struct lnet_options *options)
{
	with_nodes_on(all_grounds, body, options);
}

/* ---- Messages ------------------------------------------------------------------------------ */

static void letter_over(void *context, ntstatus status, uint32_t length)
{
	struct letter *letter = context;

	letter->status = status;
	letter->length = length;
	if (letter->counter != NULL)
		letter->order = interlocked_increment(letter->counter);
	interlocked_increment(&letter->callbacks);
	ke_set_event(&letter->over);
}

static void begin_letter(struct letter *letter)
{
	letter->callbacks = 0;
	ke_initialize_event(&letter->over, SYNCHRONIZATION_EVENT, false);
}

void start_put(struct letter *letter, struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	       const struct lnet_payload *payload, uint32_t flags)
{
	const struct lnet_put what = {.ptl_index = portal, .match_bits = shelf, .hdr_data = 77};

	begin_letter(letter);
	lnet_put(peer, &letter->tx, &what, payload, flags, letter_over, letter);
}

void start_get(struct letter *letter, struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	       const struct lnet_payload *payload)
{
	const struct lnet_get what = {.ptl_index = portal, .match_bits = shelf};

	begin_letter(letter);
	lnet_get(peer, &letter->tx, &what, payload, letter_over, letter);
}

ntstatus wait_for_letter(struct letter *letter)
{
	need(ke_wait_for_single_object(&letter->over, SOON) == STATUS_SUCCESS,
	     "a message is not called back");
	CU_ASSERT_EQUAL(read_count(&letter->callbacks), 1);
	return letter->status;
}

ntstatus put(struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	     const struct lnet_payload *payload, uint32_t flags, uint32_t *length)
{
	struct letter letter = {0};

	start_put(&letter, peer, portal, shelf, payload, flags);
	wait_for_letter(&letter);
	*length = letter.length;
	return letter.status;
}

ntstatus get(struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	     const struct lnet_payload *payload, uint32_t *length)
{
	struct letter letter = {0};

	start_get(&letter, peer, portal, shelf, payload);
	wait_for_letter(&letter);
	*length = letter.length;
	return letter.status;
}

bool knock(struct nodes *nodes)
{
	ntstatus status = STATUS_IO_TIMEOUT;
	uint32_t length;

	/* A machine that is busy may need several times the timeout of a case. */
	for (int tries = 0; status == STATUS_IO_TIMEOUT && tries < 5; tries++)
		status = put(nodes->peer, PORTAL_SILENT, SHELVES - 1, NULL, LNET_ACK_WANTED,
			     &length);
	if (!nt_success(status))
		printf("\n    nobody opens: %s\n", nt_status_name(status));
	return nt_success(status);
}
