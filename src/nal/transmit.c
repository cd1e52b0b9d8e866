/*
 * Stage 08: messages made into sends.
 *
 * A message of 64 bytes has 96 bytes of headers, and a send costs as much as a hundred messages. So
 * a turn gathers what is waiting into a batch, which goes out as one TDI_SEND: headers and small
 * payloads are copied into its staging, one behind the other; a large payload stays where it is and
 * is described by pieces of the batch's MDL chain between two pieces of staging.
 *
 *      staging    [hdr payload hdr payload hdr]           [hdr payload ...]
 *      payloads                                [ 256 KiB ]
 *      the chain   ───────────1───────────────▶ ────2────▶ ───────3──────▶
 *
 * A payload of more pieces than the chain has room for goes out in several batches. Then the
 * message stays at the head of the queue with what is left of it, and nothing can come between.
 *
 * PENDING. One batch of a connection is with the transport at a time. The send can complete before
 * io_call_driver has returned, or later, on any processor, and neither side is told which: so there
 * are two references (stage 03), and who drops the last has the batch. If that is the turn, it
 * goes on at once. If not, the turn ends (socklnd's -EAGAIN): the connection is not ready, though
 * messages wait in it, and no turn will look at it; when the transport is done, the completion
 * routine drops the last reference and makes it ready. The routine does nothing else: messages are
 * called back in the turn, at PASSIVE_LEVEL.
 *
 * A message is finished with the batch that has its last byte. One batch at a time means that on a
 * transport that does not buffer a batch takes a round trip; the message layer wants one that does.
 *
 * Sources: the Tdinal design (2.3.2, steps 5 to 11); socklnd (ksocknal_transmit, typed headers,
 * piggybacked acknowledgements).
 */
#include <string.h>

#include "nal/private.h"

enum { TURN_BATCHES = 4 };

/* ---- Batches ------------------------------------------------------------------------------- */

struct ksock_batch *ksocknal_create_batch(struct device_object *device)
{
	struct ksock_batch *batch = ex_allocate_pool(sizeof(*batch));

	if (batch == NULL)
		return NULL;
	batch->irp = io_allocate_irp(device->stack_size);
	if (batch->irp != NULL)
		return batch;
	ex_free_pool(batch);
	return NULL;
}

void ksocknal_free_batch(struct ksock_batch *batch)
{
	io_free_irp(batch->irp);
	ex_free_pool(batch);
}

static void begin_batch(struct ksock_batch *batch, struct ksock_conn *conn)
{
	batch->conn = conn;
	batch->bytes = batch->staged = batch->piece_count = 0;
	batch->staging = false;
	initialize_list_head(&batch->txs);
}

static void add_piece(struct ksock_batch *batch, char *base, uint32_t length)
{
	struct mdl *mdl = &batch->pieces[batch->piece_count];

	*mdl = (struct mdl){.mapped_system_va = base, .byte_count = length};
	mm_build_mdl_for_non_paged_pool(mdl);
	if (batch->piece_count > 0)
		batch->pieces[batch->piece_count - 1].next = mdl;
	batch->piece_count++;
	batch->bytes += length;
	batch->staging = false;
}

/* Room for `length` bytes of staging, behind what is in the batch. */
static char *stage(struct ksock_batch *batch, uint32_t length)
{
	char *at = batch->bytes_staged + batch->staged;

	if (batch->staging) {
		batch->pieces[batch->piece_count - 1].byte_count += length;
		batch->bytes += length;
	} else {
		add_piece(batch, at, length);
		batch->staging = true;
	}
	batch->staged += length;
	return at;
}

/* ---- What goes out beside messages --------------------------------------------------------- */

bool ksocknal_queue_zc_ack(struct ksock_conn *conn, uint64_t cookie)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	struct ksock_zc_range *last =
		conn->zc_count > 0 ? &conn->zc_acks[conn->zc_count - 1] : NULL;
	bool kept = true;

	/* Version 2 knows no ranges. */
	if (last != NULL && last->last + 1 == cookie && conn->version >= KSOCK_PROTO_V3)
		last->last = cookie;
	else if (conn->zc_count < KSOCK_ZC_ACKS)
		conn->zc_acks[conn->zc_count++] = (struct ksock_zc_range){cookie, cookie};
	else
		kept = false;
	ksocknal_schedule_tx(conn);
	ke_release_spin_lock(&conn->peer->lock, irql);
	return kept;
}

