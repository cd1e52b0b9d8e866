/* Breaks rule 12: leaves the LNet header out of the checksum. */
static enum step lnet_header_came(struct ksock_conn *conn, const void *bytes)
{
	struct lnet_header *header = &conn->incoming.header;
	enum lnet_wire_reason reason =
		lnet_decode_header(bytes, LNET_HEADER_BYTES, header, LNET_HEADER_SWAPPED);

	if (reason == LNET_WIRE_GOOD && header->src_nid != conn->peer->nid)
		reason = LNET_WIRE_BAD_NID;
	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	conn->state = SOCKNAL_RX_PARSE;
	return GO_ON;
}
