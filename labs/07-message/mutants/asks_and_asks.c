/* Breaks rule 4: asks an owner who has said PENDING again in the next turn, resumed or not. */
static enum step parse(struct ksock_conn *conn)
{
	uint32_t length = conn->incoming.header.payload_length;
	ntstatus status = lnet_parse(conn);

	if (status == STATUS_PENDING)
		return STARVED;
	conn->dropped = !nt_success(status);
	if (conn->dropped)
		length = 0;
	else if (conn->place != KSOCK_PLACE_SHOWN && conn->cursor.left < length)
		length = conn->cursor.left;
	want(conn, SOCKNAL_RX_LNET_PAYLOAD, length);
	return GO_ON;
}