static void pack_hello(struct ksock_conn *conn, struct ksock_batch *batch)
{
	const struct ksock_peer *peer = conn->peer;
	const struct lnet_acceptor_request request = {LNET_PROTO_ACCEPTOR_VERSION, peer->nid};
	const struct ksock_hello hello = {
		.version = conn->version,
		.src_nid = peer->ni->nid,
		.dst_nid = peer->nid,
		.src_pid = LNET_PID_LUSTRE,
		.dst_pid = LNET_PID_LUSTRE,
		.src_incarnation = conn->node->incarnation,
		.dst_incarnation = conn->active ? 0 : conn->hello.src_incarnation,
		.connection_type = conn->type,
	};

	if (conn->active)
		lnet_encode_acceptor_request(stage(batch, LNET_ACCEPTOR_BYTES), &request, false);
	ksock_encode_hello(stage(batch, KSOCK_HELLO_BYTES), &hello, false);
}

static void pack_noop(struct ksock_batch *batch, uint64_t first, uint64_t second)
{
	const struct ksock_message_header header = {.type = KSOCK_MSG_NOOP,
						    .zc_cookies = {first, second}};

	ksock_encode_message(stage(batch, KSOCK_MESSAGE_BYTES), &header, false);
}

/* ---- Messages ------------------------------------------------------------------------------ */

static bool is_copied(const struct ksock_tx *tx)
{
	return tx->header.payload_length <= KSOCK_COPY_BYTES;
}

static uint32_t staged_bytes(const struct ksock_tx *tx)
{
	return tx->begun ? 0
			 : KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES +
				   (is_copied(tx) ? tx->header.payload_length : 0);
}

static void checksum(const struct ksock_tx *tx, char *header, char *lnet_header)
{
	struct lnet_cursor cursor = lnet_begin_payload(&tx->payload);
	uint32_t sum = ksock_checksum_begin(header);
	uint32_t length;
	char *piece;

	sum = ksock_checksum_add(sum, lnet_header, LNET_HEADER_BYTES);
	cursor.left = tx->header.payload_length; /* a GET's payload does not go out */
	while ((piece = lnet_advance(&cursor, UINT32_MAX, &length)) != NULL)
		sum = ksock_checksum_add(sum, piece, length);
	ksock_set_checksum(header, sum, false);
}

/* With the payload behind them, if it is copied. */
static void pack_headers(struct ksock_tx *tx, struct ksock_batch *batch, uint64_t zc_ack)
{
	const struct ksock_message_header header = {.type = KSOCK_MSG_LNET,
						    .zc_cookies = {tx->zc_cookie, zc_ack}};
	char *at = stage(batch, staged_bytes(tx));
	char *lnet_header = at + KSOCK_MESSAGE_BYTES;

	ksock_encode_message(at, &header, false);
	lnet_encode_header(lnet_header, &tx->header, LNET_HEADER_SWAPPED);
	if (batch->conn->node->options.checksums)
		checksum(tx, at, lnet_header);
	tx->begun = true;
	tx->cursor = lnet_begin_payload(&tx->payload);
	tx->cursor.left = tx->header.payload_length;
	if (is_copied(tx))
		lnet_gather(&tx->cursor, lnet_header + LNET_HEADER_BYTES);
}

/* As much of the message as there are pieces for. */
static void pack_tx(struct ksock_tx *tx, struct ksock_batch *batch, uint64_t zc_ack)
{
	uint32_t length;
	char *piece;

	if (!tx->begun)
		pack_headers(tx, batch, zc_ack);
	while (batch->piece_count < KSOCK_BATCH_PIECES &&
	       (piece = lnet_advance(&tx->cursor, UINT32_MAX, &length)) != NULL)
		add_piece(batch, piece, length);
}

/* ---- What a batch will carry --------------------------------------------------------------- */

/* Counted while the peer's lock is held, packed afterwards. */
struct load {
	bool hello;
	bool keepalive;
	uint32_t zc_count;
	struct ksock_zc_range zc_acks[KSOCK_ZC_ACKS];
	struct ksock_tx *partial; /* still at the head of the queue: not all of it has room */
	uint32_t bytes;
	uint32_t staged;
	uint32_t pieces;
	bool staging; /* the last piece */
};

