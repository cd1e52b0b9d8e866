/* Breaks rule 9: news puts a closed connection into the list. */
void ksocknal_schedule_rx(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);

	schedule_rx(conn);
	ke_release_spin_lock(&conn->sched->lock, irql);
}
