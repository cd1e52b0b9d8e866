/*
 * Stage 08: messages packed into batches, each of which goes out as one TDI_SEND.
 *
 * A message of 64 bytes has 96 bytes of headers, and a send costs as much as a hundred messages. So
 * headers and small payloads are copied into a batch's staging, one behind the other; a large
 * payload stays where it is and is described by pieces of the batch's MDL chain between two pieces
 * of staging.
 *
 *      staging    [hdr payload hdr payload hdr]           [hdr payload ...]
 *      payloads                                [ 256 KiB ]
 *      the chain   ───────────1───────────────▶ ────2────▶ ───────3──────▶
 *
 * When. A small message is packed as soon as it is given, while it is in its caller's cache, into a
 * batch that its connection has open: nobody looks at it again before it is called back. A large
 * one, one for which there is no batch, and one that would pass another, waits in the queue for the
 * turn, which packs as much of it as there is room for. All is done with the peer's lock held, for
 * as long as it takes to copy 64 KiB at most; but checksums, which take longer, without it.
 *
 * A payload of more pieces than the chain has room for goes out in several batches. Then the
 * message stays at the head of the queue with what is left of it, and nothing can come between.
 *
 * Sources: the Tdinal design (2.3.2, steps 5 to 8); socklnd (typed headers, piggybacked
 * acknowledgements).
 */
#include "nal/private.h"

/* ---- Batches ------------------------------------------------------------------------------- */

enum { OWED_BYTES = (KSOCK_ZC_ACKS + 1) * KSOCK_MESSAGE_BYTES };

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

void ksocknal_begin_batch(struct ksock_batch *batch, struct ksock_conn *conn)
{
	batch->conn = conn;
	batch->bytes = batch->staged = batch->piece_count = batch->messages = 0;
	batch->staging = false;
	batch->partial = NULL;
	initialize_list_head(&batch->txs);
}

/* ---- Pieces -------------------------------------------------------------------------------- */

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

static bool has_room(const struct ksock_batch *batch, uint32_t length)
{
	return batch->staged + length <= KSOCK_STAGING_BYTES &&
	       (batch->staging || batch->piece_count < KSOCK_BATCH_PIECES);
}

/* Room for `length` bytes of staging, which there is, behind what is in the batch. */
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

/* One cookie goes along with a message. */
static bool is_single_cookie(const struct ksock_conn *conn)
{
	return conn->zc_count == 1 && conn->zc_acks[0].first == conn->zc_acks[0].last;
}

