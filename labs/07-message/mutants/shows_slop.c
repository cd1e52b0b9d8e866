/* Breaks rule 3: shows all pieces at the offset at which its first one stood. */
static void place(struct ksock_conn *conn, const unsigned char *bytes, uint32_t length)
{
	if (conn->place == KSOCK_PLACE_SHOWN) {
		conn->portal->take(conn->portal->owner, &conn->incoming, 0, bytes, length);
		return;
	}
	while (length > 0) {
		uint32_t piece;
		char *to = lnet_advance(&conn->cursor, length, &piece);

		memcpy(to, bytes, piece);
		bytes += piece;
		length -= piece;
	}
}
