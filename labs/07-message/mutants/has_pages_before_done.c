/* Breaks rule 10: acknowledges a cookie before it asks the owner, and again when he resumes. */
static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (conn->message.zc_cookies[0] != 0 &&
	    !ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]))
		return refuse(conn, LNET_WIRE_TOO_MANY_COOKIES);
	if (!conn->dropped && lnet_finalize(conn, STATUS_SUCCESS) == STATUS_PENDING)
		return HELD;
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	ksocknal_new_packet(conn);
	return GO_ON;
}