static uint64_t take_single_cookie(struct ksock_conn *conn)
{
	if (!is_single_cookie(conn))
		return 0;
	conn->zc_count = 0;
	return conn->zc_acks[0].last;
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

/* The cookies that have no message to go along with. */
static void pack_cookies(struct ksock_conn *conn, struct ksock_batch *batch)
{
	for (uint32_t i = 0; i < conn->zc_count; i++) {
		const struct ksock_zc_range *range = &conn->zc_acks[i];

		pack_noop(batch, range->first < range->last ? range->first : 0, range->last);
	}
	conn->zc_count = 0;
}

void ksocknal_pack_owed(struct ksock_conn *conn, struct ksock_batch *batch)
{
	if (conn->hello_owed) /* the batch is empty: no message is packed before */
		pack_hello(conn, batch);
	conn->hello_owed = false;
	if (is_list_empty(&conn->tx_queue) || !is_single_cookie(conn))
		pack_cookies(conn, batch);
	if (conn->keepalive_owed)
		pack_noop(batch, 0, SOCKNAL_KEEPALIVE_PING);
	conn->keepalive_owed = false;
}

/* ---- Messages ------------------------------------------------------------------------------ */

static bool is_copied(const struct ksock_tx *tx)
{
	return tx->header.payload_length <= KSOCK_COPY_BYTES;
}

static uint32_t staged_bytes(const struct ksock_tx *tx)
{
	return KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES +
	       (is_copied(tx) ? tx->header.payload_length : 0);
}

/* With the payload behind them, if it is copied. */
static void pack_headers(struct ksock_tx *tx, struct ksock_batch *batch)
{
	const struct ksock_message_header header = {
		.type = KSOCK_MSG_LNET,
		.zc_cookies = {tx->zc_cookie, take_single_cookie(batch->conn)},
	};

	tx->headers = stage(batch, staged_bytes(tx));
	ksock_encode_message(tx->headers, &header, false);
	lnet_encode_header(tx->headers + KSOCK_MESSAGE_BYTES, &tx->header, LNET_HEADER_SWAPPED);
	lnet_begin_payload(&tx->cursor, &tx->payload);
	tx->cursor.left = tx->header.payload_length; /* a GET's payload does not go out */
	if (is_copied(tx))
		lnet_gather(&tx->cursor, tx->headers + KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES);
}

bool ksocknal_pack_tx(struct ksock_tx *tx, struct ksock_batch *batch)
{
	uint32_t length;
	char *piece;

	if (!tx->begun) {
		if (!has_room(batch, staged_bytes(tx)))
			return false;
		pack_headers(tx, batch);
		tx->begun = true;
		batch->partial = tx;
	}
	while (batch->piece_count < KSOCK_BATCH_PIECES &&
	       (piece = lnet_advance(&tx->cursor, UINT32_MAX, &length)) != NULL)
		add_piece(batch, piece, length);
	if (tx->cursor.left > 0)
		return false;
	batch->partial = NULL;
	batch->messages++;
	return true;
}

/* The open batch that has room for so many bytes, and for what a turn adds; NULL: there is none. */
static struct ksock_batch *open_batch(struct ksock_conn *conn, uint32_t bytes)
{
	struct ksock_batch *batch = containing_record(conn->open.prev, struct ksock_batch, entry);

	if (!is_list_empty(&conn->open) && has_room(batch, bytes + OWED_BYTES))
		return batch;
	batch = ksocknal_idle_batch(conn);
	if (batch == NULL)
		return NULL;
	ksocknal_begin_batch(batch, conn);
	insert_tail_list(&conn->open, &batch->entry);
	return batch;
}

/* Whole, while it is in its owner's cache. False: it has to wait. */
static bool pack_now(struct ksock_tx *tx, struct ksock_conn *conn)
{
	struct ksock_batch *batch;

	if (!is_copied(tx) || conn->hello_owed || !is_list_empty(&conn->tx_queue))
		return false;
	batch = open_batch(conn, staged_bytes(tx));
	if (batch == NULL)
		return false;
	ksocknal_pack_tx(tx, batch);
	insert_tail_list(&batch->txs, &tx->entry);
	return true;
}

void ksocknal_queue_tx(struct ksock_conn *conn, struct ksock_tx *tx)
{
	const struct lnet_options *options = &conn->node->options;
	struct ksock_peer *peer = conn->peer;

	tx->conn = conn;
	if (options->zero_copy_bytes != 0 &&
	    tx->header.payload_length >= options->zero_copy_bytes) {
		tx->zc_cookie = ++peer->last_zc_cookie;
		tx->waits |= KSOCK_TX_ZC;
	}
	if ((tx->waits & KSOCK_TX_ANSWERED) != 0)
		ksocknal_give_handle(tx, ++peer->last_handle);
	if (tx->waits != KSOCK_TX_SENT) {
		tx->deadline_ns = options->timeout_ns == 0
					  ? UINT64_MAX
					  : ke_query_interrupt_time() + options->timeout_ns;
		insert_tail_list(&peer->awaiting, &tx->awaiting);
	}
	if (!pack_now(tx, conn))
		insert_tail_list(&conn->tx_queue, &tx->entry);
	ksocknal_schedule_tx(conn);
}

/* ---- Checksums ----------------------------------------------------------------------------- */

static void add_checksum(struct ksock_tx *tx)
{
	uint32_t sum = ksock_checksum_begin(tx->headers);
	struct lnet_cursor cursor;
	uint32_t length;
	char *piece;

	lnet_begin_payload(&cursor, &tx->payload);
	sum = ksock_checksum_add(sum, tx->headers + KSOCK_MESSAGE_BYTES, LNET_HEADER_BYTES);
	cursor.left = tx->header.payload_length;
	while ((piece = lnet_advance(&cursor, UINT32_MAX, &length)) != NULL)
		sum = ksock_checksum_add(sum, piece, length);
	ksock_set_checksum(tx->headers, sum, false);
}

void ksocknal_add_checksums(struct ksock_batch *batch)
{
	struct list_entry *entry = batch->txs.next;

	/* The first may have begun in the batch before. */
	if (entry != &batch->txs &&
	    containing_record(entry, struct ksock_tx, entry)->headers == NULL)
		entry = entry->next;
	for (; entry != &batch->txs; entry = entry->next)
		add_checksum(containing_record(entry, struct ksock_tx, entry));
	if (batch->partial != NULL) {
		add_checksum(batch->partial);
		batch->partial->headers = NULL;
	}
}
