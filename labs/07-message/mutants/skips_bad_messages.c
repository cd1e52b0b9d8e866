/* Breaks rule 13: skips a header that can't be one, and looks for the next message. */
static enum step message_came(struct ksock_conn *conn, const void *bytes)
{
	enum lnet_wire_reason reason =
		ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, &conn->message, conn->swapped);

	if (reason != LNET_WIRE_GOOD) {
		ksocknal_new_packet(conn);
		return GO_ON;
	}
	if (conn->message.type == KSOCK_MSG_NOOP) {
		noop_came(conn);
		ksocknal_new_packet(conn);
		return GO_ON;
	}
	take_zc_acks(conn, 0, conn->message.zc_cookies[1]);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_begin(bytes);
	want(conn, SOCKNAL_RX_LNET_HEADER, LNET_HEADER_BYTES);
	return GO_ON;
}
