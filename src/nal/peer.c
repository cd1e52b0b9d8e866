/*
 * Stage 07: peers, and which connection a message goes out on.
 *
 * A peer that is called gets three connections, if the node is told so: small messages go on the
 * one for control, so that they need not wait behind a megabyte; payloads from KSOCK_MIN_BULK bytes
 * on go on the one for bulk out; and bulk in is the one that the peer sends its payloads on. Or it
 * gets one, for everything. A peer that has called has made that choice itself, and its connections
 * are used as they are. An answer rather goes where its question came from, which has stood now.
 *
 *      ksocknal_launch_packet
 *        │
 *        ├─ there is a connection of its type ────────────────▶ that one's queue
 *        ├─ one is being made, or the peer can be called ─────▶ the peer's queue, until it stands
 *        ├─ there is any other ───────────────────────────────▶ that one's queue
 *        └─ none ─────────────────────────────────────────────▶ called back, with the reason
 *
 * A peer that could not be reached is not called again for a while: messages for it fail at once,
 * so that who tries again soon learns soon.
 *
 * What a message waits for is bits in `waits`, under the peer's lock: to be sent, the peer's word
 * for its pages, its answer. These come from different contexts, in any order; the one that takes
 * the last away calls back. If the connection ends that it has gone out on, nothing of this will
 * come any more: an answer could come by another connection, but not by one that the peer has not
 * opened yet, and the peer can have lost the message.
 *
 * Sources: socklnd (peers, typed connections, zero-copy requests); the Tdinal design (2.3.2).
 */
#include "nal/private.h"

/* ---- Holding ------------------------------------------------------------------------------- */

static struct ksock_peer *look_up(struct lnet_ni *ni, uint64_t nid)
{
	for (struct list_entry *entry = ni->peers.next; entry != &ni->peers; entry = entry->next) {
		struct ksock_peer *peer = containing_record(entry, struct ksock_peer, entry);

		if (peer->nid == nid)
			return peer;
	}
	return NULL;
}

static void initialize_peer(struct ksock_peer *peer, struct lnet_ni *ni, uint64_t nid)
{
	*peer = (struct ksock_peer){.ni = ni, .nid = nid, .last_zc_cookie = SOCKNAL_KEEPALIVE_PING};
	ke_initialize_spin_lock(&peer->lock);
	initialize_list_head(&peer->conns);
	initialize_list_head(&peer->tx_queue);
	initialize_list_head(&peer->awaiting);
}

struct ksock_peer *ksocknal_find_peer(struct lnet_ni *ni, uint64_t nid,
				      const struct transport_address *address)
{
	struct ksock_peer *fresh = ex_allocate_pool(sizeof(*fresh));
	kirql irql = ke_acquire_spin_lock(&ni->lock);
	struct ksock_peer *peer = look_up(ni, nid);

	if (peer == NULL && fresh != NULL) {
		peer = fresh;
		fresh = NULL;
		initialize_peer(peer, ni, nid);
		insert_tail_list(&ni->peers, &peer->entry);
	}
	if (peer != NULL)
		peer->held++;
	ke_release_spin_lock(&ni->lock, irql);
	ex_free_pool(fresh);
	if (peer != NULL && address != NULL) {
		irql = ke_acquire_spin_lock(&peer->lock);
		peer->address = *address;
		ke_release_spin_lock(&peer->lock, irql);
	}
	return peer;
}

void ksocknal_hold_peer(struct ksock_peer *peer)
{
	kirql irql = ke_acquire_spin_lock(&peer->ni->lock);

	peer->held++;
	ke_release_spin_lock(&peer->ni->lock, irql);
}

void ksocknal_put_peer(struct ksock_peer *peer)
{
	kirql irql = ke_acquire_spin_lock(&peer->ni->lock);
	bool last = --peer->held == 0;

	if (last)
		remove_entry_list(&peer->entry);
	ke_release_spin_lock(&peer->ni->lock, irql);
	if (last)
		ex_free_pool(peer);
}

/* ---- What a message waits for -------------------------------------------------------------- */

