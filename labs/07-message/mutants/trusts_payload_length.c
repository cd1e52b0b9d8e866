/* Breaks rule 3: believes that there is a place for as many bytes as the header says. */
static enum step parse(struct ksock_conn *conn)
{
	uint32_t length = conn->incoming.header.payload_length;
	ntstatus status = lnet_parse(conn);

	if (status == STATUS_PENDING)
		return HELD;
	conn->dropped = !nt_success(status);
	if (conn->dropped)
		length = 0;
	want(conn, SOCKNAL_RX_LNET_PAYLOAD, length);
	return GO_ON;
}
