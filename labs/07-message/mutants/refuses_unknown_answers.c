/* Breaks rule 8: ends the connection for an answer whose question it does not know. */
static void ack_came(struct ksock_conn *conn)
{
	const struct lnet_ack *ack = &conn->incoming.header.msg.ack;

	if (!is_ours(conn, &ack->dst_wmd) ||
	    !ksocknal_ack_put(conn->peer, ack->dst_wmd.object_cookie, ack->mlength))
		refuse(conn, LNET_WIRE_BAD_LNET_TYPE);
}
