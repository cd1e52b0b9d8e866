/*
 * The sending side of delivery.h: a thread that asks, sends from there, and asks again.
 *
 *          ┌───────────────── pause ◀──────────────────┐
 *          ▼                                           │ something has failed
 *      attempt: ask ──▶ send from there, a window at a time ──▶ the end ──▶ at rest
 *
 * Blocks are read into slots, one for each PUT of the window. From lnet_put to its callback a slot
 * is the message layer's. The callbacks run on virtual processors; what they share with the thread
 * is under the lock, and they set the event with the lock held: so when the thread finds nothing
 * under way, no callback has any business left with the sender, which is then freed.
 *
 * After a failure nothing more is begun, and all that is under way is awaited before the question:
 * so a block that was sent before it can't come after its answer, but from a connection that is
 * broken here and not yet there; and then it is a duplicate.
 *
 * Pauses double from a 64th of what was asked for, since mostly what has failed is one connection,
 * and what the first answer says is that the file is being opened.
 */
#include "nal/delivery.h"

enum { FIRST_PAUSES = 64 };

struct slot {
	struct ksock_tx tx;
	struct sender *sender;
	struct lnet_iov piece;
	uint64_t end; /* the position behind its block */
	struct slot *next;
};

struct sender {
	const struct lnet_delivery *what;
	struct lnet_delivery_report *report;
	char *blocks;
	unsigned char answer[LNET_ANSWER_BYTES];
	ntstatus over; /* an error that ends it all; the thread's own */

	struct kspin_lock lock;
	struct kevent changed; /* synchronization: a PUT has come back */
	uint64_t position;     /* the receiver has all below */
	uint32_t under_way;
	ntstatus failure; /* the first since the last question */
	struct slot *free;
	struct slot slots[];
};

/* ---- PUTs ---------------------------------------------------------------------------------- */

static void put_done(void *context, ntstatus status, uint32_t length)
{
	struct slot *slot = context;
	struct sender *sender = slot->sender;
	kirql irql = ke_acquire_spin_lock(&sender->lock);

	(void)length;
	if (!nt_success(status) && nt_success(sender->failure))
		sender->failure = status;
	if (nt_success(status) && slot->end > sender->position)
		sender->position = slot->end; /* and so it has all that was before it, too */
	slot->next = sender->free;
	sender->free = slot;
	sender->under_way--;
	ke_set_event(&sender->changed);
	ke_release_spin_lock(&sender->lock, irql);
}

static void put(struct sender *sender, struct slot *slot, uint64_t position, uint32_t length)
{
	const struct lnet_delivery *what = sender->what;
	const struct lnet_put header = {
		.match_bits = what->id, .hdr_data = position, .ptl_index = what->portal};
	const struct lnet_payload payload = {.length = length, .count = 1, .iov = &slot->piece};

	slot->piece.length = length;
	slot->end = position + length;
	sender->report->sent += length;
	lnet_put(what->peer, &slot->tx, &header, &payload, LNET_ACK_WANTED, put_done, slot);
}

static void tell_position(struct sender *sender, uint64_t position)
{
	ntstatus status = sender->what->moved(sender->what->owner, position);

	sender->report->position = position;
	if (!nt_success(status) && nt_success(sender->over))
		sender->over = status;
}

/*
 * Waits until there is a slot, and nothing else under way if it is to be sent alone; NULL after a
 * failure.
 */
static struct slot *take_slot(struct sender *sender, bool alone)
{
	for (;;) {
		kirql irql = ke_acquire_spin_lock(&sender->lock);
		uint64_t position = sender->position;
		bool failed = !nt_success(sender->failure);
		struct slot *slot = alone && sender->under_way > 0 ? NULL : sender->free;

		if (slot != NULL && !failed) {
			sender->free = slot->next;
			sender->under_way++;
		}
		ke_release_spin_lock(&sender->lock, irql);
		tell_position(sender, position);
		if (failed)
			return NULL;
		if (slot != NULL)
			return slot;
		ke_wait_for_single_object(&sender->changed, KE_WAIT_FOREVER);
	}
}

/* Waits until nothing is under way: what has failed of it. */
static ntstatus await_all(struct sender *sender)
{
	for (;;) {
		kirql irql = ke_acquire_spin_lock(&sender->lock);
		uint64_t position = sender->position;
		bool idle = sender->under_way == 0;
		ntstatus failure = sender->failure;

		ke_release_spin_lock(&sender->lock, irql);
		if (idle) {
			tell_position(sender, position);
			return failure;
		}
		ke_wait_for_single_object(&sender->changed, KE_WAIT_FOREVER);
	}
}

/* STATUS_SUCCESS: the receiver has it all, and has finished. */
static ntstatus send_from(struct sender *sender, uint64_t position)
{
	const struct lnet_delivery *what = sender->what;
	uint32_t length;

	do {
		uint64_t left = what->length - position;
		struct slot *slot;

		length = left < what->block_bytes ? (uint32_t)left : what->block_bytes;
		slot = take_slot(sender, length < what->block_bytes);
		if (slot == NULL)
			break;
		if (nt_success(sender->over) && length > 0)
			sender->over = what->read(what->owner, position, slot->piece.base, length);
		if (!nt_success(sender->over)) {
			put_done(slot, sender->over, 0);
			break;
		}
		put(sender, slot, position, length);
		position += length;
	} while (length > 0);
	return await_all(sender);
}

/* ---- Questions ----------------------------------------------------------------------------- */

/* A message of the thread's own, which it waits for. */
struct exchange {
	struct ksock_tx tx;
	struct kevent done;
	ntstatus status;
	uint32_t length;
};

