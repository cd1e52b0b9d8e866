/* Breaks rule 9: takes the ends of a range, and nothing between them. */
static void noop_came(struct ksock_conn *conn)
{
	const uint64_t *cookies = conn->message.zc_cookies;

	conn->tally.noops++;
	if (cookies[1] == SOCKNAL_KEEPALIVE_PING)
		return;
	if (conn->version >= KSOCK_PROTO_V3) { /* two, no range */
		take_zc_acks(conn, 0, cookies[0]);
		take_zc_acks(conn, 0, cookies[1]);
	} else {
		take_zc_acks(conn, conn->version >= KSOCK_PROTO_V3 ? cookies[0] : 0, cookies[1]);
	}
}
