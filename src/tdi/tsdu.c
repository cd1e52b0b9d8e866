/*
 * Stage 06: a bounded queue of what has come, and who owns which bytes of it.
 *
 * Nobody has asked for the data that an event shows, so there may be no place for it yet. It waits
 * here, in TSDUs (transport service data units), oldest first. There are three kinds:
 *
 *   DAT   copied into a slab behind its header, as long as there is room in it, so that a thousand
 *         small pieces do not cost a thousand slabs
 *   BUF   copied into a buffer of just its size: what fits no slab
 *   MDL   not copied: the transport's own memory, a chain of MDLs, on loan
 *
 * The life of data
 *
 *   shown to be copied    the transport's until the handler returns; what was copied, up to the
 *                         limit, is the queue's
 *   shown as a loan       the queue's to read from STATUS_PENDING on, until its last byte is
 *                         consumed or the queue is closed; then it is given back, once
 *   peeked                the queue's, and stays in place until it is consumed
 *   consumed              nobody's
 *
 * Backpressure. Copies are bounded by `limit`, loans by the transport. What does not fit is refused
 * (STATUS_DATA_NOT_ACCEPTED), the transport keeps it and shows no more, and in the end the peer has
 * to stop. From then on no event will come by itself: when the reader has made half of the limit
 * free, the queue makes a TDI_RECEIVE of its own into a slab, counted as full while it is under
 * way. Its completion comes before the next event, so what it brings goes to the end of the queue.
 *
 *        takes ──no room or no pool──▶ refused ──half is free──▶ receiving ──completes──▶ takes
 *                                         ▲                          │
 *                                         └─────────no pool──────────┘
 *
 * That data is refused is decided and noted under one hold of the lock, and the reader looks for
 * the note under the same lock after it has made room. So either the handler finds the room or the
 * reader the note. The TDI_RECEIVE may then reach the transport before the handler has returned.
 *
 * No pool. A copy is refused, like one for which there is no room. A TDI_RECEIVE that can't be made
 * is tried again by a timer, for there may be nothing left whose consumption could do it. A loan
 * that is not taken is lost, so there is a spare header; if that is in use too, the loss ends the
 * queue, behind what had come before.
 *
 * Contexts. Events of a kind come one at a time, and so do reads; the two run beside each other on
 * different processors. `lock` guards everything here; copying is done with it held, for what comes
 * to be copied is small: much of it comes as a loan. Nothing is called back, given back or asked
 * for with it held.
 *
 * Sources: the Tdinal design (the TSDU queue; its successor's slabs and kinds). That queue had no
 * limit.
 */
#include <string.h>

#include "tdi/counters.h"
#include "tdi/stream.h"

enum {
	SLAB_ROOM = TDI_SLAB_BYTES - sizeof(struct tdi_tsdu),
	RETRY_NS = 10 * 1000 * 1000,
};

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void count(struct tdi_receive_queue *queue, enum tdi_receive_counter counter, uint64_t by)
{
	stat_count(&queue->counters, counter, by);
}

static bool takes_no_more(const struct tdi_receive_queue *queue)
{
	return queue->closed || queue->end != STATUS_SUCCESS;
}

/* ---- TSDUs --------------------------------------------------------------------------------- */

/* An empty one with room for so many bytes, or for a slab's if that is more. NULL: no pool. */
static struct tdi_tsdu *allocate_copy(uint32_t bytes)
{
	enum tdi_tsdu_kind kind = bytes <= SLAB_ROOM ? TDI_TSDU_DAT : TDI_TSDU_BUF;
	uint32_t capacity = kind == TDI_TSDU_DAT ? SLAB_ROOM : bytes;
	struct tdi_tsdu *tsdu = ex_allocate_pool(sizeof(*tsdu) + capacity);

	if (tsdu != NULL)
		*tsdu = (struct tdi_tsdu){.kind = kind, .capacity = capacity};
	return tsdu;
}

/* For a loan, which can't come again: the spare when there is no pool. NULL: not even that. */
static struct tdi_tsdu *allocate_loan(struct tdi_receive_queue *queue)
{
	struct tdi_tsdu *tsdu = ex_allocate_pool(sizeof(*tsdu));

	if (tsdu == NULL && !queue->spare_used) {
		queue->spare_used = true;
		tsdu = &queue->spare;
	}
	return tsdu;
}

static char *bytes_behind(struct tdi_tsdu *tsdu)
{
	return (char *)(tsdu + 1);
}

/* Goes on to the MDL in which the first unread byte stands. */
static void skip_read_mdls(struct tdi_tsdu *tsdu)
{
	while (tsdu->offset >= mm_get_mdl_byte_count(tsdu->mdl)) {
		tsdu->offset -= mm_get_mdl_byte_count(tsdu->mdl);
		tsdu->mdl = tsdu->mdl->next;
	}
}

