/*
 * Stage 07: a node, from its beginning to its end.
 *
 *      acceptor thread    takes who calls from the daemon, and thinks no more of them
 *      node's thread      calls peers, deletes connections that nobody holds, looks at the clock
 *      schedulers         all else
 *
 * The threads are for what has to wait: opening and closing an endpoint. Neither ever waits for a
 * peer, so one of each is enough.
 *
 * Connections are spread over the processors: each thread is counted to the next processor before
 * it opens an endpoint, whose events then are on that one, and so is its scheduler.
 *
 * The clock. A connection has made progress when something of it was read or sent. The thread looks
 * at all of them a few times in each timeout: one that has something to send, or is in the midst of
 * something that comes, and has made none for that long, is closed; and so is one that does not
 * come to stand. One that has been silent for long says that it is alive.
 *
 * The end. Nobody is accepted any more; connections are closed, and calls that are still wanted
 * fail. When the last connection is gone so is the thread, then the addresses, and what is left is
 * memory.
 *
 * Sources: socklnd (the acceptor, connd and reaper threads, ksocknal_check_peer_timeouts).
 */
#include "nal/private.h"

enum { BACKLOG = 64, CHECKS = 4 };

/* ---- The node's thread --------------------------------------------------------------------- */

void ksocknal_ask_thread(struct lnet_node *node, struct list_entry *list, struct list_entry *entry)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);

	insert_tail_list(list, entry);
	ke_set_event(&node->wake); /* with the lock held: behind it the node may be gone */
	ke_release_spin_lock(&node->lock, irql);
}

static struct list_entry *next_of(struct lnet_node *node, struct list_entry *list)
{
	return ex_interlocked_remove_head_list(list, &node->lock);
}

static void connection_is_gone(struct lnet_node *node)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);

	node->conn_count--;
	stat_count(&node->counters, LNET_COUNTS_ENDED, 1);
	ke_release_spin_lock(&node->lock, irql);
}

static void do_what_is_asked(struct lnet_node *node)
{
	struct list_entry *entry;

	while ((entry = next_of(node, &node->dead)) != NULL) {
		ksocknal_destroy_conn(containing_record(entry, struct ksock_conn, node_entry));
		connection_is_gone(node);
	}
	while ((entry = next_of(node, &node->calls)) != NULL)
		ksocknal_call_peer(containing_record(entry, struct ksock_peer, call_entry));
}

/* ---- The clock ----------------------------------------------------------------------------- */

/*
 * The next connection by number, or the first. It stays, because only this thread deletes any; if
 * the last is dead meanwhile, its place in the list is found again by its number.
 */
static struct ksock_conn *next_conn(struct lnet_node *node, const struct ksock_conn *last)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);
	struct list_entry *entry = node->conns.next;

	if (last != NULL && !last->dead)
		entry = last->node_entry.next;
	while (last != NULL && entry != &node->conns &&
	       containing_record(entry, struct ksock_conn, node_entry)->number < last->number)
		entry = entry->next;
	ke_release_spin_lock(&node->lock, irql);
	return entry != &node->conns ? containing_record(entry, struct ksock_conn, node_entry)
				     : NULL;
}

/* How long there has been no progress, if there should have been. */
static uint64_t without_progress(struct ksock_watch *watch, uint64_t progress, bool wanted,
				 uint64_t now)
{
	if (progress != watch->progress || (wanted && !watch->wanted))
		watch->since_ns = now;
	watch->progress = progress;
	watch->wanted = wanted;
	return now - watch->since_ns;
}

/* Of what comes in; and whose connection it is. */
static bool is_stuck_in(struct ksock_conn *conn, uint64_t now, struct ksock_peer **peer)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);
	bool wanted = conn->rx_midst;
	uint64_t stuck_ns = without_progress(&conn->rx_watch, conn->rx_bytes, wanted, now);

	*peer = conn->peer;
	ke_release_spin_lock(&conn->sched->lock, irql);
	return wanted && stuck_ns >= conn->node->options.timeout_ns;
}

/* Of what goes out; and a connection that says nothing at all says that it is alive. */
static bool is_stuck_out(struct ksock_conn *conn, uint64_t now)
{
	const struct lnet_options *options = &conn->node->options;
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool wanted = !conn->tx_ready || ksocknal_has_output(conn);
	uint64_t stuck_ns = without_progress(&conn->tx_watch, conn->tx_batches, wanted, now);

	if (!wanted && options->keepalive_ns != 0 && stuck_ns >= options->keepalive_ns) {
		conn->keepalive_owed = true;
		ksocknal_schedule_tx(conn);
	}
	ke_release_spin_lock(&conn->peer->lock, irql);
	return wanted && stuck_ns >= options->timeout_ns;
}