static void exchange_done(void *context, ntstatus status, uint32_t length)
{
	struct exchange *exchange = context;

	exchange->status = status;
	exchange->length = length;
	ke_set_event(&exchange->done); /* the last touch */
}

static uint64_t decode(const unsigned char *from)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | from[i];
	return value;
}

static ntstatus ask(struct sender *sender, uint64_t *position, uint64_t *state)
{
	const struct lnet_delivery *what = sender->what;
	const struct lnet_get header = {.match_bits = what->id, .ptl_index = what->portal};
	const struct lnet_iov piece = {sender->answer, LNET_ANSWER_BYTES};
	const struct lnet_payload payload = {
		.length = LNET_ANSWER_BYTES, .count = 1, .iov = &piece};
	struct exchange question;

	ke_initialize_event(&question.done, SYNCHRONIZATION_EVENT, false);
	lnet_get(what->peer, &question.tx, &header, &payload, exchange_done, &question);
	ke_wait_for_single_object(&question.done, KE_WAIT_FOREVER);
	if (!nt_success(question.status))
		return question.status;
	if (question.length < LNET_ANSWER_BYTES)
		return STATUS_INVALID_NETWORK_RESPONSE;
	*position = decode(sender->answer);
	*state = decode(sender->answer + 8);
	return STATUS_SUCCESS;
}

/* The receiver may forget. If this does not arrive he does so later, and nothing is lost. */
static void say_at_rest(struct sender *sender)
{
	const struct lnet_put header = {.match_bits = sender->what->id,
					.hdr_data = LNET_AT_REST,
					.ptl_index = sender->what->portal};
	struct exchange word;

	ke_initialize_event(&word.done, SYNCHRONIZATION_EVENT, false);
	lnet_put(sender->what->peer, &word.tx, &header, NULL, 0, exchange_done, &word);
	ke_wait_for_single_object(&word.done, KE_WAIT_FOREVER);
}

/* ---- Attempts ------------------------------------------------------------------------------ */

/* Where to go on; an error: not now, or with `over` never. */
static ntstatus find_position(struct sender *sender, uint64_t *position, bool *finished)
{
	uint64_t state;
	ntstatus status = ask(sender, position, &state);

	*finished = false;
	if (!nt_success(status))
		return status;
	if (state == LNET_STATE_OPENING)
		return STATUS_DEVICE_NOT_READY;
	if (state == LNET_STATE_FAILED)
		sender->over = STATUS_DATA_NOT_ACCEPTED;
	else if (state > LNET_STATE_FAILED || *position > sender->what->length)
		sender->over = STATUS_INVALID_NETWORK_RESPONSE;
	*finished = state == LNET_STATE_FINISHED;
	return sender->over;
}

static ntstatus attempt(struct sender *sender)
{
	bool finished;
	uint64_t position;
	ntstatus status;

	tell_position(sender, sender->position); /* nothing is under way: nobody else has it */
	if (!nt_success(sender->over))
		return sender->over;
	status = find_position(sender, &position, &finished);
	if (!nt_success(status))
		return status;
	if (sender->report->attempts++ == 0)
		sender->report->began_at = position;
	sender->position = position;
	sender->failure = STATUS_SUCCESS;
	tell_position(sender, position);
	status = finished ? STATUS_SUCCESS : send_from(sender, position);
	return nt_success(sender->over) ? status : sender->over;
}

/* One attempt after the other, as long as there is patience. */
static ntstatus persist(struct sender *sender)
{
	const struct lnet_delivery *what = sender->what;
	uint64_t pause = what->pause_ns / FIRST_PAUSES;
	uint64_t best = 0, progress_ns = ke_query_interrupt_time();

	for (;;) {
		ntstatus status = attempt(sender);

		if (nt_success(status) || !nt_success(sender->over))
			return status;
		if (sender->position > best) {
			best = sender->position;
			pause = what->pause_ns / FIRST_PAUSES;
			progress_ns = ke_query_interrupt_time();
		} else if (status == STATUS_DEVICE_NOT_READY) { /* the receiver is at it */
			progress_ns = ke_query_interrupt_time();
		}
		if (what->patience_ns != 0 &&
		    ke_query_interrupt_time() - progress_ns >= what->patience_ns)
			return status;
		ke_delay_execution_thread(pause);
		pause = pause * 2 < what->pause_ns ? pause * 2 : what->pause_ns;
	}
}

static struct sender *create_sender(const struct lnet_delivery *what,
				    struct lnet_delivery_report *report)
{
	struct sender *sender =
		ex_allocate_pool(sizeof(*sender) + what->window * sizeof(struct slot));
	char *blocks = ex_allocate_pool((size_t)what->window * what->block_bytes);

	if (sender == NULL || blocks == NULL) {
		ex_free_pool(sender);
		ex_free_pool(blocks);
		return NULL;
	}
	*sender = (struct sender){.what = what, .report = report, .blocks = blocks};
	ke_initialize_spin_lock(&sender->lock);
	ke_initialize_event(&sender->changed, SYNCHRONIZATION_EVENT, false);
	for (uint32_t i = 0; i < what->window; i++) {
		struct slot *slot = &sender->slots[i];

		slot->sender = sender;
		slot->piece.base = blocks + (size_t)i * what->block_bytes;
		slot->next = sender->free;
		sender->free = slot;
	}
	return sender;
}

ntstatus lnet_deliver(const struct lnet_delivery *what, struct lnet_delivery_report *report)
{
	struct sender *sender = create_sender(what, report);
	ntstatus status;

	*report = (struct lnet_delivery_report){0};
	if (sender == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = persist(sender);
	if (nt_success(status))
		say_at_rest(sender);
	ex_free_pool(sender->blocks);
	ex_free_pool(sender);
	return status;
}
