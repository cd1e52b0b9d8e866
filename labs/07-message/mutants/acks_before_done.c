/* Breaks rule 6: sends the ACK before it has asked the owner. */
ntstatus lnet_finalize(struct ksock_conn *conn, ntstatus status)
{
	const struct lnet_portal *portal = conn->portal;
	struct ksock_tx *get = conn->replied;
	ntstatus answer;

	conn->portal = NULL; /* its owner is told once */
	conn->replied = NULL;
	if (nt_success(status) && conn->ack_owed)
		send_ack(conn);
	conn->ack_owed = false;
	if (get != NULL)
		ksocknal_finish_get(get, status, conn->kept);
	if (portal != NULL && portal->done != NULL) {
		answer = portal->done(portal->owner, &conn->incoming, status);
		if (answer == STATUS_PENDING)
			return STATUS_PENDING;
		conn->ack_owed = conn->ack_owed && nt_success(answer);
	}
	if (!nt_success(status))
		return status;
	if (conn->ack_owed)
		send_ack(conn);
	else if (conn->incoming.header.type == LNET_MSG_GET)
		get_came(conn);
	else if (conn->incoming.header.type == LNET_MSG_ACK)
		ack_came(conn);
	return STATUS_SUCCESS;
}
