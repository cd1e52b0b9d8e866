/*
 * Stage 08: one scheduler a processor, and which connection it turns to.
 *
 * A connection belongs to the scheduler of the processor that its events are on, for life: so a
 * message is read, and what it causes is sent, where it has come in, and no two processors have to
 * agree on anything about it. On the host a scheduler is a work item of that very processor: what
 * the DPC has taken in, the same thread goes on with, and no other has to be woken.
 *
 *                      ready (something has come, can go out)
 *          idle ────────────────────────────────────────────▶ scheduled: in the list, once
 *            ▲                                                     │
 *            │  nothing is left, or PENDING                        ▼
 *            └──────────────────────────────────────────────── its turn ──▶ more: to the tail
 *
 * Ready and scheduled are not the same. A connection whose batch is with the transport has messages
 * waiting, and is not ready: in the list it would be looked at for nothing, again and again. One
 * that becomes ready during its turn is not put into the list a second time: two turns would be on
 * two lists. So both are flags, under one lock for each direction, and who changes one looks at the
 * other: the turn looks again under the lock before it lets the connection go idle.
 *
 * A turn is short, and then it is the next one's: a connection with a gigabyte waiting does not
 * keep the ping of another waiting for longer than that. After some turns the work item ends and
 * is queued again, so that the processor sees to its interrupts.
 *
 * Nobody wakes a scheduler that is at work (`busy`): it looks at its lists under the lock before it
 * stops. At a steady load the wake-ups are none, and nothing is allocated: batches and answers are
 * used again, and those that were used last first, while they are in the cache. There is always one
 * batch; a connection that finds none waits for one to come back.
 *
 * Sources: socklnd (ksocknal_scheduler, kss_rx_conns, kss_tx_conns, ready and scheduled); the
 * Tdinal design (one scheduler thread per processor; 2.3.2, steps 9 and 11).
 */
#include "nal/private.h"

enum { TURNS = 32, IDLE_ANSWERS = 1024 };

/* ---- Waking -------------------------------------------------------------------------------- */

/* With the lock held. */
static void wake(struct ksock_sched *sched)
{
	if (sched->busy)
		return;
	sched->busy = true;
	stat_count(&sched->counters, LNET_SCHED_WAKEUPS, 1);
	ex_queue_work_item(&sched->work);
}

/* Its turn will come. With the lock held. */
static void put_into(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn)
{
	if (conn->threaded) {
		ke_set_event(&conn->work);
		return;
	}
	ob_reference(&conn->references); /* the list's, and then the turn's */
	insert_tail_list(list, entry);
	wake(conn->sched);
}

bool ksocknal_is_closing(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);
	bool closing = conn->closing;

	ke_release_spin_lock(&conn->sched->lock, irql);
	return closing;
}

static void schedule_rx(struct ksock_conn *conn)
{
	conn->rx_ready = true;
	if (conn->rx_scheduled)
		return;
	conn->rx_scheduled = true;
	put_into(&conn->sched->rx_conns, &conn->rx_entry, conn);
}

void ksocknal_schedule_rx(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);

	if (!conn->closing)
		schedule_rx(conn);
	ke_release_spin_lock(&conn->sched->lock, irql);
}

/* Also of a connection that is closed: the owner's reference goes in a turn. */
void lnet_resume(struct lnet_incoming *incoming)
{
	struct ksock_conn *conn = containing_record(incoming, struct ksock_conn, incoming);
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);

	conn->resumed = true;
	schedule_rx(conn);
	ke_release_spin_lock(&conn->sched->lock, irql);
}

void ksocknal_schedule_tx(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql;

	if (!conn->tx_ready || conn->tx_scheduled)
		return;
	irql = ke_acquire_spin_lock(&sched->lock);
	if (!conn->closing) {
		conn->tx_scheduled = true;
		put_into(&sched->tx_conns, &conn->tx_entry, conn);
	}
	ke_release_spin_lock(&sched->lock, irql);
}

/* ---- Turns --------------------------------------------------------------------------------- */

/* Whether there is anything to do but to let go. With the lock held. */
static bool begin_rx_turn(struct ksock_conn *conn)
{
	conn->rx_ready = false; /* before anything is read: news from now on is newer */
	if (conn->held && !conn->resumed)
		return false;
	if (conn->held)
		ob_dereference(&conn->references); /* the owner's; the turn has its own */
	conn->held = conn->resumed = false;
	return !conn->closing;
}