static void look_at_clock(struct lnet_node *node, uint64_t now)
{
	struct ksock_conn *conn = NULL;

	while ((conn = next_conn(node, conn)) != NULL) {
		struct ksock_peer *peer;
		bool stuck = is_stuck_in(conn, now, &peer);

		if (peer != NULL) {
			stuck |= is_stuck_out(conn, now);
			ksocknal_check_peer(peer, now);
		}
		if (stuck && node->options.timeout_ns != 0)
			ksocknal_close_conn(conn, STATUS_IO_TIMEOUT);
	}
}

/* How often; 0: never. */
static uint64_t check_period(const struct lnet_options *options)
{
	uint64_t shortest = options->timeout_ns;

	if (shortest == 0 || (options->keepalive_ns != 0 && options->keepalive_ns < shortest))
		shortest = options->keepalive_ns;
	return shortest / CHECKS;
}

/* ---- The threads --------------------------------------------------------------------------- */

static void close_all(struct lnet_node *node)
{
	struct ksock_conn *conn = NULL;

	while ((conn = next_conn(node, conn)) != NULL)
		ksocknal_close_conn(conn, STATUS_LOCAL_DISCONNECT);
}

static bool is_stopping(struct lnet_node *node)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);
	bool stopping = node->stopping;

	ke_release_spin_lock(&node->lock, irql);
	return stopping;
}

/* No connection is left, and nobody wants one. */
static bool is_over(struct lnet_node *node)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);
	bool over = node->conn_count == 0 && is_list_empty(&node->calls);

	ke_release_spin_lock(&node->lock, irql);
	return over;
}

static void run_node(void *context)
{
	struct lnet_node *node = context;
	uint64_t period = check_period(&node->options);
	uint64_t next_check = ke_query_interrupt_time() + period;

	for (;;) {
		if (!node->refusing && is_stopping(node)) {
			node->refusing = true; /* no connection begins from now on */
			close_all(node);
		}
		do_what_is_asked(node);
		if (node->refusing && is_over(node))
			return;
		ke_wait_for_single_object(&node->wake,
					  period != 0 ? (int64_t)period : KE_WAIT_FOREVER);
		if (period != 0 && ke_query_interrupt_time() >= next_check) {
			next_check = ke_query_interrupt_time() + period;
			look_at_clock(node, ke_query_interrupt_time());
		}
	}
}

static void stop_thread(struct lnet_node *node)
{
	kirql irql = ke_acquire_spin_lock(&node->lock);

	node->stopping = true;
	ke_set_event(&node->wake);
	ke_release_spin_lock(&node->lock, irql);
	ke_wait_for_thread(&node->thread);
}

