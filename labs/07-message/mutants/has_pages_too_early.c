/* Breaks rule 10: acknowledges a cookie when the header has come, and the payload has not. */
static enum step message_came(struct ksock_conn *conn, const void *bytes)
{
	enum lnet_wire_reason reason =
		ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, &conn->message, conn->swapped);

	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	if (conn->message.type == KSOCK_MSG_NOOP) {
		noop_came(conn);
		ksocknal_new_packet(conn);
		return GO_ON;
	}
	take_zc_acks(conn, 0, conn->message.zc_cookies[1]);
	if (conn->message.zc_cookies[0] != 0)
		ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_begin(bytes);
	want(conn, SOCKNAL_RX_LNET_HEADER, LNET_HEADER_BYTES);
	return GO_ON;
}

static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (!conn->dropped && lnet_finalize(conn, STATUS_SUCCESS) == STATUS_PENDING)
		return HELD;
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	ksocknal_new_packet(conn);
	return GO_ON;
}
