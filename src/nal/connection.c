/*
 * Stage 07: a connection, from its beginning to its end.
 *
 *      caller                                accepter
 *        TDI_CONNECT ───────────────────────▶  a child of the daemon's
 *        acceptor request, HELLO ───────────▶  whom does he want, and who is he?
 *        who has answered? ◀───────────────────  HELLO
 *        it stands                             it stands
 *
 * None of this is waited for: a HELLO is a header like any other to the state machine, and is sent
 * like any other by a turn of the scheduler's. So a caller that says nothing holds up nobody; in
 * the end the node's thread finds that it has made no progress.
 *
 * The life of a peer's node is told by its incarnation. When a HELLO brings another one the node
 * has been started anew: its old connections can't be answered any more, even if nothing has told
 * us that they are broken, and are closed.
 *
 * The end. ksocknal_close_conn can be called by anybody, at any moment, and only the first call
 * counts. It takes the connection away from its peer, so that no more messages are given to it,
 * and drops the reference that it is alive; those who have it in hand finish their turn and drop
 * theirs. What is with the transport does not hold it up. When nobody has it any more the node's
 * thread deletes the stream, which waits for the transport's completions and events; only then is
 * it certain which messages were sent, and those that were not, or wait for an answer, are called
 * back with the reason.
 *
 * Sources: socklnd (ksocknal_create_conn, ksocknal_close_conn_locked, HELLO, incarnations); the
 * Tdinal design (2.2).
 */
#include "nal/private.h"

/* ---- Beginning ----------------------------------------------------------------------------- */

static void stream_changed(void *context)
{
	ksocknal_schedule_rx(context);
}

static void add_to_node(struct ksock_conn *conn)
{
	struct lnet_node *node = conn->node;
	kirql irql = ke_acquire_spin_lock(&node->lock);

	conn->number = conn->incoming.connection = ++node->last_conn;
	insert_tail_list(&node->conns, &conn->node_entry);
	node->conn_count++;
	stat_count(&node->counters, conn->active ? LNET_COUNTS_CALLED : LNET_COUNTS_ACCEPTED, 1);
	ke_release_spin_lock(&node->lock, irql);
}

static void initialize_conn(struct ksock_conn *conn, struct lnet_node *node,
			    struct tdi_stream *stream)
{
	*conn = (struct ksock_conn){.node = node, .stream = stream};
	conn->references = 1; /* that it is alive */
	conn->sched = &node->scheds[stream->processor % node->sched_count];
	conn->rx_watch.since_ns = conn->tx_watch.since_ns = ke_query_interrupt_time();
	conn->rx_midst = conn->rx_watch.wanted = true; /* in the midst of its beginning */
	ke_initialize_event(&conn->work, SYNCHRONIZATION_EVENT, false);
	initialize_list_head(&conn->entry);
	initialize_list_head(&conn->open);
	initialize_list_head(&conn->tx_queue);
	conn->state = SOCKNAL_RX_ACCEPTOR;
	conn->rx_wanted = LNET_ACCEPTOR_BYTES;
}

/* From here on it can be found, and its stream's news are its own. */
static ntstatus begin_conn(struct ksock_conn *conn)
{
	ntstatus status = STATUS_SUCCESS;

	add_to_node(conn);
	if (conn->node->options.threads)
		status = ksocknal_start_conn_thread(conn);
	if (nt_success(status))
		tdi_watch_stream(conn->stream, stream_changed, conn);
	return status;
}

void ksocknal_accept(struct lnet_node *node, struct tdi_stream *stream)
{
	struct ksock_conn *conn = ex_allocate_pool(sizeof(*conn));
	ntstatus status;

	if (conn == NULL) {
		tdi_delete_stream(stream);
		return;
	}
	initialize_conn(conn, node, stream);
	ksocknal_conn_addref(conn); /* this call's: it can end while it begins */
	status = begin_conn(conn);
	if (!nt_success(status))
		ksocknal_close_conn(conn, status);
	ksocknal_conn_decref(conn);
}