static const char *unread_bytes(struct tdi_tsdu *tsdu, uint32_t *length)
{
	if (tsdu->kind != TDI_TSDU_MDL) {
		*length = tsdu->length;
		return bytes_behind(tsdu) + tsdu->offset;
	}
	*length = smaller(tsdu->length, mm_get_mdl_byte_count(tsdu->mdl) - tsdu->offset);
	return mm_get_system_address_for_mdl(tsdu->mdl) + tsdu->offset;
}

/* The TSDU is out of the queue, and read or thrown away. Lock not held: the transport is called. */
static void let_go(struct tdi_receive_queue *queue, struct tdi_tsdu *tsdu)
{
	kirql irql;

	if (tsdu->kind == TDI_TSDU_MDL)
		tdi_return_chained_receives(&tsdu->descriptor, 1);
	if (tsdu != &queue->spare) {
		ex_free_pool(tsdu);
		return;
	}
	irql = ke_acquire_spin_lock(&queue->lock);
	queue->spare_used = false;
	ke_release_spin_lock(&queue->lock, irql);
}

/* ---- What comes in: with the lock held ----------------------------------------------------- */

static void note_copied(struct tdi_receive_queue *queue, uint32_t bytes)
{
	queue->copied += bytes;
	count(queue, TDI_COUNTS_TAKEN, bytes);
	count(queue, TDI_COUNTS_COPIED, bytes);
}

/* Where the next of `wanted` bytes can go: the last slab, as long as it has room. NULL: no pool. */
static struct tdi_tsdu *find_room(struct tdi_receive_queue *queue, uint32_t wanted)
{
	struct tdi_tsdu *last = containing_record(queue->tsdus.prev, struct tdi_tsdu, entry);

	if (!is_list_empty(&queue->tsdus) && last->kind == TDI_TSDU_DAT &&
	    last->offset + last->length < last->capacity)
		return last;
	last = allocate_copy(wanted);
	if (last != NULL)
		insert_tail_list(&queue->tsdus, &last->entry);
	return last;
}

/* Copies the bytes behind all others. How many: fewer when there is no pool. */
static uint32_t append(struct tdi_receive_queue *queue, const char *bytes, uint32_t length)
{
	uint32_t done = 0;

	while (done < length) {
		struct tdi_tsdu *tsdu = find_room(queue, length - done);
		uint32_t end, piece;

		if (tsdu == NULL)
			break;
		end = tsdu->offset + tsdu->length;
		piece = smaller(length - done, tsdu->capacity - end);
		memcpy(bytes_behind(tsdu) + end, bytes + done, piece);
		tsdu->length += piece;
		done += piece;
	}
	note_copied(queue, done);
	return done;
}

/* There was no pool for what has to be done: it is tried again, whatever else happens. */
static void retry_later(struct tdi_receive_queue *queue)
{
	if (takes_no_more(queue))
		return;
	queue->retried = true;
	ke_set_timer(&queue->retry, RETRY_NS, &queue->retry_dpc);
}

/* ---- The queue's own TDI_RECEIVE ----------------------------------------------------------- */

/*
 * With the lock held: whether it is time for one. Then it has a slab, and start_receive is to be
 * called when the lock is free.
 */
static bool prepare_receive(struct tdi_receive_queue *queue)
{
	struct tdi_tsdu *tsdu;

	if (!queue->refused || takes_no_more(queue) || queue->copied > queue->limit / 2)
		return false;
	tsdu = allocate_copy(SLAB_ROOM);
	if (tsdu == NULL) {
		retry_later(queue);
		return false;
	}
	tsdu->length = smaller(queue->limit - queue->copied, tsdu->capacity);
	queue->copied += tsdu->length;
	queue->refused = false;
	queue->receiving = tsdu;
	count(queue, TDI_COUNTS_RECEIVES, 1);
	return true;
}

/* With the lock held, which a last receive may outlive: nobody counts any more. */
static void end_counting(struct tdi_receive_queue *queue)
{
	if (queue->closed && queue->receiving == NULL)
		stat_remove_block(&queue->counters);
}

/* With the lock held: the receive is over. Whether its slab is in the queue now. */
static bool take_received(struct tdi_receive_queue *queue, ntstatus status, uint32_t bytes)
{
	struct tdi_tsdu *tsdu = queue->receiving;

	queue->receiving = NULL;
	queue->copied -= tsdu->length;
	count(queue, TDI_COUNTS_RECEIVED, 1);
	if (nt_success(status) && bytes > 0 && !queue->closed) {
		tsdu->length = bytes;
		insert_tail_list(&queue->tsdus, &tsdu->entry);
		note_copied(queue, bytes);
		return true;
	}
	if (status == STATUS_INSUFFICIENT_RESOURCES) {
		queue->refused = true;
		retry_later(queue);
	} else if (!nt_success(status) && queue->end == STATUS_SUCCESS) {
		queue->end = status;
	}
	return false;
}