void ksocknal_begin_tx(struct ksock_tx *tx, struct ksock_peer *peer, uint32_t type,
		       const struct lnet_payload *payload, lnet_callback *callback, void *context)
{
	static const struct lnet_payload nothing;

	if (payload == NULL)
		payload = &nothing;
	/* Field by field: a wide copy of what its owner has just written in parts waits for it. */
	tx->payload.length = payload->length;
	tx->payload.count = payload->count;
	tx->payload.iov = payload->iov;
	tx->payload.kiov = payload->kiov;
	tx->header = (struct lnet_header){
		.dest_nid = peer->nid,
		.src_nid = peer->ni->nid,
		.dest_pid = LNET_PID_LUSTRE,
		.src_pid = LNET_PID_LUSTRE,
		.type = type,
		.payload_length = type != LNET_MSG_GET ? tx->payload.length : 0,
	};
	tx->peer = peer;
	tx->conn = NULL;
	tx->begun = false;
	tx->waits = KSOCK_TX_SENT;
	tx->handle = tx->zc_cookie = 0;
	tx->status = STATUS_SUCCESS;
	tx->length = 0;
	tx->callback = callback;
	tx->context = context;
	initialize_list_head(&tx->awaiting);
}

static void forget_awaiting(struct ksock_tx *tx)
{
	remove_entry_list(&tx->awaiting);
	initialize_list_head(&tx->awaiting);
}

void ksocknal_tx_happened(struct ksock_tx *tx, uint8_t what, ntstatus status,
			  struct list_entry *done)
{
	/* What its peer has answered has arrived, however the sending of it ends. */
	bool answered = tx->handle != 0 && (tx->waits & KSOCK_TX_ANSWERED) == 0;

	if (!nt_success(status) && tx->status == STATUS_SUCCESS &&
	    (!answered || what == KSOCK_TX_REPLIED))
		tx->status = status;
	if ((tx->waits & what) == 0)
		return;
	tx->waits &= (uint8_t)~what;
	if ((tx->waits & (KSOCK_TX_ZC | KSOCK_TX_ANSWERED)) == 0)
		forget_awaiting(tx);
	if (tx->waits == 0)
		insert_tail_list(done, &tx->entry);
}

void ksocknal_txlist_done(struct list_entry *done)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(done)) != NULL) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, entry);

		tx->callback(tx->context, tx->status, tx->length);
	}
}

/* Answers come in the order of the questions, mostly: then it is the first. Lock held. */
static struct ksock_tx *find_asking(struct ksock_peer *peer, uint64_t handle, uint32_t type)
{
	for (struct list_entry *entry = peer->awaiting.next; entry != &peer->awaiting;
	     entry = entry->next) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, awaiting);

		if (tx->handle == handle && tx->header.type == type &&
		    (tx->waits & KSOCK_TX_ANSWERED) != 0)
			return tx;
	}
	return NULL;
}

bool ksocknal_ack_put(struct ksock_peer *peer, uint64_t handle, uint32_t length)
{
	struct list_entry done;
	struct ksock_tx *put;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	put = find_asking(peer, handle, LNET_MSG_PUT);
	if (put != NULL) {
		put->length = length;
		ksocknal_tx_happened(put, KSOCK_TX_ANSWERED, STATUS_SUCCESS, &done);
	}
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
	return put != NULL;
}

struct ksock_tx *ksocknal_take_get(struct ksock_peer *peer, uint64_t handle)
{
	kirql irql = ke_acquire_spin_lock(&peer->lock);
	struct ksock_tx *get = find_asking(peer, handle, LNET_MSG_GET);

	if (get != NULL) {
		get->waits ^= KSOCK_TX_ANSWERED | KSOCK_TX_REPLIED;
		forget_awaiting(get);
	}
	ke_release_spin_lock(&peer->lock, irql);
	return get;
}

void ksocknal_finish_get(struct ksock_tx *get, ntstatus status, uint32_t length)
{
	struct ksock_peer *peer = get->peer;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	get->length = length;
	ksocknal_tx_happened(get, KSOCK_TX_REPLIED, status, &done);
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

void ksocknal_zc_acked(struct ksock_peer *peer, uint64_t first, uint64_t last)
{
	struct list_entry *entry, *next;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	for (entry = peer->awaiting.next; entry != &peer->awaiting; entry = next) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, awaiting);

		next = entry->next;
		if (tx->zc_cookie >= first && tx->zc_cookie <= last)
			ksocknal_tx_happened(tx, KSOCK_TX_ZC, STATUS_SUCCESS, &done);
	}
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

/* ---- When nothing more will happen --------------------------------------------------------- */