static void run_acceptor(void *context)
{
	struct lnet_node *node = context;
	struct tdi_stream *stream;
	uint32_t turn = 0;
	ntstatus status;

	do {
		/* For the child that takes the place of the one that is taken. */
		ke_set_ideal_processor_thread(turn++ % node->sched_count);
		stream = tdi_accept_stream(&node->daemon, KE_WAIT_FOREVER, &status);
		if (stream != NULL)
			ksocknal_accept(node, stream);
	} while (stream != NULL);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static void describe_interfaces(struct lnet_node *node)
{
	struct lnet_ping_reply reply = {
		.features = LNET_PING_FEAT_BASE | LNET_PING_FEAT_NI_STATUS,
		.pid = LNET_PID_LUSTRE,
		.count = 1,
		.interfaces = {{LNET_NID_LO_0, LNET_NI_STATUS_UP}},
	};

	for (uint32_t i = 0; i < node->options.nid_count && reply.count < LNET_MOST_ADDRESSES; i++)
		reply.interfaces[reply.count++] =
			(struct lnet_ni_status){node->options.nids[i], LNET_NI_STATUS_UP};
	node->ping_piece.base = node->ping_bytes;
	node->ping_piece.length = lnet_encode_ping_reply(node->ping_bytes, &reply, false);
	node->ping = (struct lnet_payload){
		.length = node->ping_piece.length, .count = 1, .iov = &node->ping_piece};
}

static void initialize_ni(struct lnet_ni *ni, struct lnet_node *node, uint64_t nid)
{
	*ni = (struct lnet_ni){.node = node, .nid = nid};
	ke_initialize_spin_lock(&ni->lock);
	initialize_list_head(&ni->peers);
}

static struct lnet_node *create_node(const struct lnet_options *options)
{
	struct lnet_node *node =
		ex_allocate_pool(sizeof(*node) + options->nid_count * sizeof(struct lnet_ni));

	if (node == NULL)
		return NULL;
	*node = (struct lnet_node){.options = *options};
	node->incarnation =
		options->incarnation != 0 ? options->incarnation : ke_query_interrupt_time();
	ke_initialize_spin_lock(&node->lock);
	ke_initialize_event(&node->wake, SYNCHRONIZATION_EVENT, false);
	initialize_list_head(&node->conns);
	initialize_list_head(&node->dead);
	initialize_list_head(&node->calls);
	for (uint32_t i = 0; i < options->nid_count; i++)
		initialize_ni(&node->nis[i], node, options->nids[i]);
	describe_interfaces(node);
	stat_add_block(&node->counters, options->segment, &lnet_node_table);
	return node;
}

static void free_node(struct lnet_node *node)
{
	stat_remove_block(&node->counters);
	ex_free_pool(node);
}

/* Addresses to call from and to be called at. */
static ntstatus open_addresses(struct lnet_node *node)
{
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	const struct lnet_options *options = &node->options;
	ntstatus status = tdi_open_stream_address(options->device, &any, &node->callers);

	if (!nt_success(status) || options->listen == NULL)
		return status;
	status = tdi_start_daemon(&node->daemon, options->device, options->listen,
				  options->backlog != 0 ? options->backlog : BACKLOG, 0);
	if (!nt_success(status))
		tdi_close(&node->callers);
	return status;
}

static void close_addresses(struct lnet_node *node)
{
	if (node->options.listen != NULL)
		tdi_stop_daemon(&node->daemon);
	tdi_close(&node->callers);
}

static ntstatus start_threads(struct lnet_node *node)
{
	ntstatus status = ps_create_system_thread(&node->thread, run_node, node);

	if (!nt_success(status) || node->options.listen == NULL)
		return status;
	status = ps_create_system_thread(&node->acceptor, run_acceptor, node);
	if (!nt_success(status))
		stop_thread(node);
	return status;
}

struct lnet_node *lnet_startup(const struct lnet_options *options, ntstatus *status)
{
	struct lnet_node *node = create_node(options);

	*status = STATUS_INSUFFICIENT_RESOURCES;
	if (node == NULL)
		return NULL;
	*status = ksocknal_start_scheds(node);
	if (!nt_success(*status))
		goto no_scheds;
	*status = open_addresses(node);
	if (!nt_success(*status))
		goto no_addresses;
	*status = start_threads(node);
	if (nt_success(*status))
		return node;
	close_addresses(node);
no_addresses:
	ksocknal_stop_scheds(node);
no_scheds:
	free_node(node);
	return NULL;
}

/* The connections of a peer hold it, and are gone. */
static void require_no_peers(struct lnet_node *node)
{
	for (uint32_t i = 0; i < node->options.nid_count; i++) {
		const struct lnet_ni *ni = &node->nis[i];
		char nid[LNET_NID_TEXT];

		if (!is_list_empty(&ni->peers))
			ke_bug_check("MSG-PEER-KEPT", "%s has not been given back",
				     lnet_nid_to_text(containing_record(ni->peers.next,
									struct ksock_peer, entry)
							      ->nid,
						      nid));
	}
}

void lnet_shutdown(struct lnet_node *node)
{
	if (node->options.listen != NULL) {
		tdi_wake_daemon(&node->daemon);
		ke_wait_for_thread(&node->acceptor);
	}
	stop_thread(node);
	close_addresses(node);
	ksocknal_stop_scheds(node);
	require_no_peers(node);
	free_node(node);
}

ntstatus lnet_query_listener(struct lnet_node *node, struct transport_address *address)
{
	if (node->options.listen == NULL)
		return STATUS_INVALID_DEVICE_REQUEST;
	return tdi_query_information(&node->daemon.address, TDI_QUERY_ADDRESS_INFO, address,
				     sizeof(*address));
}

struct lnet_ni *lnet_find_ni(struct lnet_node *node, uint64_t nid)
{
	for (uint32_t i = 0; i < node->options.nid_count; i++)
		if (node->nis[i].nid == nid)
			return &node->nis[i];
	return NULL;
}
