/*
 * The receiving side of delivery.h: which PUT is taken, and who waits.
 *
 *      a PUT comes                                  what is done with it
 *        while the transfer is being opened         waits
 *        at a position below: a duplicate           acknowledged, not kept
 *        at the position, and nobody is there       taken: buffer, owner, ACK
 *        at the position, and another is in hand    waits, and is a duplicate then
 *        above: a gap                               dropped, and the connection closed
 *
 * The other that is in hand is of another connection, mostly one that is broken already: its sender
 * has come back while the owner still writes what came before. So nothing here knows senders, nor
 * connections: a block belongs at its position, whoever brings it.
 *
 * What waits holds its connection: nothing more of that is read until lnet_resume. So there is one
 * PUT in hand of each connection at most, and the list of those that wait needs no bound.
 *
 * All state is under the receiver's lock; the owner, lnet_resume and the pool's memory of closed
 * transfers are outside it. A transfer with somebody in hand is not closed.
 */
#include "nal/delivery.h"
#include "nal/private.h"

/* ---- The table, with the lock held --------------------------------------------------------- */

static bool is_opening(const struct lnet_transfer *transfer)
{
	return !transfer->opened && nt_success(transfer->failure);
}

static bool is_idle(const struct lnet_transfer *transfer)
{
	return !is_opening(transfer) && transfer->taking == NULL && transfer->waiting == NULL;
}

static struct lnet_transfer *find_transfer(struct lnet_receiver *receiver, uint64_t id)
{
	struct list_entry *head = &receiver->transfers;

	for (struct list_entry *entry = head->next; entry != head; entry = entry->next) {
		struct lnet_transfer *transfer =
			containing_record(entry, struct lnet_transfer, entry);

		if (transfer->id == id) {
			transfer->used_ns = ke_query_interrupt_time();
			remove_entry_list(entry);
			insert_head_list(head, entry);
			return transfer;
		}
	}
	return NULL;
}

static void close_later(struct lnet_transfer *transfer, struct list_entry *gone)
{
	remove_entry_list(&transfer->entry);
	transfer->receiver->count--;
	insert_tail_list(gone, &transfer->entry);
}

/* There is room for one more, if need be that of the one that was used longest ago. */
static bool make_room(struct lnet_receiver *receiver, struct list_entry *gone)
{
	struct lnet_transfer *last;

	if (receiver->count < receiver->most)
		return true;
	last = containing_record(receiver->transfers.prev, struct lnet_transfer, entry);
	if (!is_idle(last) || ke_query_interrupt_time() - last->used_ns < receiver->idle_ns)
		return false;
	close_later(last, gone);
	return true;
}

/* A new one, for the owner to open; NULL: there is no room, or no pool. */
static struct lnet_transfer *begin_transfer(struct lnet_receiver *receiver, uint64_t id,
					    uint64_t source, struct list_entry *gone)
{
	struct lnet_transfer *transfer =
		make_room(receiver, gone)
			? ex_allocate_pool(sizeof(*transfer) + receiver->block_bytes)
			: NULL;

	if (transfer == NULL)
		return NULL;
	*transfer = (struct lnet_transfer){.id = id,
					   .source = source,
					   .step = LNET_OPEN,
					   .receiver = receiver,
					   .used_ns = ke_query_interrupt_time()};
	transfer->bytes = transfer->buffer;
	transfer->piece = (struct lnet_iov){transfer->buffer, receiver->block_bytes};
	insert_head_list(&receiver->transfers, &transfer->entry);
	receiver->count++;
	return transfer;
}

static void close_all(struct lnet_receiver *receiver, struct list_entry *gone)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(gone)) != NULL) {
		struct lnet_transfer *transfer =
			containing_record(entry, struct lnet_transfer, entry);

		receiver->closed(receiver->owner, transfer);
		ex_free_pool(transfer);
	}
}

/* ---- PUTs ---------------------------------------------------------------------------------- */

static bool is_duplicate(const struct lnet_transfer *transfer, uint64_t position, uint32_t length)
{
	if (position < transfer->position)
		return length <= transfer->position - position;
	return position == transfer->position && length == 0 && transfer->finished;
}

static ntstatus wait_for(struct lnet_transfer *transfer, struct lnet_incoming *incoming)
{
	incoming->context = transfer->waiting;
	transfer->waiting = incoming;
	return STATUS_PENDING;
}

