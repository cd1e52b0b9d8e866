/* Breaks rule 11: reads the LNet header in the byte order of the HELLO. */
static enum step lnet_header_came(struct ksock_conn *conn, const void *bytes)
{
	struct lnet_header *header = &conn->incoming.header;
	enum lnet_wire_reason reason =
		lnet_decode_header(bytes, LNET_HEADER_BYTES, header, conn->swapped);

	if (reason == LNET_WIRE_GOOD && header->src_nid != conn->peer->nid)
		reason = LNET_WIRE_BAD_NID;
	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_add(conn->sum, bytes, LNET_HEADER_BYTES);
	conn->state = SOCKNAL_RX_PARSE;
	return GO_ON;
}