enum { EVERYTHING = KSOCK_TX_SENT | KSOCK_TX_ZC | KSOCK_TX_ANSWERED };

static void fail_all(struct list_entry *txs, ntstatus reason, struct list_entry *done)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(txs)) != NULL)
		ksocknal_tx_happened(containing_record(entry, struct ksock_tx, entry), EVERYTHING,
				     reason, done);
}

void ksocknal_fail_conn_txs(struct ksock_conn *conn)
{
	struct ksock_peer *peer = conn->peer;
	struct list_entry *entry, *next;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	if (conn->batch != NULL)
		fail_all(&conn->batch->txs, conn->reason, &done);
	for (entry = conn->open.next; entry != &conn->open; entry = entry->next)
		fail_all(&containing_record(entry, struct ksock_batch, entry)->txs, conn->reason,
			 &done);
	fail_all(&conn->tx_queue, conn->reason, &done);
	for (entry = peer->awaiting.next; entry != &peer->awaiting; entry = next) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, awaiting);

		next = entry->next;
		if (tx->conn == conn)
			ksocknal_tx_happened(tx, KSOCK_TX_ZC | KSOCK_TX_ANSWERED, conn->reason,
					     &done);
	}
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

void ksocknal_check_peer(struct ksock_peer *peer, uint64_t now)
{
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	while (!is_list_empty(&peer->awaiting)) {
		struct ksock_tx *tx =
			containing_record(peer->awaiting.next, struct ksock_tx, awaiting);

		if (tx->deadline_ns > now)
			break;
		ksocknal_tx_happened(tx, KSOCK_TX_ZC | KSOCK_TX_ANSWERED, STATUS_IO_TIMEOUT, &done);
	}
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

/* ---- Which connection ---------------------------------------------------------------------- */

static uint32_t bit_of(uint32_t type)
{
	return 1u << type;
}

static uint32_t type_of(const struct ksock_tx *tx)
{
	return tx->header.payload_length < KSOCK_MIN_BULK ? SOCKLND_CONN_CONTROL
							  : SOCKLND_CONN_BULK_OUT;
}

/* The oldest, but rather tx->conn, of its type or for everything; `any`: or of any. Lock held. */
static struct ksock_conn *find_conn(struct ksock_peer *peer, const struct ksock_tx *tx, bool any)
{
	struct ksock_conn *found = NULL;

	for (struct list_entry *at = peer->conns.prev; at != &peer->conns; at = at->prev) {
		struct ksock_conn *conn = containing_record(at, struct ksock_conn, entry);
		bool fits = any || conn->type == type_of(tx) || conn->type == SOCKLND_CONN_ANY;

		found = fits && (found == NULL || found != tx->conn) ? conn : found;
	}
	return found;
}

/* Whether one of the type, or for everything, is being made or will be. Lock held. */
static bool is_coming(const struct ksock_peer *peer, uint32_t type)
{
	return peer->calling || (peer->connecting & (bit_of(type) | bit_of(SOCKLND_CONN_ANY))) != 0;
}

/* Asks the node's thread to call the peer, if that makes sense now. Lock held. */
static void want_call(struct ksock_peer *peer)
{
	struct lnet_node *node = peer->ni->node;

	if (peer->calling || peer->connecting != 0 || peer->address.address_type == 0 ||
	    (peer->next_call_ns != 0 && ke_query_interrupt_time() < peer->next_call_ns))
		return;
	peer->calling = true;
	ksocknal_hold_peer(peer); /* the list's */
	ksocknal_ask_thread(node, &node->calls, &peer->call_entry);
}

/* True: a connection has it, or it waits for one, for which the peer may be called. Lock held. */
static bool place_tx(struct ksock_peer *peer, struct ksock_tx *tx, bool may_call)
{
	uint32_t type = type_of(tx);
	struct ksock_conn *conn = find_conn(peer, tx, false);

	if (conn == NULL) {
		if (may_call)
			want_call(peer);
		if (is_coming(peer, type)) {
			insert_tail_list(&peer->tx_queue, &tx->entry);
			return true;
		}
		conn = find_conn(peer, tx, true);
	}
	if (conn != NULL)
		ksocknal_queue_tx(conn, tx);
	return conn != NULL;
}

static bool is_in(const struct list_entry *list, const struct list_entry *wanted)
{
	for (const struct list_entry *entry = list->next; entry != list; entry = entry->next)
		if (entry == wanted)
			return true;
	return false;
}

void ksocknal_require_idle(struct ksock_peer *peer, const struct ksock_tx *tx)
{
	kirql irql = ke_acquire_spin_lock(&peer->lock);
	bool idle = !is_in(&peer->tx_queue, &tx->entry) && !is_in(&peer->awaiting, &tx->awaiting);

	for (const struct list_entry *entry = peer->conns.next; entry != &peer->conns;
	     entry = entry->next)
		idle &= !is_in(&containing_record(entry, struct ksock_conn, entry)->tx_queue,
			       &tx->entry);
	ke_release_spin_lock(&peer->lock, irql);
	if (!idle)
		ke_bug_check("MSG-GIVEN-TWICE", "a message is given that still waits");
}

void ksocknal_launch_packet(struct ksock_tx *tx)
{
	struct ksock_peer *peer = tx->peer;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	if (!place_tx(peer, tx, true))
		ksocknal_tx_happened(
			tx, EVERYTHING,
			nt_success(peer->failure) ? STATUS_HOST_UNREACHABLE : peer->failure, &done);
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

/*
 * What has waited for a connection looks for one again. Not by another call: a message whose peer
 * can't be reached is told so. Lock held.
 */
static void place_waiting(struct ksock_peer *peer, struct list_entry *done)
{
	struct list_entry waiting, *entry;

	initialize_list_head(&waiting);
	append_tail_list(&waiting, &peer->tx_queue);
	while ((entry = remove_head_list(&waiting)) != NULL) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, entry);

		if (!place_tx(peer, tx, false))
			ksocknal_tx_happened(tx, EVERYTHING, peer->failure, done);
	}
}

