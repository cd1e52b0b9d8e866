/* Breaks rule 14: takes an end within a message's header for one between two messages. */
static void stream_ended(struct ksock_conn *conn, ntstatus reason)
{
	bool between = conn->state == SOCKNAL_RX_KSM_HEADER;

	if (reason == STATUS_GRACEFUL_DISCONNECT && !between)
		reason = STATUS_CONNECTION_ABORTED; /* in the midst of something */
	ksocknal_close_conn(conn, reason);
}
