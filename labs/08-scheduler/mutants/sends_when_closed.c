/* Breaks rule 9: sends in a turn of a connection that was closed before it. */
bool ksocknal_tx_turn(struct ksock_conn *conn, struct ksock_batch **hand)
{
	struct ksock_sched *sched = conn->sched;
	bool again;

	ke_release_spin_lock(&sched->lock, PASSIVE_LEVEL);
	again = ksocknal_process_transmit(conn, hand);
	ke_acquire_spin_lock(&sched->lock);
	ksocknal_count_sent(&sched->counters, &conn->sent);
	stat_count(&sched->counters, LNET_SCHED_TX_TURNS, 1);
	return again;
}
