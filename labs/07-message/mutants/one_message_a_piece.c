/* Breaks rule 1: thinks that a piece holds one message, and forgets what stands behind it. */
static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (!conn->dropped && lnet_finalize(conn, STATUS_SUCCESS) == STATUS_PENDING)
		return HELD;
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	if (conn->message.zc_cookies[0] != 0 &&
	    !ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]))
		return refuse(conn, LNET_WIRE_TOO_MANY_COOKIES);
	ksocknal_new_packet(conn);
	return STARVED;
}

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
		used += length;
		conn->tally.bytes += length;
		if (length > 0)
			tdi_queue_consume(&conn->stream->normal, length);
		if (result != STARVED)
			return results[result];
	}
	return KSOCK_RX_MORE;
}
