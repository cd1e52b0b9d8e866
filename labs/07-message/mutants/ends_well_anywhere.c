/* Breaks rule 14: takes any end of the stream for a graceful one. */
static void stream_ended(struct ksock_conn *conn, ntstatus reason)
{
	bool between = true;

	if (reason == STATUS_GRACEFUL_DISCONNECT && !between)
		reason = STATUS_CONNECTION_ABORTED; /* in the midst of something */
	ksocknal_close_conn(conn, reason);
}
