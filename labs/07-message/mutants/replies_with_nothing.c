/* Breaks rule 7: sends an empty REPLY when the owner refuses. */
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
		reply(conn, portal, &from);
	} else {
		reply(conn, NULL, &from);
	}
}
