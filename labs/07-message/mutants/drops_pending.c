/* Breaks rule 4: takes PENDING for a refusal. */
static enum step parse(struct ksock_conn *conn)
{
	uint32_t length = conn->incoming.header.payload_length;
	ntstatus status = lnet_parse(conn);

	conn->dropped = status != STATUS_SUCCESS;
	if (conn->dropped)
		length = 0;
	else if (conn->place != KSOCK_PLACE_SHOWN && conn->cursor.left < length)
		length = conn->cursor.left;
	want(conn, SOCKNAL_RX_LNET_PAYLOAD, length);
	return GO_ON;
}
