/* Breaks rule 5: tells `done` as soon as the owner has accepted. */
static ntstatus put_comes(struct ksock_conn *conn)
{
	struct lnet_incoming *incoming = &conn->incoming;
	const struct lnet_portal *portal = portal_of(conn, incoming->header.msg.put.ptl_index);
	ntstatus status;

	if (portal == NULL || portal->put == NULL)
		return STATUS_INVALID_DEVICE_REQUEST;
	incoming->into = (struct lnet_payload){0};
	status = portal->put(portal->owner, incoming);
	if (status != STATUS_SUCCESS)
		return status;
	conn->portal = portal;
	conn->ack_owed = incoming->header.msg.put.ack_wmd.interface_cookie != KSOCK_HANDLE_NONE;
	if (portal->take != NULL) {
		conn->place = KSOCK_PLACE_SHOWN;
	} else {
		conn->place = KSOCK_PLACE_COPIED;
		lnet_begin_payload(&conn->cursor, &incoming->into);
	}
	conn->portal = NULL;
	if (portal->done != NULL)
		portal->done(portal->owner, incoming, STATUS_SUCCESS);
	return STATUS_SUCCESS;
}
