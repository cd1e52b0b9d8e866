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
 * used again, and those that were used last first, while they are in the cache. There are always
 * some batches; a connection that finds none for its turn waits for one to come back.
 *
 * Sources: socklnd (ksocknal_scheduler, kss_rx_conns, kss_tx_conns, ready and scheduled); the
 * Tdinal design (one scheduler thread per processor; 2.3.2, steps 9 and 11).
 */
#include "nal/private.h"

enum { TURNS = 32, IDLE_ANSWERS = 1024, BATCHES = 8 };

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

bool ksocknal_is_closing(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);
	bool closing = conn->closing;

	ke_release_spin_lock(&conn->sched->lock, irql);
	return closing;
}

/* Its turn will come. With the lock held. */
static void put_into(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn)
{
	if (conn->threaded) {
		ke_set_event(&conn->work);
		return;
	}
	conn->references++; /* the list's, and then the turn's */
	insert_tail_list(list, entry);
	wake(conn->sched);
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

	if (conn->resumed)
		ke_bug_check("MSG-RESUME-MISUSE", "connection %llu is resumed a second time",
			     (unsigned long long)conn->number);
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

/* ---- Batches, with the lock held ----------------------------------------------------------- */

static struct ksock_batch *idle_batch(struct ksock_sched *sched)
{
	struct list_entry *entry = remove_head_list(&sched->batches);

	return entry != NULL ? containing_record(entry, struct ksock_batch, entry) : NULL;
}

/* It is idle; and one connection that has found none has its turn. */
static void return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	struct list_entry *entry = remove_head_list(&sched->starved);

	insert_head_list(&sched->batches, &batch->entry);
	if (entry != NULL) {
		struct ksock_conn *conn =
			containing_record(entry, struct ksock_conn, starved_entry);

		conn->starved = false;
		put_into(&sched->tx_conns, &conn->tx_entry, conn);
		ksocknal_conn_decref_locked(conn); /* the list's, that it was in */
	}
}

/* ---- Turns, with the lock held but for what they do ---------------------------------------- */

/* Whether there is anything to do but to let go. */
static bool begin_rx_turn(struct ksock_conn *conn)
{
	conn->rx_ready = false; /* before anything is read: news from now on is newer */
	if (conn->held && !conn->resumed)
		return false;
	if (conn->held)
		conn->references--; /* the owner's; the turn has its own */
	conn->held = conn->resumed = false;
	return !conn->closing;
}

bool ksocknal_rx_turn(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	enum ksock_rx_result result = KSOCK_RX_IDLE;

	if (begin_rx_turn(conn)) {
		ke_release_spin_lock(&sched->lock, PASSIVE_LEVEL);
		result = ksocknal_process_receive(conn);
		ke_acquire_spin_lock(&sched->lock);
	}
	if (result == KSOCK_RX_HELD) {
		conn->held = true;
		conn->references++; /* the owner's */
	} else if (conn->resumed && !conn->held) {
		ke_bug_check("MSG-RESUME-MISUSE", "connection %llu is resumed and was not held",
			     (unsigned long long)conn->number);
	}
	conn->rx_bytes += conn->tally.bytes;
	ksocknal_count_received(&sched->messages, &conn->tally);
	stat_count(&sched->counters, LNET_SCHED_RX_TURNS, 1);
	conn->rx_midst = !conn->held && (conn->state != SOCKNAL_RX_KSM_HEADER || conn->rx_have > 0);
	conn->rx_scheduled =
		(result == KSOCK_RX_MORE || conn->rx_ready) && (!conn->closing || conn->held);
	return conn->rx_scheduled;
}

bool ksocknal_tx_turn(struct ksock_conn *conn, struct ksock_batch **hand)
{
	struct ksock_sched *sched = conn->sched;
	bool again;

	if (conn->closing)
		return false;
	ke_release_spin_lock(&sched->lock, PASSIVE_LEVEL);
	again = ksocknal_process_transmit(conn, hand);
	ke_acquire_spin_lock(&sched->lock);
	ksocknal_count_sent(&sched->counters, &conn->sent);
	stat_count(&sched->counters, LNET_SCHED_TX_TURNS, 1);
	return again;
}

/* ---- The scheduler ------------------------------------------------------------------------- */

