/* Breaks rule 13: does not ask whether a message is from its connection's peer. */
static enum step lnet_header_came(struct ksock_conn *conn, const void *bytes)
{
	struct lnet_header *header = &conn->incoming.header;
	enum lnet_wire_reason reason =
		lnet_decode_header(bytes, LNET_HEADER_BYTES, header, LNET_HEADER_SWAPPED);

	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_add(conn->sum, bytes, LNET_HEADER_BYTES);
	conn->state = SOCKNAL_RX_PARSE;
	return GO_ON;
}
