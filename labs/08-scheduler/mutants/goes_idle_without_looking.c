/* Breaks rule 2: ends the turn of a pending send without looking whether it is done. */
static bool is_done_meanwhile(struct ksock_conn *conn)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);

	conn->tx_scheduled = false;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return false;
}
