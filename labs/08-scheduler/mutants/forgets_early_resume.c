/* Breaks rule 7: forgets a call of lnet_resume that comes before the turn has ended. */
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
		conn->resumed = conn->rx_ready = false;
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
