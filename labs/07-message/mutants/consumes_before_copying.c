/* Breaks rule 2: gives bytes of which all are payload back before it has copied them. */
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
		bool early = conn->state == SOCKNAL_RX_LNET_PAYLOAD && length <= conn->rx_wanted;

		if (early)
			tdi_queue_consume(&conn->stream->normal, length);
		while (result == GO_ON)
			result = next_step(conn, &feed);
		used += length - feed.length;
		conn->tally.bytes += length - feed.length;
		if (!early)
			tdi_queue_consume(&conn->stream->normal, length - feed.length);
		if (result != STARVED)
			return results[result];
	}
	return KSOCK_RX_MORE;
}
