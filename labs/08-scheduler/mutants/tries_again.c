/* Breaks rule 10: puts a connection whose send is pending back into the list, to look again. */
static bool is_done_meanwhile(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);

	ke_release_spin_lock(&conn->peer->lock, irql);
	return true;
}

bool ksocknal_tx_turn(struct ksock_conn *conn, struct ksock_batch **hand)
{
	struct ksock_sched *sched = conn->sched;
	bool again;

	if (conn->closing)
		return false;
	if (conn->pending && !conn->tx_ready)
		return true; /* -EAGAIN */
	ke_release_spin_lock(&sched->lock, PASSIVE_LEVEL);
	again = ksocknal_process_transmit(conn, hand);
	ke_acquire_spin_lock(&sched->lock);
	ksocknal_count_sent(&sched->counters, &conn->sent);
	stat_count(&sched->counters, LNET_SCHED_TX_TURNS, 1);
	return again;
}