/* All but the cookies, of which there are `zc_count`. */
static void begin_load(struct load *load)
{
	load->hello = load->keepalive = load->staging = false;
	load->partial = NULL;
	load->zc_count = load->bytes = load->staged = load->pieces = 0;
}

bool ksocknal_has_output(const struct ksock_conn *conn)
{
	return conn->hello_owed || conn->keepalive_owed || conn->zc_count > 0 ||
	       !is_list_empty(&conn->tx_queue);
}

static void count_staging(struct load *load, uint32_t bytes)
{
	load->pieces += bytes > 0 && !load->staging;
	load->staging |= bytes > 0;
	load->staged += bytes;
}

static void take_the_rest(struct ksock_conn *conn, struct load *load)
{
	load->hello = conn->hello_owed;
	load->keepalive = conn->keepalive_owed;
	load->zc_count = conn->zc_count;
	if (conn->zc_count > 0)
		memcpy(load->zc_acks, conn->zc_acks, conn->zc_count * sizeof(conn->zc_acks[0]));
	conn->hello_owed = conn->keepalive_owed = false;
	conn->zc_count = 0;
	count_staging(load, (load->hello ? LNET_ACCEPTOR_BYTES + KSOCK_HELLO_BYTES : 0) +
				    (load->zc_count + load->keepalive) * KSOCK_MESSAGE_BYTES);
}

/* True: the message goes out whole, and is counted. */
static bool take_whole(struct load *load, const struct ksock_tx *tx)
{
	uint32_t staged = staged_bytes(tx);
	uint32_t pieces = staged > 0 && !load->staging;

	if (!is_copied(tx))
		pieces += tx->payload.count - (tx->begun ? tx->cursor.piece : 0);
	if (load->staged + staged > KSOCK_STAGING_BYTES ||
	    load->pieces + pieces > KSOCK_BATCH_PIECES)
		return false;
	load->staged += staged;
	load->pieces += pieces;
	load->staging = is_copied(tx);
	load->bytes += staged + tx->header.payload_length;
	return true;
}

/* Nothing can come between the parts of a message. Lock held. */
static bool in_midst_of_message(const struct ksock_conn *conn)
{
	return !is_list_empty(&conn->tx_queue) &&
	       containing_record(conn->tx_queue.next, struct ksock_tx, entry)->begun;
}

static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	while (!is_list_empty(&conn->tx_queue) && load->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		if (!take_whole(load, tx)) {
			if (!is_copied(tx) && load->pieces + 2 <= KSOCK_BATCH_PIECES &&
			    load->staged + staged_bytes(tx) <= KSOCK_STAGING_BYTES)
				load->partial = tx;
			return;
		}
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}

/* The batch that the transport is done with: its messages are sent. */
static void finish_txs(struct ksock_batch *batch, struct list_entry *done)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(&batch->txs)) != NULL)
		ksocknal_tx_happened(containing_record(entry, struct ksock_tx, entry),
				     KSOCK_TX_SENT, STATUS_SUCCESS, done);
}

/*
 * From one batch to the next, which may be the same memory, under one hold of the lock. False:
 * there is nothing to send, and the connection goes idle.
 */
static bool next_batch(struct ksock_conn *conn, struct ksock_batch *finished,
		       struct ksock_batch *batch, struct load *load)
{
	struct list_entry done;
	kirql irql;
	bool any;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (finished != NULL) {
		finish_txs(finished, &done);
		conn->tx_batches++;
	}
	begin_batch(batch, conn);
	any = ksocknal_has_output(conn);
	if (any && !in_midst_of_message(conn))
		take_the_rest(conn, load);
	take_txs(conn, batch, load);
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_ready = !any;
	conn->tx_scheduled = any;
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
	return any;
}

/* Of a list that is longer than its payload it can turn out that all of the message goes out. */
static void pack_part(struct ksock_conn *conn, struct ksock_batch *batch, struct ksock_tx *tx)
{
	kirql irql;

	pack_tx(tx, batch, 0);
	if (tx->cursor.left > 0)
		return;
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	remove_entry_list(&tx->entry);
	insert_tail_list(&batch->txs, &tx->entry);
	ke_release_spin_lock(&conn->peer->lock, irql);
	conn->sent.messages++;
}