/* What to do with the PUT, as a portal's owner answers it. Lock held. */
static ntstatus judge(struct lnet_transfer *transfer, struct lnet_incoming *incoming,
		      struct list_entry *gone)
{
	uint64_t position = incoming->header.msg.put.hdr_data;
	uint32_t length = incoming->header.payload_length;

	incoming->context = NULL;
	if (is_opening(transfer))
		return wait_for(transfer, incoming);
	if (position == LNET_AT_REST) {
		if (transfer->finished && is_idle(transfer))
			close_later(transfer, gone);
		return STATUS_SUCCESS;
	}
	if (!nt_success(transfer->failure))
		return transfer->failure;
	if (is_duplicate(transfer, position, length))
		return STATUS_SUCCESS;
	if (position != transfer->position || transfer->finished || length > transfer->piece.length)
		return STATUS_DATA_NOT_ACCEPTED;
	if (transfer->taking != NULL)
		return wait_for(transfer, incoming);
	transfer->taking = incoming;
	transfer->length = length;
	incoming->context = transfer;
	incoming->into = (struct lnet_payload){
		.length = transfer->piece.length, .count = 1, .iov = &transfer->piece};
	return STATUS_SUCCESS;
}

static void close_conn_of(struct lnet_incoming *incoming, ntstatus reason)
{
	ksocknal_close_conn(containing_record(incoming, struct ksock_conn, incoming), reason);
}

static ntstatus put_comes(void *owner, struct lnet_incoming *incoming)
{
	struct lnet_receiver *receiver = owner;
	uint64_t id = incoming->header.msg.put.match_bits;
	ntstatus status = STATUS_DATA_NOT_ACCEPTED;
	struct lnet_transfer *transfer, *fresh = NULL;
	struct list_entry gone;
	kirql irql;

	initialize_list_head(&gone);
	irql = ke_acquire_spin_lock(&receiver->lock);
	transfer = find_transfer(receiver, id);
	if (transfer == NULL && incoming->header.msg.put.hdr_data != LNET_AT_REST)
		transfer = fresh = begin_transfer(receiver, id, incoming->header.src_nid, &gone);
	if (transfer != NULL)
		status = judge(transfer, incoming, &gone);
	ke_release_spin_lock(&receiver->lock, irql);
	close_all(receiver, &gone);
	if (fresh != NULL)
		receiver->step(receiver->owner, fresh);
	if (!nt_success(status) && incoming->header.msg.put.hdr_data != LNET_AT_REST)
		close_conn_of(incoming, status); /* so that the sender asks, and does not wait */
	return status;
}

static void resume_all(struct lnet_incoming *waiting)
{
	while (waiting != NULL) {
		struct lnet_incoming *incoming = waiting;

		waiting = incoming->context; /* behind lnet_resume it is not ours */
		lnet_resume(incoming);
	}
}

/* Nobody is in hand any more. Lock held; returns who has waited for that. */
static struct lnet_incoming *let_go(struct lnet_transfer *transfer)
{
	struct lnet_incoming *waiting = transfer->waiting;

	transfer->taking = transfer->waiting = NULL;
	return waiting;
}

static ntstatus put_has_come(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	struct lnet_receiver *receiver = owner;
	struct lnet_transfer *transfer = incoming->context;

	if (transfer == NULL) /* a duplicate */
		return STATUS_SUCCESS;
	if (!nt_success(status)) {
		kirql irql = ke_acquire_spin_lock(&receiver->lock);
		struct lnet_incoming *waiting = let_go(transfer);

		ke_release_spin_lock(&receiver->lock, irql);
		resume_all(waiting);
		return status;
	}
	transfer->step = transfer->length > 0 ? LNET_WRITE : LNET_FINISH;
	receiver->step(receiver->owner, transfer);
	return STATUS_PENDING;
}

void lnet_step_done(struct lnet_transfer *transfer, ntstatus status)
{
	struct lnet_receiver *receiver = transfer->receiver;
	kirql irql = ke_acquire_spin_lock(&receiver->lock);
	struct lnet_incoming *taken = transfer->taking;
	struct lnet_incoming *waiting = let_go(transfer);

	if (!nt_success(status))
		transfer->failure = status;
	else if (transfer->step == LNET_OPEN)
		transfer->opened = true;
	else if (transfer->step == LNET_WRITE)
		transfer->position += transfer->length;
	else
		transfer->finished = true;
	ke_release_spin_lock(&receiver->lock, irql); /* behind it the transfer may be gone */
	if (taken != NULL) {
		if (!nt_success(status))
			close_conn_of(taken, status); /* and so there is no ACK */
		lnet_resume(taken);
	}
	resume_all(waiting);
}