static ntstatus connected(struct device_object *device, struct irp *irp, void *context)
{
	struct ksock_conn *conn = context;
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);

	(void)device;
	(void)irp; /* the turn looks at it */
	conn->tx_ready = true;
	ksocknal_schedule_tx(conn);
	ke_release_spin_lock(&conn->peer->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* A connection that calls, with all that it needs; NULL and *status. */
static struct ksock_conn *create_caller(struct ksock_peer *peer, ntstatus *status)
{
	struct lnet_node *node = peer->ni->node;
	struct ksock_conn *conn = ex_allocate_pool(sizeof(*conn));
	struct irp *irp = io_allocate_irp(node->options.device->stack_size);
	struct tdi_stream *stream = NULL;

	*status = STATUS_INSUFFICIENT_RESOURCES;
	ke_set_ideal_processor_thread(node->turn++ % node->sched_count);
	if (conn != NULL && irp != NULL)
		stream = tdi_create_stream(&node->callers, 0, status);
	if (stream == NULL) {
		if (irp != NULL)
			io_free_irp(irp);
		ex_free_pool(conn);
		return NULL;
	}
	initialize_conn(conn, node, stream);
	conn->connect_irp = irp;
	return conn;
}

ntstatus ksocknal_connect(struct ksock_peer *peer, uint32_t type)
{
	ntstatus status;
	struct ksock_conn *conn;

	if (peer->ni->node->refusing)
		return STATUS_LOCAL_DISCONNECT;
	conn = create_caller(peer, &status);
	if (conn == NULL)
		return status;
	ksocknal_hold_peer(peer);
	conn->peer = peer;
	conn->type = type;
	conn->active = conn->hello_owed = true;
	conn->version = KSOCK_PROTO_V3;
	conn->state = SOCKNAL_RX_HELLO;
	conn->rx_wanted = KSOCK_HELLO_BYTES;
	conn->stream->remote = peer->address;
	ksocknal_conn_addref(conn); /* this call's */
	status = begin_conn(conn);
	if (nt_success(status)) {
		tdi_build_connect(conn->connect_irp, &conn->stream->file, connected, conn,
				  &conn->stream->remote);
		io_call_driver(peer->ni->node->options.device, conn->connect_irp);
	} else {
		ksocknal_close_conn(conn, status);
	}
	ksocknal_conn_decref(conn);
	return STATUS_SUCCESS; /* from here on the connection tells how it went */
}

/* ---- HELLO --------------------------------------------------------------------------------- */

enum lnet_wire_reason ksocknal_judge_hello(const struct ksock_conn *conn)
{
	const struct ksock_hello *hello = &conn->hello;

	if (conn->active &&
	    (hello->src_nid != conn->peer->nid || hello->dst_nid != conn->peer->ni->nid))
		return LNET_WIRE_BAD_NID;
	if (conn->active && hello->connection_type != ksock_invert_type(conn->type))
		return LNET_WIRE_BAD_CONNECTION_TYPE;
	if (!conn->active && (hello->dst_nid != conn->target_nid ||
			      lnet_find_ni(conn->node, hello->dst_nid) == NULL))
		return LNET_WIRE_BAD_NID;
	return LNET_WIRE_GOOD;
}

/* The first of the peer's connections that is not of this incarnation, if one is given. Lock held.
 */
static struct ksock_conn *find_other(struct ksock_peer *peer, const uint64_t *incarnation)
{
	for (struct list_entry *entry = peer->conns.next; entry != &peer->conns;
	     entry = entry->next) {
		struct ksock_conn *conn = containing_record(entry, struct ksock_conn, entry);

		if (incarnation == NULL || conn->hello.src_incarnation != *incarnation)
			return conn;
	}
	return NULL;
}

static void close_conns(struct ksock_peer *peer, const uint64_t *but, ntstatus reason)
{
	for (;;) {
		kirql irql = ke_acquire_spin_lock(&peer->lock);
		struct ksock_conn *conn = find_other(peer, but);

		if (conn != NULL) {
			remove_entry_list(&conn->entry);
			initialize_list_head(&conn->entry);
			ksocknal_conn_addref(conn); /* it is alive, or it were not here */
		}
		ke_release_spin_lock(&peer->lock, irql);
		if (conn == NULL)
			return;
		ksocknal_close_conn(conn, reason);
		ksocknal_conn_decref(conn);
	}
}

/* Those of the peer's connections that are of another life of its node are closed. */
static void note_incarnation(struct ksock_peer *peer, uint64_t incarnation)
{
	kirql irql = ke_acquire_spin_lock(&peer->lock);

	peer->incarnation = incarnation;
	ke_release_spin_lock(&peer->lock, irql);
	close_conns(peer, &incarnation, STATUS_CONNECTION_RESET);
}

bool ksocknal_establish(struct ksock_conn *conn)
{
	const struct ksock_hello *hello = &conn->hello;

	conn->version = hello->version;
	if (!conn->active) {
		struct ksock_peer *peer = ksocknal_find_peer(
			lnet_find_ni(conn->node, hello->dst_nid), hello->src_nid, NULL);
		kirql irql;

		conn->type = ksock_invert_type(hello->connection_type);
		conn->hello_owed = true;
		irql = ke_acquire_spin_lock(&conn->sched->lock);
		conn->peer = peer; /* from here on others look at it: who closes it, the clock */
		ke_release_spin_lock(&conn->sched->lock, irql);
		if (peer == NULL) {
			ksocknal_close_conn(conn, STATUS_INSUFFICIENT_RESOURCES);
			return false;
		}
	}
	note_incarnation(conn->peer, hello->src_incarnation);
	conn->stood = ksocknal_conn_stands(conn);
	if (!conn->stood)
		ksocknal_close_conn(conn, STATUS_CONNECTION_RESET);
	return conn->stood;
}

/* ---- The end ------------------------------------------------------------------------------- */

void ksocknal_close_conn(struct ksock_conn *conn, ntstatus reason)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);
	struct ksock_peer *peer = conn->peer;
	bool first = !conn->closing;

	conn->closing = true;
	if (first)
		conn->reason = reason;
	ke_release_spin_lock(&conn->sched->lock, irql);
	if (!first)
		return;
	if (peer != NULL) {
		irql = ke_acquire_spin_lock(&peer->lock);
		remove_entry_list(&conn->entry);
		initialize_list_head(&conn->entry);
		ke_release_spin_lock(&peer->lock, irql);
	}
	ke_set_event(&conn->work);
	ksocknal_conn_decref(conn); /* it is not alive any more */
}

