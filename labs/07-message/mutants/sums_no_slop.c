/* Breaks rule 12: leaves the bytes that nobody takes out of the checksum. */
static enum step payload_state(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t length;
	const unsigned char *bytes = take_piece(conn, feed, &length);

	if (conn->message.checksum != 0 && conn->state == SOCKNAL_RX_LNET_PAYLOAD)
		conn->sum = ksock_checksum_add(conn->sum, bytes, length);
	if (conn->state == SOCKNAL_RX_LNET_PAYLOAD && length > 0)
		place(conn, bytes, length);
	conn->rx_have += length;
	if (conn->rx_wanted > 0)
		return STARVED;
	if (conn->state == SOCKNAL_RX_LNET_PAYLOAD) {
		conn->kept = conn->rx_have;
		conn->tally.payload_bytes += conn->kept;
		want(conn, SOCKNAL_RX_SLOP, conn->incoming.header.payload_length - conn->kept);
	} else {
		conn->tally.slop_bytes += conn->rx_have;
		conn->state = SOCKNAL_RX_DONE;
	}
	return GO_ON;
}
