/* Breaks rule 1: takes what has come for a header, all of it or not. */
static const void *whole_header(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t piece = conn->rx_wanted - conn->rx_have;
	const void *header = conn->rx_header;

	piece = piece < feed->length ? piece : feed->length;
	if (piece == conn->rx_wanted)
		header = feed->bytes;
	else
		memcpy(conn->rx_header + conn->rx_have, feed->bytes, piece);
	conn->rx_have += piece;
	feed->bytes += piece;
	feed->length -= piece;
	return header;
}
