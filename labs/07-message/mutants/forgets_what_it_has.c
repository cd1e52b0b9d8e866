/* Breaks rule 1: decodes a header where its last piece stands, and forgets what came before. */
static const void *whole_header(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t piece = conn->rx_wanted - conn->rx_have;
	const void *header = conn->rx_header;

	piece = piece < feed->length ? piece : feed->length;
	if (piece == conn->rx_wanted - conn->rx_have)
		header = feed->bytes;
	else
		memcpy(conn->rx_header + conn->rx_have, feed->bytes, piece);
	conn->rx_have += piece;
	feed->bytes += piece;
	feed->length -= piece;
	return conn->rx_have == conn->rx_wanted ? header : NULL;
}
