/*
 * Stage 08: what the schedulers replace: a thread for each connection.
 *
 * It is the simpler design: no ready lists, no turns to be fair with, and a thread that has nothing
 * to do waits. The same turns of reading and sending run in it, so that a benchmark compares the
 * two ways to schedule them, and nothing else. Its price is in what it does not show here: a stack
 * for each connection, and a switch of threads for each time that something comes.
 *
 * The thread holds the connection, and ends when that is closed and no owner of a portal has it.
 *
 * Sources: the Tdinal design (1.2, the way that it rejects).
 */
#include "nal/private.h"

static bool is_tx_scheduled(struct ksock_conn *conn)
{
	bool scheduled = false;
	kirql irql;

	if (conn->peer == NULL) /* who has called has not said who he is */
		return false;
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	scheduled = conn->tx_scheduled;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return scheduled;
}

static void serve_connection(void *context)
{
	struct ksock_conn *conn = context;

	for (;;) {
		bool again = ksocknal_rx_turn(conn);

		if (is_tx_scheduled(conn))
			again |= ksocknal_tx_turn(conn);
		if (ksocknal_is_closing(conn) && !conn->held) /* a turn may have let go of it */
			break;
		if (!again)
			ke_wait_for_single_object(&conn->work, KE_WAIT_FOREVER);
	}
	ksocknal_conn_decref(conn);
}

ntstatus ksocknal_start_conn_thread(struct ksock_conn *conn)
{
	ntstatus status;

	conn->threaded = true;
	ob_reference(&conn->references); /* the thread's */
	status = ps_create_system_thread(&conn->thread, serve_connection, conn);
	if (nt_success(status))
		return status;
	conn->threaded = false;
	ksocknal_conn_decref(conn);
	return status;
}
