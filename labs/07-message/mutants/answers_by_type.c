/* Breaks rule 8: takes a REPLY for the first GET that waits, whatever its handle. */
static ntstatus reply_comes(struct ksock_conn *conn)
{
	const struct lnet_wire_handle *handle = &conn->incoming.header.msg.reply.dst_wmd;

	for (struct list_entry *entry = conn->peer->awaiting.next;
	     entry != &conn->peer->awaiting && conn->replied == NULL; entry = entry->next)
		conn->replied = ksocknal_take_get(
			conn->peer, containing_record(entry, struct ksock_tx, awaiting)->handle);
	(void)handle;
	if (conn->replied == NULL)
		return STATUS_INVALID_DEVICE_REQUEST;
	conn->place = KSOCK_PLACE_COPIED;
	lnet_begin_payload(&conn->cursor, &conn->replied->payload);
	return STATUS_SUCCESS;
}