bool ksocknal_rx_turn(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	bool go = begin_rx_turn(conn);
	bool again = false;

	ke_release_spin_lock(&sched->lock, irql);
	if (go)
		again = ksocknal_process_receive(conn);
	irql = ke_acquire_spin_lock(&sched->lock);
	conn->rx_bytes += conn->tally.bytes;
	ksocknal_count_received(&sched->messages, &conn->tally);
	stat_count(&sched->counters, LNET_SCHED_RX_TURNS, 1);
	conn->rx_midst = !conn->held && (conn->state != SOCKNAL_RX_KSM_HEADER || conn->rx_have > 0);
	again = (again || conn->rx_ready) && (!conn->closing || conn->held);
	conn->rx_scheduled = again;
	ke_release_spin_lock(&sched->lock, irql);
	return again;
}

/* Whether something has become possible in the meantime. */
static bool end_tx_turn(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool again = conn->tx_ready && !ksocknal_is_closing(conn) &&
		     (conn->batch != NULL || ksocknal_has_output(conn));

	conn->tx_scheduled = again;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return again;
}

bool ksocknal_tx_turn(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	ntstatus status = STATUS_SUCCESS;
	kirql irql;

	if (!ksocknal_is_closing(conn))
		status = ksocknal_process_transmit(conn);
	irql = ke_acquire_spin_lock(&sched->lock);
	ksocknal_count_sent(&sched->counters, &conn->sent);
	stat_count(&sched->counters, LNET_SCHED_TX_TURNS, 1);
	if (status == STATUS_PENDING)
		stat_count(&sched->counters, LNET_SCHED_AGAIN, 1);
	ke_release_spin_lock(&sched->lock, irql);
	/* Without a batch it stays scheduled, and waits elsewhere. */
	return status != STATUS_INSUFFICIENT_RESOURCES && end_tx_turn(conn);
}

/* ---- The scheduler ------------------------------------------------------------------------- */

static struct ksock_conn *next_rx(struct ksock_sched *sched)
{
	struct list_entry *entry = remove_head_list(&sched->rx_conns);

	return entry != NULL ? containing_record(entry, struct ksock_conn, rx_entry) : NULL;
}

static struct ksock_conn *next_tx(struct ksock_sched *sched)
{
	struct list_entry *entry = remove_head_list(&sched->tx_conns);

	return entry != NULL ? containing_record(entry, struct ksock_conn, tx_entry) : NULL;
}

/* After its turn: to the tail, or out. */
static void put_back(struct ksock_sched *sched, struct list_entry *list, struct list_entry *entry,
		     struct ksock_conn *conn, bool again)
{
	if (again)
		ex_interlocked_insert_tail_list(list, entry, &sched->lock);
	else
		ksocknal_conn_decref(conn); /* the turn's */
}

/* The next of each list; false, and the scheduler stops, when there are none. */
static bool take_turns(struct ksock_sched *sched)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_conn *rx = next_rx(sched), *tx = next_tx(sched);

	sched->busy = rx != NULL || tx != NULL;
	if (!sched->busy && sched->stopping)
		ke_set_event(&sched->idle); /* with the lock held: behind it all may be gone */
	ke_release_spin_lock(&sched->lock, irql);
	if (rx != NULL)
		put_back(sched, &sched->rx_conns, &rx->rx_entry, rx, ksocknal_rx_turn(rx));
	if (tx != NULL)
		put_back(sched, &sched->tx_conns, &tx->tx_entry, tx, ksocknal_tx_turn(tx));
	return rx != NULL || tx != NULL;
}

static void ksocknal_scheduler(void *context)
{
	struct ksock_sched *sched = context;

	for (int i = 0; i < TURNS; i++)
		if (!take_turns(sched))
			return;
	ex_queue_work_item(&sched->work); /* the processor's interrupts first */
}

/* ---- What is used again -------------------------------------------------------------------- */

static void count_allocation(struct ksock_sched *sched)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);

	stat_count(&sched->counters, LNET_SCHED_ALLOCATIONS, 1);
	ke_release_spin_lock(&sched->lock, irql);
}

struct ksock_answer *ksocknal_alloc_answer(struct ksock_sched *sched)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct list_entry *entry = remove_head_list(&sched->answers);
	struct ksock_answer *answer = NULL;

	if (entry != NULL) {
		answer = containing_record(entry, struct ksock_answer, tx.entry);
		sched->idle_answers--;
	}
	ke_release_spin_lock(&sched->lock, irql);
	if (answer == NULL) {
		answer = ex_allocate_pool(sizeof(*answer));
		count_allocation(sched);
	}
	if (answer != NULL)
		answer->sched = sched;
	return answer;
}

