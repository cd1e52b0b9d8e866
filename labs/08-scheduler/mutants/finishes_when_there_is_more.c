/* Breaks rule 14: finishes a batch only when another follows. */
static bool next_batch(struct ksock_conn *conn, struct ksock_batch *finished,
		       struct ksock_batch *batch, struct load *load)
{
	struct list_entry done;
	kirql irql;
	bool any;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	any = ksocknal_has_output(conn);
	if (finished != NULL && any)
		finish_txs(finished, &done);
	begin_batch(batch, conn);
	if (any && !in_midst_of_message(conn))
		take_the_rest(conn, load);
	take_txs(conn, batch, load);
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_ready = !any;
	conn->tx_scheduled = any;
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
	return any;
}
