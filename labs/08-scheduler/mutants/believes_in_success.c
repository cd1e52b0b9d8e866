/* Breaks rule 12: does not look how a send has ended. */
bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (int i = 0; i < TURN_BATCHES; i++) {
		struct ksock_batch *finished = conn->batch;
		struct ksock_batch *batch;
		struct load load;

		batch = batch_for(conn, hand);
		if (batch == NULL)
			return false; /* it stays scheduled, and waits elsewhere */
		conn->batch = NULL;
		begin_load(&load);
		if (!next_batch(conn, finished, batch, &load)) {
			put_away(conn, batch, hand);
			return false;
		}
		pack(conn, batch, &load);
		conn->batch = batch;
		if (transmit(conn, batch) == STATUS_PENDING) {
			conn->sent.again++;
			conn->pending = true;
			return is_done_meanwhile(conn);
		}
	}
	return true;
}