bool ksocknal_conn_stands(struct ksock_conn *conn)
{
	struct ksock_peer *peer = conn->peer;
	struct list_entry done;
	bool stands;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	/* Who closes it from now on finds it in the list. */
	stands = conn->hello.src_incarnation == peer->incarnation && !ksocknal_is_closing(conn);
	if (stands) {
		insert_tail_list(&peer->conns, &conn->entry);
		conn->tx_ready |= !conn->active;
		if (conn->active)
			peer->connecting &= ~bit_of(conn->type);
		peer->failure = STATUS_SUCCESS;
		peer->next_call_ns = 0;
		place_waiting(peer, &done);
		ksocknal_schedule_tx(conn);
	}
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
	return stands;
}

/* ---- Calling ------------------------------------------------------------------------------- */

void ksocknal_call_failed(struct ksock_peer *peer, uint32_t type, ntstatus reason)
{
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&peer->lock);
	peer->connecting &= ~bit_of(type);
	peer->failure = reason;
	peer->next_call_ns = ke_query_interrupt_time() + peer->ni->node->options.reconnect_ns;
	place_waiting(peer, &done);
	ke_release_spin_lock(&peer->lock, irql);
	ksocknal_txlist_done(&done);
}

/* The types of connections that the peer should have and has not, as bits. Lock held. */
static uint32_t missing_types(struct ksock_peer *peer)
{
	uint32_t missing = bit_of(SOCKLND_CONN_ANY);

	if (peer->ni->node->options.typed)
		missing = bit_of(SOCKLND_CONN_CONTROL) | bit_of(SOCKLND_CONN_BULK_IN) |
			  bit_of(SOCKLND_CONN_BULK_OUT);
	for (struct list_entry *entry = peer->conns.next; entry != &peer->conns;
	     entry = entry->next)
		missing &= ~bit_of(containing_record(entry, struct ksock_conn, entry)->type);
	return missing & ~peer->connecting;
}

void ksocknal_call_peer(struct ksock_peer *peer)
{
	kirql irql = ke_acquire_spin_lock(&peer->lock);
	uint32_t missing = missing_types(peer);
	ntstatus status;

	peer->calling = false;
	peer->connecting |= missing;
	ke_release_spin_lock(&peer->lock, irql);
	for (uint32_t type = 0; type < SOCKLND_CONN_TYPES; type++) {
		if ((missing & bit_of(type)) == 0)
			continue;
		status = ksocknal_connect(peer, type);
		if (!nt_success(status))
			ksocknal_call_failed(peer, type, status);
	}
	ksocknal_put_peer(peer); /* the list's */
}
