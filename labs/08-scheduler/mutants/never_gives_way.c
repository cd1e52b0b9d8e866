/* Breaks rule 4: a turn sends until nothing is left. */
bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (;;) {
		struct ksock_batch *finished = conn->batch;
		struct ksock_batch *batch;
		struct load load;

		if (finished != NULL && !nt_success(finished->status)) {
			ksocknal_close_conn(conn, finished->status);
			return false;
		}
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
}
