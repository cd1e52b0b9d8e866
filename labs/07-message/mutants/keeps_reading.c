/* Breaks rule 4: goes on with the next message when an owner says PENDING in `done`. */
static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (!conn->dropped)
		lnet_finalize(conn, STATUS_SUCCESS);
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	if (conn->message.zc_cookies[0] != 0 &&
	    !ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]))
		return refuse(conn, LNET_WIRE_TOO_MANY_COOKIES);
	ksocknal_new_packet(conn);
	return GO_ON;
}
