/* Breaks rule 9: takes two cookies for a range also if the first is the greater. */
static void noop_came(struct ksock_conn *conn)
{
	const uint64_t *cookies = conn->message.zc_cookies;

	conn->tally.noops++;
	if (cookies[1] == SOCKNAL_KEEPALIVE_PING)
		return;
	if (cookies[0] > cookies[1])
		take_zc_acks(conn, cookies[1], cookies[0]);
	else
		take_zc_acks(conn, conn->version >= KSOCK_PROTO_V3 ? cookies[0] : 0, cookies[1]);
}