void ksocknal_refuse(struct ksock_conn *conn, enum lnet_wire_reason reason)
{
	struct lnet_node *node = conn->node;
	kirql irql = ke_acquire_spin_lock(&node->lock);

	stat_count(&node->counters, LNET_COUNTS_REFUSED, 1);
	stat_count(&node->counters, LNET_COUNTS_REASONS + reason, 1);
	ke_release_spin_lock(&node->lock, irql);
	ksocknal_close_conn(conn, STATUS_INVALID_NETWORK_RESPONSE);
}

void ksocknal_close_peer(struct ksock_peer *peer, ntstatus reason)
{
	close_conns(peer, NULL, reason);
}

void ksocknal_conn_addref(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);

	conn->references++;
	ke_release_spin_lock(&conn->sched->lock, irql);
}

void ksocknal_conn_decref_locked(struct ksock_conn *conn)
{
	struct lnet_node *node = conn->node;
	kirql irql;

	if (--conn->references > 0)
		return;
	irql = ke_acquire_spin_lock(&node->lock);
	remove_entry_list(&conn->node_entry);
	conn->dead = true;
	insert_tail_list(&node->dead, &conn->node_entry);
	ke_set_event(&node->wake);
	ke_release_spin_lock(&node->lock, irql);
}

void ksocknal_conn_decref(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched; /* the connection may go */
	kirql irql = ke_acquire_spin_lock(&sched->lock);

	ksocknal_conn_decref_locked(conn);
	ke_release_spin_lock(&sched->lock, irql);
}

/* What comes in will not come to its end. */
static void give_up_incoming(struct ksock_conn *conn)
{
	if (conn->portal != NULL || conn->replied != NULL)
		lnet_finalize(conn, conn->reason);
}

void ksocknal_destroy_conn(struct ksock_conn *conn)
{
	struct list_entry *open;

	if (conn->threaded)
		ke_wait_for_thread(&conn->thread);
	/* Who has ended well, and has sent all, lets it arrive. */
	if (conn->stood && conn->reason == STATUS_LOCAL_DISCONNECT && conn->batch == NULL)
		tdi_disconnect(&conn->stream->file, TDI_DISCONNECT_RELEASE);
	tdi_delete_stream(conn->stream);
	give_up_incoming(conn);
	if (conn->peer != NULL) {
		if (conn->active && !conn->stood)
			ksocknal_call_failed(conn->peer, conn->type, conn->reason);
		ksocknal_fail_conn_txs(conn);
		ksocknal_put_peer(conn->peer);
	}
	if (conn->connect_irp != NULL)
		io_free_irp(conn->connect_irp);
	if (conn->batch != NULL)
		ksocknal_return_batch(conn->sched, conn->batch);
	while ((open = remove_head_list(&conn->open)) != NULL)
		ksocknal_return_batch(conn->sched,
				      containing_record(open, struct ksock_batch, entry));
	ex_free_pool(conn);
}
