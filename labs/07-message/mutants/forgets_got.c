/* Breaks rule 7: forgets to tell `got`, so that the owner keeps the payload for ever. */
static void get_came(struct ksock_conn *conn)
{
	const struct lnet_header *header = &conn->incoming.header;
	const struct lnet_portal *portal = portal_of(conn, header->msg.get.ptl_index);
	struct lnet_payload from = {0};

	if (header->msg.get.ptl_index == LNET_RESERVED_PORTAL &&
	    header->msg.get.match_bits == LNET_PROTO_PING_MATCHBITS) {
		from = conn->node->ping;
		reply(conn, NULL, &from);
	} else if (portal != NULL && portal->get != NULL &&
		   nt_success(portal->get(portal->owner, header, &from))) {
		reply(conn, NULL, &from);
	} else {
		conn->tally.dropped++;
	}
}
