/* Breaks rule 5: tells `done` of a PUT that its owner has refused, too. */
static ntstatus put_comes(struct ksock_conn *conn)
{
	struct lnet_incoming *incoming = &conn->incoming;
	const struct lnet_portal *portal = portal_of(conn, incoming->header.msg.put.ptl_index);
	ntstatus status;

	if (portal == NULL || portal->put == NULL)
		return STATUS_INVALID_DEVICE_REQUEST;
	incoming->into = (struct lnet_payload){0};
	status = portal->put(portal->owner, incoming);
	if (status != STATUS_PENDING)
		conn->portal = portal;
	if (status != STATUS_SUCCESS)
		return status;
	conn->ack_owed = incoming->header.msg.put.ack_wmd.interface_cookie != KSOCK_HANDLE_NONE;
	if (portal->take != NULL) {
		conn->place = KSOCK_PLACE_SHOWN;
	} else {
		conn->place = KSOCK_PLACE_COPIED;
		lnet_begin_payload(&conn->cursor, &incoming->into);
	}
	return STATUS_SUCCESS;
}

static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (lnet_finalize(conn, STATUS_SUCCESS) == STATUS_PENDING)
		return HELD;
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	if (conn->message.zc_cookies[0] != 0 &&
	    !ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]))
		return refuse(conn, LNET_WIRE_TOO_MANY_COOKIES);
	ksocknal_new_packet(conn);
	return GO_ON;
}
