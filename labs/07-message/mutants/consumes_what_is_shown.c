/* Breaks rule 2: consumes all that it is shown, also if it has stopped in the midst of it. */
enum ksock_rx_result ksocknal_process_receive(struct ksock_conn *conn)
{
	static const enum ksock_rx_result results[] = {
		[STARVED] = KSOCK_RX_MORE, [HELD] = KSOCK_RX_HELD, [ENDED] = KSOCK_RX_IDLE};
	uint32_t used = 0;

	while (used < TURN_BYTES) {
		struct feed feed = {.bytes = (const unsigned char *)""};
		enum step result = GO_ON;
		uint32_t length = 0;
		ntstatus status;

		if (conn->state != SOCKNAL_RX_PARSE && conn->state != SOCKNAL_RX_DONE) {
			feed.bytes = tdi_queue_peek(&conn->stream->normal, &length, &status);
			feed.length = length;
			if (feed.bytes == NULL) {
				if (status != STATUS_PENDING)
					stream_ended(conn, status);
				return KSOCK_RX_IDLE;
			}
		}
		while (result == GO_ON)
			result = next_step(conn, &feed);
		used += length - feed.length;
		conn->tally.bytes += length - feed.length;
		tdi_queue_consume(&conn->stream->normal, length);
		if (result != STARVED)
			return results[result];
	}
	return KSOCK_RX_MORE;
}
