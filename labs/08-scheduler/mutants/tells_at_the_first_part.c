/* Breaks rule 14: a message is sent with the batch that has its beginning. */
static struct ksock_batch *next_batch(struct ksock_conn *conn, struct ksock_batch *last,
				      struct ksock_batch **hand)
{
	struct ksock_batch *batch = NULL;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (last != NULL) {
		finish_txs(last, &done);
		if (in_midst_of_message(conn))
			ksocknal_tx_happened(containing_record(remove_head_list(&conn->tx_queue),
							       struct ksock_tx, entry),
					     KSOCK_TX_SENT, STATUS_SUCCESS, &done);
		conn->tx_batches++;
	}
	if (ksocknal_has_output(conn)) {
		batch = begin_batch(conn, &last, hand);
		if (!in_midst_of_message(conn))
			ksocknal_pack_owed(conn, batch);
		take_txs(conn, batch);
	}
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_ready = batch == NULL;
	conn->tx_scheduled = batch != NULL;
	ke_release_spin_lock(&conn->peer->lock, irql);
	if (last != NULL)
		put_away(conn, last, hand);
	ksocknal_txlist_done(&done);
	return batch;
}
