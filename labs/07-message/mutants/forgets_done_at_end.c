/* Breaks rule 5: does not tell `done` of a PUT of which no more will come. */
ntstatus lnet_finalize(struct ksock_conn *conn, ntstatus status)
{
	const struct lnet_portal *portal = conn->portal;
	struct ksock_tx *get = conn->replied;
	ntstatus answer;

	conn->portal = NULL; /* its owner is told once */
	conn->replied = NULL;
	if (get != NULL)
		ksocknal_finish_get(get, status, conn->kept);
	if (nt_success(status) && portal != NULL && portal->done != NULL) {
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