void ksocknal_free_answer(struct ksock_answer *answer)
{
	struct ksock_sched *sched = answer->sched;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	bool keep = sched->idle_answers < IDLE_ANSWERS;

	if (keep) {
		insert_head_list(&sched->answers, &answer->tx.entry);
		sched->idle_answers++;
	}
	ke_release_spin_lock(&sched->lock, irql);
	if (!keep)
		ex_free_pool(answer);
}

/* An idle batch, or NULL; then `starving` (or NULL) is the next to be told of one. */
static struct ksock_batch *idle_batch(struct ksock_sched *sched, struct ksock_conn *starving)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct list_entry *entry = remove_head_list(&sched->batches);

	if (entry == NULL && starving != NULL && !starving->starved) {
		starving->starved = true;
		ob_reference(&starving->references); /* the list's */
		insert_tail_list(&sched->starved, &starving->starved_entry);
	}
	ke_release_spin_lock(&sched->lock, irql);
	return entry != NULL ? containing_record(entry, struct ksock_batch, entry) : NULL;
}

struct ksock_batch *ksocknal_take_batch(struct ksock_conn *conn)
{
	struct ksock_batch *batch = idle_batch(conn->sched, NULL);

	if (batch == NULL) {
		batch = ksocknal_create_batch(conn->node->options.device);
		count_allocation(conn->sched);
	}
	/* One may have come back meanwhile, for the last time. */
	return batch != NULL ? batch : idle_batch(conn->sched, conn);
}

void ksocknal_return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct list_entry *entry = remove_head_list(&sched->starved);
	struct ksock_conn *conn = NULL;

	insert_head_list(&sched->batches, &batch->entry);
	if (entry != NULL) {
		conn = containing_record(entry, struct ksock_conn, starved_entry);
		conn->starved = false;
		put_into(&sched->tx_conns, &conn->tx_entry, conn);
	}
	ke_release_spin_lock(&sched->lock, irql);
	if (conn != NULL)
		ksocknal_conn_decref(conn);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static void initialize_sched(struct ksock_sched *sched, struct lnet_node *node, unsigned processor)
{
	*sched = (struct ksock_sched){.node = node};
	ke_initialize_spin_lock(&sched->lock);
	initialize_list_head(&sched->rx_conns);
	initialize_list_head(&sched->tx_conns);
	initialize_list_head(&sched->starved);
	initialize_list_head(&sched->batches);
	initialize_list_head(&sched->answers);
	ke_initialize_event(&sched->idle, SYNCHRONIZATION_EVENT, false);
	ex_initialize_work_item(&sched->work, ksocknal_scheduler, sched, processor);
	stat_add_block(&sched->counters, node->options.segment, &lnet_scheduler_table);
	stat_add_block(&sched->messages, node->options.segment, &lnet_message_table);
}

ntstatus ksocknal_start_scheds(struct lnet_node *node)
{
	uint32_t count = ke_query_active_processor_count();

	node->scheds = ex_allocate_pool(count * sizeof(*node->scheds));
	if (node->scheds == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	node->sched_count = count;
	for (uint32_t i = 0; i < count; i++)
		initialize_sched(&node->scheds[i], node, i);
	for (uint32_t i = 0; i < count; i++) { /* the one that there always is */
		struct ksock_batch *batch = ksocknal_create_batch(node->options.device);

		if (batch == NULL) {
			ksocknal_stop_scheds(node);
			return STATUS_INSUFFICIENT_RESOURCES;
		}
		insert_head_list(&node->scheds[i].batches, &batch->entry);
	}
	return STATUS_SUCCESS;
}

static void free_idle(struct ksock_sched *sched)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(&sched->batches)) != NULL)
		ksocknal_free_batch(containing_record(entry, struct ksock_batch, entry));
	while ((entry = remove_head_list(&sched->answers)) != NULL)
		ex_free_pool(containing_record(entry, struct ksock_answer, tx.entry));
	stat_remove_block(&sched->counters);
	stat_remove_block(&sched->messages);
}

static bool is_at_work(struct ksock_sched *sched)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	bool busy = sched->busy;

	sched->stopping = true;
	ke_release_spin_lock(&sched->lock, irql);
	return busy;
}

void ksocknal_stop_scheds(struct lnet_node *node)
{
	for (uint32_t i = 0; i < node->sched_count; i++) {
		while (is_at_work(&node->scheds[i])) /* its last turn, and a look at its lists */
			ke_wait_for_single_object(&node->scheds[i].idle, KE_WAIT_FOREVER);
		free_idle(&node->scheds[i]);
	}
	ex_free_pool(node->scheds);
}