/* After its turn: to the tail, or out. */
static void put_back(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn,
		     bool again)
{
	if (again)
		insert_tail_list(list, entry);
	else
		ksocknal_conn_decref_locked(conn); /* the turn's */
}

/* The next of each list; false when there are none. */
static bool take_turns(struct ksock_sched *sched, struct ksock_batch **batch)
{
	struct list_entry *rx = remove_head_list(&sched->rx_conns), *tx;

	if (rx != NULL) {
		struct ksock_conn *conn = containing_record(rx, struct ksock_conn, rx_entry);

		put_back(&sched->rx_conns, rx, conn, ksocknal_rx_turn(conn));
	}
	tx = remove_head_list(&sched->tx_conns); /* perhaps for what was just read */
	if (tx != NULL) {
		struct ksock_conn *conn = containing_record(tx, struct ksock_conn, tx_entry);

		put_back(&sched->tx_conns, tx, conn, ksocknal_tx_turn(conn, batch));
	}
	return rx != NULL || tx != NULL;
}

static void ksocknal_scheduler(void *context)
{
	struct ksock_sched *sched = context;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_batch *batch = idle_batch(sched); /* in hand for all turns */
	int turns = 0;

	while (turns < TURNS && take_turns(sched, &batch))
		turns++;
	sched->busy = turns == TURNS;
	if (batch != NULL)
		return_batch(sched, batch); /* who has waited for it may wake the scheduler again */
	if (!sched->busy && sched->stopping)
		ke_set_event(&sched->idle); /* with the lock held: behind it all may be gone */
	ke_release_spin_lock(&sched->lock, irql);
	if (turns == TURNS)
		ex_queue_work_item(&sched->work); /* the processor's interrupts first */
}

/* ---- What is used again -------------------------------------------------------------------- */

struct ksock_answer *ksocknal_alloc_answer(struct ksock_sched *sched)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct list_entry *entry = remove_head_list(&sched->answers);
	struct ksock_answer *answer = NULL;

	if (entry != NULL) {
		answer = containing_record(entry, struct ksock_answer, tx.entry);
		sched->idle_answers--;
	} else {
		stat_count(&sched->counters, LNET_SCHED_ALLOCATIONS, 1);
	}
	ke_release_spin_lock(&sched->lock, irql);
	if (answer == NULL)
		answer = ex_allocate_pool(sizeof(*answer));
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

struct ksock_batch *ksocknal_take_batch(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_batch *batch = idle_batch(sched);

	ke_release_spin_lock(&sched->lock, irql);
	if (batch != NULL)
		return batch;
	batch = ksocknal_create_batch(conn->node->options.device);
	irql = ke_acquire_spin_lock(&sched->lock);
	stat_count(&sched->counters, LNET_SCHED_ALLOCATIONS, 1);
	if (batch == NULL)
		batch = idle_batch(sched); /* that has come back meanwhile, or never will again */
	if (batch == NULL && !conn->starved) {
		conn->starved = true;
		conn->references++; /* the list's */
		insert_tail_list(&sched->starved, &conn->starved_entry);
	}
	ke_release_spin_lock(&sched->lock, irql);
	return batch;
}

struct ksock_batch *ksocknal_idle_batch(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_batch *batch = conn->starved ? NULL : idle_batch(sched);

	ke_release_spin_lock(&sched->lock, irql);
	return batch;
}

void ksocknal_return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	kirql irql = ke_acquire_spin_lock(&sched->lock);

	return_batch(sched, batch);
	ke_release_spin_lock(&sched->lock, irql);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static void initialize_sched(struct ksock_sched *sched, struct lnet_node *node, unsigned processor)
{
	*sched = (struct ksock_sched){0};
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
	uint32_t batches = node->options.batches != 0 ? node->options.batches : BATCHES;
	uint32_t count = ke_query_active_processor_count();

	node->scheds = ex_allocate_pool(count * sizeof(*node->scheds));
	if (node->scheds == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	node->sched_count = count;
	for (uint32_t i = 0; i < count; i++)
		initialize_sched(&node->scheds[i], node, i);
	for (uint32_t i = 0; i < count * batches; i++) {
		struct ksock_batch *batch = ksocknal_create_batch(node->options.device);

		if (batch == NULL) {
			ksocknal_stop_scheds(node);
			return STATUS_INSUFFICIENT_RESOURCES;
		}
		insert_head_list(&node->scheds[i % count].batches, &batch->entry);
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
