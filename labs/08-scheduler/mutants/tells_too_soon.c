/* Breaks rule 14: a message is sent as soon as the transport has it. */
static void tell(struct ksock_conn *conn, struct ksock_batch *batch)
{
	struct list_entry done;
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);

	initialize_list_head(&done);
	finish_txs(batch, &done);
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
}

bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (int i = 0; i < TURN_BATCHES; i++) {
		struct ksock_batch *last = conn->batch;

		if (last != NULL && !nt_success(last->status)) {
			ksocknal_close_conn(conn, last->status);
			return false;
		}
		if (!has_memory(conn, hand))
			return false; /* it stays scheduled, and waits elsewhere */
		conn->batch = next_batch(conn, last, hand);
		if (conn->batch == NULL)
			return false;
		if (conn->node->options.checksums)
			ksocknal_add_checksums(conn->batch);
		if (transmit(conn, conn->batch) == STATUS_PENDING) {
			conn->sent.again++;
			conn->pending = true;
			tell(conn, conn->batch);
			return is_done_meanwhile(conn);
		}
	}
	return true;
}
