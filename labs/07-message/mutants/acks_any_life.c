/* Breaks rule 8: looks at the number in an ACK's handle, and not at whose life it is of. */
static void ack_came(struct ksock_conn *conn)
{
	const struct lnet_ack *ack = &conn->incoming.header.msg.ack;

	if (!ksocknal_ack_put(conn->peer, ack->dst_wmd.object_cookie, ack->mlength))
		conn->tally.dropped++;
}