static void pack(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	uint64_t zc_ack = 0;

	if (load->hello)
		pack_hello(conn, batch);
	/* One cookie goes along with a message. */
	if (load->zc_count == 1 && load->zc_acks[0].first == load->zc_acks[0].last &&
	    !is_list_empty(&batch->txs)) {
		zc_ack = load->zc_acks[0].first;
		load->zc_count = 0;
	}
	for (uint32_t i = 0; i < load->zc_count; i++) {
		const struct ksock_zc_range *range = &load->zc_acks[i];

		pack_noop(batch, range->first < range->last ? range->first : 0, range->last);
	}
	if (load->keepalive)
		pack_noop(batch, 0, SOCKNAL_KEEPALIVE_PING);
	for (struct list_entry *entry = batch->txs.next; entry != &batch->txs;
	     entry = entry->next) {
		pack_tx(containing_record(entry, struct ksock_tx, entry), batch, zc_ack);
		zc_ack = 0;
		conn->sent.messages++;
	}
	if (load->partial != NULL)
		pack_part(conn, batch, load->partial);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static ntstatus batch_sent(struct device_object *device, struct irp *irp, void *context)
{
	struct ksock_batch *batch = context;
	struct ksock_conn *conn = batch->conn;
	kirql irql;

	(void)device;
	batch->status = irp->io_status.status;
	if (!ob_dereference(&batch->references))
		return STATUS_MORE_PROCESSING_REQUIRED; /* the turn goes on with it */
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	conn->tx_ready = true;
	ksocknal_schedule_tx(conn);
	ke_release_spin_lock(&conn->peer->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* STATUS_PENDING: the completion routine has the batch, or has had it. */
static ntstatus transmit(struct ksock_conn *conn, struct ksock_batch *batch)
{
	ob_initialize_reference(&batch->references, 2);
	io_reuse_irp(batch->irp, STATUS_SUCCESS);
	tdi_build_send(batch->irp, &conn->stream->file, batch_sent, batch, batch->pieces, 0,
		       batch->bytes);
	conn->sent.batches++;
	conn->sent.bytes += batch->bytes;
	io_call_driver(io_get_related_device_object(&conn->stream->file), batch->irp);
	if (!ob_dereference(&batch->references))
		return STATUS_PENDING;
	return batch->status;
}

static bool finish_connect(struct ksock_conn *conn)
{
	ntstatus status = conn->connect_irp->io_status.status;

	io_free_irp(conn->connect_irp);
	conn->connect_irp = NULL;
	if (!nt_success(status))
		ksocknal_close_conn(conn, status);
	return nt_success(status);
}

/* The send is under way. True: or it was, until now. */
static bool is_done_meanwhile(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool done = conn->tx_ready;

	conn->tx_scheduled = done; /* if not, the completion routine brings the next turn */
	ke_release_spin_lock(&conn->peer->lock, irql);
	return done;
}

/* Memory for the next batch: that of the last, or the turn's; or another. */
static struct ksock_batch *batch_for(struct ksock_conn *conn, struct ksock_batch **hand)
{
	struct ksock_batch *batch = conn->batch;

	if (batch == NULL) {
		batch = *hand;
		*hand = NULL;
	}
	return batch != NULL ? batch : ksocknal_take_batch(conn);
}

static void put_away(struct ksock_conn *conn, struct ksock_batch *batch, struct ksock_batch **hand)
{
	if (*hand == NULL)
		*hand = batch;
	else
		ksocknal_return_batch(conn->sched, batch);
}

bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (int i = 0; i < TURN_BATCHES; i++) {
		struct ksock_batch *finished = conn->batch;
		struct ksock_batch *batch;
		struct load load;

		if (finished != NULL && !nt_success(finished->status)) {
			ksocknal_close_conn(conn, finished->status);
			return false;
		}
		batch = batch_for(conn, hand);
		if (batch == NULL)
			return false; /* it stays scheduled, and waits elsewhere */
		conn->batch = NULL;
		begin_load(&load);
		if (!next_batch(conn, finished, batch, &load)) {
			put_away(conn, batch, hand);
			return false;
		}
		pack(conn, batch, &load);
		conn->batch = batch;
		if (transmit(conn, batch) == STATUS_PENDING) {
			conn->sent.again++;
			conn->pending = true;
			return is_done_meanwhile(conn);
		}
	}
	return true;
}
