/* Breaks rule 3: puts each piece of a payload at the beginning of its place. */
static void place(struct ksock_conn *conn, const unsigned char *bytes, uint32_t length)
{
	if (conn->place == KSOCK_PLACE_SHOWN) {
		conn->portal->take(conn->portal->owner, &conn->incoming, conn->rx_have, bytes,
				   length);
		return;
	}
	lnet_begin_payload(&conn->cursor, conn->cursor.payload);
	while (length > 0) {
		uint32_t piece;
		char *to = lnet_advance(&conn->cursor, length, &piece);

		memcpy(to, bytes, piece);
		bytes += piece;
		length -= piece;
	}
}
