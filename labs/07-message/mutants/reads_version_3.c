/* Breaks rule 9: reads NOOPs as version 3 has them, whatever the peer's version. */
static void noop_came(struct ksock_conn *conn)
{
	const uint64_t *cookies = conn->message.zc_cookies;

	conn->tally.noops++;
	if (cookies[1] == SOCKNAL_KEEPALIVE_PING)
		return;
	if (cookies[0] > cookies[1]) { /* two, no range */
		take_zc_acks(conn, 0, cookies[0]);
		take_zc_acks(conn, 0, cookies[1]);
	} else {
		take_zc_acks(conn, cookies[0], cookies[1]);
	}
}
