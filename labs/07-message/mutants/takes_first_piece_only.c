/* Breaks rule 3: takes the first piece of the list for all of the place. */
static void place(struct ksock_conn *conn, const unsigned char *bytes, uint32_t length)
{
	if (conn->place == KSOCK_PLACE_SHOWN) {
		conn->portal->take(conn->portal->owner, &conn->incoming, conn->rx_have, bytes,
				   length);
		return;
	}
	const struct lnet_payload *into = conn->cursor.payload;
	char *to = into->iov != NULL ? into->iov[0].base
				     : (char *)into->kiov[0].page + into->kiov[0].offset;

	memcpy(to + conn->rx_have, bytes, length);
}