/* ---- Questions ----------------------------------------------------------------------------- */

struct answer {
	struct lnet_iov piece;
	uint64_t id;
	bool tells_failure;
	unsigned char bytes[LNET_ANSWER_BYTES];
};

static void encode(unsigned char *to, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		to[i] = (unsigned char)(value >> (8 * i));
}

/* With the lock held. The transfer is NULL if there is no room for it now. */
static void compose(struct answer *answer, const struct lnet_transfer *transfer)
{
	enum lnet_state state = LNET_STATE_TAKING;

	if (transfer == NULL || is_opening(transfer) || transfer->failure == STATUS_CANCELLED)
		state = LNET_STATE_OPENING;
	else if (!nt_success(transfer->failure))
		state = LNET_STATE_FAILED;
	else if (transfer->finished)
		state = LNET_STATE_FINISHED;
	encode(answer->bytes, state == LNET_STATE_OPENING ? 0 : transfer->position);
	encode(answer->bytes + 8, state);
	answer->piece = (struct lnet_iov){answer->bytes, sizeof(answer->bytes)};
	answer->tells_failure = state == LNET_STATE_FAILED;
}

/* Of a failure that was told nothing is kept. Lock held; false: there is none. */
static bool close_told(struct lnet_transfer *transfer, struct list_entry *gone)
{
	if (transfer == NULL || !transfer->told || !is_idle(transfer))
		return false;
	close_later(transfer, gone);
	return true;
}

static ntstatus get_comes(void *owner, const struct lnet_header *header, struct lnet_payload *from)
{
	struct lnet_receiver *receiver = owner;
	uint64_t id = header->msg.get.match_bits;
	struct answer *answer = ex_allocate_pool(sizeof(*answer));
	struct lnet_transfer *transfer, *fresh = NULL;
	struct list_entry gone;
	kirql irql;

	if (answer == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	initialize_list_head(&gone);
	irql = ke_acquire_spin_lock(&receiver->lock);
	transfer = find_transfer(receiver, id);
	if (close_told(transfer, &gone)) /* so he asks to try again */
		transfer = NULL;
	if (transfer == NULL)
		transfer = fresh = begin_transfer(receiver, id, header->src_nid, &gone);
	compose(answer, transfer);
	answer->id = id;
	if (transfer != NULL)
		transfer->told = !nt_success(transfer->failure);
	ke_release_spin_lock(&receiver->lock, irql);
	close_all(receiver, &gone);
	if (fresh != NULL)
		receiver->step(receiver->owner, fresh);
	*from = (struct lnet_payload){
		.length = sizeof(answer->bytes), .count = 1, .iov = &answer->piece};
	return STATUS_SUCCESS;
}

/*
 * Only now a failure has been told, and what has failed is closed: its owner may be waiting for
 * that, to end. If the answer is lost, the sender asks again.
 */
static void reply_is_out(void *owner, const struct lnet_payload *from, ntstatus status)
{
	struct lnet_receiver *receiver = owner;
	struct answer *answer = containing_record(from->iov, struct answer, piece);
	struct list_entry gone;
	kirql irql;

	initialize_list_head(&gone);
	irql = ke_acquire_spin_lock(&receiver->lock);
	if (answer->tells_failure && nt_success(status))
		close_told(find_transfer(receiver, answer->id), &gone);
	ke_release_spin_lock(&receiver->lock, irql);
	close_all(receiver, &gone);
	ex_free_pool(answer);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

void lnet_open_receiver(struct lnet_receiver *receiver, struct lnet_portal *portal)
{
	ke_initialize_spin_lock(&receiver->lock);
	initialize_list_head(&receiver->transfers);
	receiver->count = 0;
	*portal = (struct lnet_portal){.put = put_comes,
				       .done = put_has_come,
				       .get = get_comes,
				       .got = reply_is_out,
				       .owner = receiver};
}

void lnet_close_receiver(struct lnet_receiver *receiver)
{
	close_all(receiver, &receiver->transfers);
}
