/* Breaks rule 1: each message puts its connection into the list. */
void ksocknal_schedule_tx(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql;

	if (!conn->tx_ready)
		return;
	irql = ke_acquire_spin_lock(&sched->lock);
	if (!conn->closing) {
		conn->tx_scheduled = true;
		put_into(&sched->tx_conns, &conn->tx_entry, conn);
	}
	ke_release_spin_lock(&sched->lock, irql);
}