static void receive_done(void *context, ntstatus status, uint32_t bytes)
{
	struct tdi_receive_queue *queue = context;
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	struct tdi_tsdu *tsdu = queue->receiving;
	bool taken = take_received(queue, status, bytes);
	bool tell = !queue->closed && (taken || queue->end != STATUS_SUCCESS);

	end_counting(queue);
	ke_release_spin_lock(&queue->lock, irql);
	if (!taken)
		ex_free_pool(tsdu); /* else it is the reader's already */
	if (tell)
		queue->changed(queue->context);
}

/* Lock not held: the receive may complete before this returns. */
static void start_receive(struct tdi_receive_queue *queue)
{
	struct tdi_tsdu *tsdu = queue->receiving;

	tdi_start_receive_buffer(queue->connection, bytes_behind(tsdu), tsdu->length, queue->kind,
				 receive_done, queue);
}

static void receive_again(struct kdpc *dpc, void *context)
{
	struct tdi_receive_queue *queue = context;
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool receive = prepare_receive(queue);

	(void)dpc;
	ke_release_spin_lock(&queue->lock, irql);
	if (receive)
		start_receive(queue);
}

/* ---- Events -------------------------------------------------------------------------------- */

/* How much more there is does not matter: only what is indicated can be looked at. */
ntstatus tdi_queue_receive(struct tdi_receive_queue *queue, uint32_t bytes_indicated,
			   uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	uint32_t room = takes_no_more(queue) ? 0 : queue->limit - queue->copied;
	uint32_t taken = append(queue, tsdu, smaller(bytes_indicated, room));

	(void)bytes_available;
	count(queue, TDI_COUNTS_INDICATED, 1);
	if (taken < bytes_indicated) {
		count(queue, TDI_COUNTS_REFUSED, 1);
		queue->refused = true;
		if (queue->copied <= queue->limit / 2)
			retry_later(queue); /* it was for want of pool */
	}
	ke_release_spin_lock(&queue->lock, irql);
	*bytes_taken = taken;
	if (taken > 0)
		queue->changed(queue->context);
	return taken == bytes_indicated ? STATUS_SUCCESS : STATUS_DATA_NOT_ACCEPTED;
}

/* With the lock held: the loan is the last in the queue. STATUS_PENDING, or it is not taken. */
static ntstatus take_loan(struct tdi_receive_queue *queue, uint32_t length, uint32_t offset,
			  const struct mdl *mdl, void *descriptor)
{
	struct tdi_tsdu *loan;

	count(queue, TDI_COUNTS_CHAINED, 1);
	if (takes_no_more(queue))
		return STATUS_DATA_NOT_ACCEPTED;
	loan = allocate_loan(queue);
	if (loan == NULL) {
		queue->end = STATUS_INSUFFICIENT_RESOURCES; /* a hole that the reader is told of */
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	*loan = (struct tdi_tsdu){.kind = TDI_TSDU_MDL,
				  .offset = offset,
				  .length = length,
				  .mdl = mdl,
				  .descriptor = descriptor};
	skip_read_mdls(loan);
	insert_tail_list(&queue->tsdus, &loan->entry);
	queue->lent += length;
	count(queue, TDI_COUNTS_TAKEN, length);
	count(queue, TDI_COUNTS_LENT, length);
	count(queue, TDI_COUNTS_LOANS, 1);
	return STATUS_PENDING;
}

ntstatus tdi_queue_chained_receive(struct tdi_receive_queue *queue, uint32_t receive_length,
				   uint32_t starting_offset, const struct mdl *tsdu,
				   void *tsdu_descriptor)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	ntstatus status = take_loan(queue, receive_length, starting_offset, tsdu, tsdu_descriptor);

	ke_release_spin_lock(&queue->lock, irql);
	if (status != STATUS_DATA_NOT_ACCEPTED)
		queue->changed(queue->context); /* the loan may be back before this returns */
	return status;
}

void tdi_end_receive_queue(struct tdi_receive_queue *queue, ntstatus reason)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool tell = !takes_no_more(queue);

	if (tell)
		queue->end = reason;
	ke_release_spin_lock(&queue->lock, irql);
	if (tell)
		queue->changed(queue->context);
}

/* ---- The reader ---------------------------------------------------------------------------- */

