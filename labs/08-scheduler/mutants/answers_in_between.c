/* Breaks rule 13: what the peer wants to know goes out between the parts of a message. */
static bool next_batch(struct ksock_conn *conn, struct ksock_batch *finished,
		       struct ksock_batch *batch, struct load *load)
{
	struct list_entry done;
	kirql irql;
	bool any;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (finished != NULL) {
		finish_txs(finished, &done);
		conn->tx_batches++;
	}
	begin_batch(batch, conn);
	any = ksocknal_has_output(conn);
	if (any)
		take_the_rest(conn, load);
	take_txs(conn, batch, load);
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_ready = !any;
	conn->tx_scheduled = any;
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
	return any;
}
