/* Breaks rule 4: a turn sends until nothing is left. */
bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	if (conn->connect_irp != NULL && !finish_connect(conn))
		return false;
	conn->sent.activations += conn->pending;
	conn->pending = false;
	for (;;) {
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
			return is_done_meanwhile(conn);
		}
	}
}
