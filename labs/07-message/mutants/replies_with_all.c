/* Breaks rule 7: sends all that the owner gives, though less is wanted. */
static void reply(struct ksock_conn *conn, const struct lnet_portal *portal,
		  const struct lnet_payload *from)
{
	const struct lnet_get *get = &conn->incoming.header.msg.get;
	struct lnet_payload payload = *from;
	struct ksock_answer *answer;

	answer = begin_answer(conn, LNET_MSG_REPLY, &payload);
	if (answer != NULL) {
		answer->portal = portal;
		answer->tx.header.msg.reply.dst_wmd = get->return_wmd;
		ksocknal_launch_packet(&answer->tx);
	} else if (portal != NULL && portal->got != NULL) {
		portal->got(portal->owner, &payload, STATUS_INSUFFICIENT_RESOURCES);
	}
}
