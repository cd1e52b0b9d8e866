/*
 * Stage 08: what the schedulers replace: a thread for each connection.
 *
 * It is the simpler design: no ready lists, no turns to be fair with, and a thread that has nothing
 * to do waits. The same turns of reading and sending run in it, so that a benchmark compares the
 * two ways to schedule them. Its price is in what it does not show here: a stack for each
 * connection, memory that one thread allocates and another frees, and a switch of threads for each
 * time that something comes.
 *
 * The thread holds the connection, and ends when that is closed and no owner of a portal has it.
 *
 * Sources: the Tdinal design (1.2, the way that it rejects).
 */
#include "nal/private.h"

static bool is_tx_scheduled(struct ksock_conn *conn)
{
	bool scheduled;
	kirql irql;

	if (conn->peer == NULL) /* who has called has not said who he is */
		return false;
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	scheduled = conn->tx_scheduled;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return scheduled;
}

/* False: the connection is at its end. */
static bool take_turns(struct ksock_conn *conn, struct ksock_batch **batch, bool *again)
{
	struct ksock_sched *sched = conn->sched; /* its lock, and what is used again */
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	bool over;

	*again = ksocknal_rx_turn(conn);
	over = conn->closing && !conn->held;
	ke_release_spin_lock(&sched->lock, irql);
	if (over || !is_tx_scheduled(conn))
		return !over;
	irql = ke_acquire_spin_lock(&sched->lock);
	*again |= ksocknal_tx_turn(conn, batch);
	ke_release_spin_lock(&sched->lock, irql);
	return true;
}

static void serve_connection(void *context)
{
	struct ksock_conn *conn = context;
	struct ksock_batch *batch = NULL;
	bool again;

	while (take_turns(conn, &batch, &again)) {
		if (again)
			continue;
		if (batch != NULL)
			ksocknal_return_batch(conn->sched, batch);
		batch = NULL;
		ke_wait_for_single_object(&conn->work, KE_WAIT_FOREVER);
	}
	if (batch != NULL)
		ksocknal_return_batch(conn->sched, batch);
	ksocknal_conn_decref(conn);
}

ntstatus ksocknal_start_conn_thread(struct ksock_conn *conn)
{
	ntstatus status;

	conn->threaded = true;
	ksocknal_conn_addref(conn); /* the thread's */
	status = ps_create_system_thread(&conn->thread, serve_connection, conn);
	if (nt_success(status))
		return status;
	conn->threaded = false;
	ksocknal_conn_decref(conn);
	return status;
}
