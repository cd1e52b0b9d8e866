/*
 * Stage 08: a turn of sending.
 *
 * A turn sends batches of messages (pack.c), each as one TDI_SEND: those that are open, because
 * messages were packed into them as they were given, and behind them what is in the queue.
 *
 *      given ──▶ open ─────┐
 *         └────▶ tx_queue ─┴─▶ batch ──▶ transport ──▶ the next turn: its messages are sent
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
 * A batch whose send is done can be the next. A connection that has one open needs no other; so one
 * that has to wait for a batch holds none.
 *
 * Sources: the Tdinal design (2.3.2, steps 7 to 11); socklnd (ksocknal_transmit).
 */
#include "nal/private.h"

enum { TURN_BATCHES = 4 };

/* ---- What a batch will carry --------------------------------------------------------------- */

bool ksocknal_has_output(const struct ksock_conn *conn)
{
	return conn->hello_owed || conn->keepalive_owed || conn->zc_count > 0 ||
	       !is_list_empty(&conn->open) || !is_list_empty(&conn->tx_queue);
}

/* Nothing can come between the parts of a message. Lock held. */
static bool in_midst_of_message(const struct ksock_conn *conn)
{
	return !is_list_empty(&conn->tx_queue) &&
	       containing_record(conn->tx_queue.next, struct ksock_tx, entry)->begun;
}

/* Behind what is in the batch, if no other is open: they were given before. Lock held. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	while (is_list_empty(&conn->open) && !is_list_empty(&conn->tx_queue) &&
	       batch->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		if (!ksocknal_pack_tx(tx, batch))
			return; /* of what is left of it a part can be in the batch */
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

/* What is open, or the memory of the last batch, or what the turn has in hand. Lock held. */
static struct ksock_batch *begin_batch(struct ksock_conn *conn, struct ksock_batch **last,
				       struct ksock_batch **hand)
{
	struct list_entry *open = remove_head_list(&conn->open);
	struct ksock_batch **memory = *last != NULL ? last : hand;
	struct ksock_batch *batch = *memory;

	if (open != NULL)
		return containing_record(open, struct ksock_batch, entry);
	*memory = NULL;
	ksocknal_begin_batch(batch, conn);
	return batch;
}

static void put_away(struct ksock_conn *conn, struct ksock_batch *batch, struct ksock_batch **hand)
{
	if (*hand == NULL)
		*hand = batch;
	else
		ksocknal_return_batch(conn->sched, batch);
}

/*
 * From the last batch to the next, which may be the same memory, under one hold of the lock. NULL:
 * there is nothing to send, and the connection goes idle.
 */
static struct ksock_batch *next_batch(struct ksock_conn *conn, struct ksock_batch *last,
				      struct ksock_batch **hand)
{
	struct ksock_batch *batch = NULL;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (last != NULL) {
		finish_txs(last, &done);
		conn->tx_batches++;
	}
	if (ksocknal_has_output(conn)) {
		batch = begin_batch(conn, &last, hand);
		if (!in_midst_of_message(conn))
			ksocknal_pack_owed(conn, batch);
		take_txs(conn, batch);
	}
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_ready = batch == NULL;
	conn->tx_scheduled = batch != NULL;
	ke_release_spin_lock(&conn->peer->lock, irql);
	if (last != NULL)
		put_away(conn, last, hand);
	ksocknal_txlist_done(&done);
	return batch;
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
	conn->sent.messages += batch->messages;
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

static bool has_open(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool any = !is_list_empty(&conn->open);

	ke_release_spin_lock(&conn->peer->lock, irql);
	return any;
}

/* Whether there is memory for the next batch; if not, it waits for some. */
static bool has_memory(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->batch != NULL || *hand != NULL || has_open(conn))
		return true;
	*hand = ksocknal_take_batch(conn);
	return *hand != NULL;
}

bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (int i = 0; i < TURN_BATCHES; i++) {
		struct ksock_batch *last = conn->batch;

		if (last != NULL && !nt_success(last->status)) {
			ksocknal_close_conn(conn, last->status);
			return false;
		}
		if (!has_memory(conn, hand))
			return false; /* it stays scheduled, and waits elsewhere */
		conn->batch = next_batch(conn, last, hand);
		if (conn->batch == NULL)
			return false;
		if (conn->node->options.checksums)
			ksocknal_add_checksums(conn->batch);
		if (transmit(conn, conn->batch) == STATUS_PENDING) {
			conn->sent.again++;
			conn->pending = true;
			return is_done_meanwhile(conn);
		}
	}
	return true;
}