/* A receive that is under way may bring more, whatever has ended since. */
const void *tdi_queue_peek(struct tdi_receive_queue *queue, uint32_t *length, ntstatus *status)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	const void *bytes = NULL;

	*length = 0;
	*status = STATUS_PENDING;
	if (!is_list_empty(&queue->tsdus)) {
		bytes = unread_bytes(containing_record(queue->tsdus.next, struct tdi_tsdu, entry),
				     length);
		*status = STATUS_SUCCESS;
	} else if (queue->receiving == NULL && queue->end != STATUS_SUCCESS) {
		*status = queue->end;
	}
	ke_release_spin_lock(&queue->lock, irql);
	return bytes;
}

/* With the lock held: the first TSDU if that was the last of it, to be let go of; else NULL. */
static struct tdi_tsdu *consume_first(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *tsdu = containing_record(queue->tsdus.next, struct tdi_tsdu, entry);
	bool lent = tsdu->kind == TDI_TSDU_MDL;

	*(lent ? &queue->lent : &queue->copied) -= length;
	count(queue, TDI_COUNTS_CONSUMED, length);
	tsdu->offset += length;
	tsdu->length -= length;
	if (tsdu->length > 0) {
		if (lent)
			skip_read_mdls(tsdu);
		return NULL;
	}
	remove_entry_list(&tsdu->entry);
	if (lent)
		count(queue, TDI_COUNTS_RETURNED, 1);
	return tsdu;
}

void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *done = NULL;
	bool receive;
	kirql irql;

	if (length == 0)
		return;
	irql = ke_acquire_spin_lock(&queue->lock);
	done = consume_first(queue, length);
	receive = prepare_receive(queue);
	ke_release_spin_lock(&queue->lock, irql);
	if (done != NULL)
		let_go(queue, done);
	if (receive)
		start_receive(queue);
}

int64_t tdi_queue_read(struct tdi_receive_queue *queue, void *buffer, uint32_t length)
{
	ntstatus status = STATUS_SUCCESS;
	uint32_t done = 0, piece;

	while (done < length) {
		const void *bytes = tdi_queue_peek(queue, &piece, &status);

		if (bytes == NULL)
			break;
		piece = smaller(piece, length - done);
		memcpy((char *)buffer + done, bytes, piece);
		tdi_queue_consume(queue, piece);
		done += piece;
	}
	return done > 0 || nt_success(status) ? (int64_t)done : status;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

void tdi_initialize_receive_queue(struct tdi_receive_queue *queue, struct file_object *connection,
				  uint32_t kind, uint32_t limit, tdi_queue_changed *changed,
				  void *context)
{
	*queue = (struct tdi_receive_queue){.connection = connection,
					    .kind = kind,
					    .limit = limit,
					    .changed = changed,
					    .context = context};
	ke_initialize_spin_lock(&queue->lock);
	initialize_list_head(&queue->tsdus);
	ke_initialize_timer(&queue->retry);
	ke_initialize_dpc(&queue->retry_dpc, receive_again, queue, KE_ANY_PROCESSOR);
	stat_add_block(&queue->counters, io_get_related_device_object(connection)->segment,
		       &tdi_receive_table);
}

/* With the lock held: moves all that is unread to `unread`. */
static void discard_all(struct tdi_receive_queue *queue, struct list_entry *unread)
{
	for (struct list_entry *e = queue->tsdus.next; e != &queue->tsdus; e = e->next) {
		struct tdi_tsdu *tsdu = containing_record(e, struct tdi_tsdu, entry);
		bool lent = tsdu->kind == TDI_TSDU_MDL;

		*(lent ? &queue->lent : &queue->copied) -= tsdu->length;
		count(queue, TDI_COUNTS_CONSUMED, tsdu->length);
		count(queue, TDI_COUNTS_DISCARDED, tsdu->length);
		count(queue, TDI_COUNTS_RETURNED, lent);
	}
	append_tail_list(unread, &queue->tsdus);
}

void tdi_close_receive_queue(struct tdi_receive_queue *queue)
{
	struct list_entry unread, *entry;
	bool retried;
	kirql irql;

	initialize_list_head(&unread);
	irql = ke_acquire_spin_lock(&queue->lock);
	queue->closed = true;
	retried = queue->retried;
	discard_all(queue, &unread);
	end_counting(queue);
	ke_release_spin_lock(&queue->lock, irql);
	while ((entry = remove_head_list(&unread)) != NULL)
		let_go(queue, containing_record(entry, struct tdi_tsdu, entry));
	if (!retried)
		return;
	if (!ke_cancel_timer(&queue->retry))
		ke_flush_queued_dpcs(); /* it has found the queue closed, or has started a receive
					 */
}
