/*
 * Stage 07: what is done with a message, when its header has come and when all of it has.
 *
 *   type    header                               all of it
 *   PUT     the portal's owner: where to?        the owner: done; an ACK, if one is wanted
 *   GET     -                                    the owner: what of? A REPLY with it
 *   ACK     -                                    the PUT's callback
 *   REPLY   which GET's? To its payload          the GET's callback
 *
 * An answer finds the message that it is for by the handle that went out with it: a number of this
 * life of the node's, which the peer can only give back. A handle that fits none is of a message
 * that was given up, or invented; both are dropped, and nothing is lost by it.
 *
 * The portal that LNet keeps for itself answers pings: a GET there with the match bits of a ping
 * is given the node's interfaces.
 *
 * Sources: LNet (lnet_parse, lnet_finalize, the ping); the Tdinal design (lib_parse).
 */
#include "nal/private.h"

/* ---- Answers ------------------------------------------------------------------------------- */

static void answer_is_out(void *context, ntstatus status, uint32_t length)
{
	struct ksock_answer *answer = context;

	(void)length;
	if (answer->portal != NULL && answer->portal->got != NULL)
		answer->portal->got(answer->portal->owner, &answer->tx.payload, status);
	ksocknal_free_answer(answer);
}

/* An ACK or a REPLY of the message that has come; NULL, and the connection ends: no pool. */
static struct ksock_answer *begin_answer(struct ksock_conn *conn, uint32_t type,
					 const struct lnet_payload *payload)
{
	struct ksock_answer *answer = ksocknal_alloc_answer(conn->sched);

	if (answer == NULL) {
		ksocknal_close_conn(conn, STATUS_INSUFFICIENT_RESOURCES);
		return NULL;
	}
	answer->portal = NULL;
	ksocknal_begin_tx(&answer->tx, conn->peer, type, payload, answer_is_out, answer);
	answer->tx.conn = conn;
	return answer;
}

static void send_ack(struct ksock_conn *conn)
{
	const struct lnet_header *put = &conn->incoming.header;
	struct ksock_answer *answer = begin_answer(conn, LNET_MSG_ACK, NULL);

	if (answer == NULL)
		return;
	answer->tx.header.msg.ack = (struct lnet_ack){
		.dst_wmd = put->msg.put.ack_wmd,
		.match_bits = put->msg.put.match_bits,
		.mlength = conn->kept,
	};
	ksocknal_launch_packet(&answer->tx);
}

static const struct lnet_portal *portal_of(struct ksock_conn *conn, uint32_t index)
{
	const struct lnet_options *options = &conn->node->options;

	return index != LNET_RESERVED_PORTAL && index < options->portal_count
		       ? &options->portals[index]
		       : NULL;
}

static void reply(struct ksock_conn *conn, const struct lnet_portal *portal,
		  const struct lnet_payload *from)
{
	const struct lnet_get *get = &conn->incoming.header.msg.get;
	struct lnet_payload payload = *from;
	struct ksock_answer *answer;

	if (payload.length > get->sink_length)
		payload.length = get->sink_length;
	answer = begin_answer(conn, LNET_MSG_REPLY, &payload);
	if (answer != NULL) {
		answer->portal = portal;
		answer->tx.header.msg.reply.dst_wmd = get->return_wmd;
		ksocknal_launch_packet(&answer->tx);
	} else if (portal != NULL && portal->got != NULL) {
		portal->got(portal->owner, &payload, STATUS_INSUFFICIENT_RESOURCES);
	}
}

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
		conn->tally.dropped++;
	}
}

/* Whether the handle is one that this life of the node has given. */
static bool is_ours(const struct ksock_conn *conn, const struct lnet_wire_handle *handle)
{
	return handle->interface_cookie == conn->node->incarnation;
}

static void ack_came(struct ksock_conn *conn)
{
	const struct lnet_ack *ack = &conn->incoming.header.msg.ack;

	if (!is_ours(conn, &ack->dst_wmd) ||
	    !ksocknal_ack_put(conn->peer, ack->dst_wmd.object_cookie, ack->mlength))
		conn->tally.dropped++;
}

/* ---- When the header has come -------------------------------------------------------------- */

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
	return STATUS_SUCCESS;
}

static ntstatus reply_comes(struct ksock_conn *conn)
{
	const struct lnet_wire_handle *handle = &conn->incoming.header.msg.reply.dst_wmd;

	if (is_ours(conn, handle))
		conn->replied = ksocknal_take_get(conn->peer, handle->object_cookie);
	if (conn->replied == NULL)
		return STATUS_INVALID_DEVICE_REQUEST;
	conn->place = KSOCK_PLACE_COPIED;
	lnet_begin_payload(&conn->cursor, &conn->replied->payload);
	return STATUS_SUCCESS;
}

ntstatus lnet_parse(struct ksock_conn *conn)
{
	conn->place = KSOCK_PLACE_NOWHERE;
	conn->ack_owed = false;
	conn->kept = 0;
	if (conn->incoming.header.dest_nid != conn->peer->ni->nid)
		return STATUS_INVALID_ADDRESS_COMPONENT; /* this is no router */
	switch (conn->incoming.header.type) {
	case LNET_MSG_PUT:
		return put_comes(conn);
	case LNET_MSG_REPLY:
		return reply_comes(conn);
	default:
		return STATUS_SUCCESS;
	}
}

/* ---- When all of it has come --------------------------------------------------------------- */

ntstatus lnet_finalize(struct ksock_conn *conn, ntstatus status)
{
	const struct lnet_portal *portal = conn->portal;
	struct ksock_tx *get = conn->replied;
	ntstatus answer;

	conn->portal = NULL; /* its owner is told once */
	conn->replied = NULL;
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

void ksocknal_give_handle(struct ksock_tx *tx, uint64_t handle)
{
	struct lnet_wire_handle wire = {tx->peer->ni->node->incarnation, handle};

	tx->handle = handle;
	if (tx->header.type == LNET_MSG_PUT)
		tx->header.msg.put.ack_wmd = wire;
	else
		tx->header.msg.get.return_wmd = wire;
}

/* ---- Sending ------------------------------------------------------------------------------- */

void lnet_put(struct ksock_peer *peer, struct ksock_tx *tx, const struct lnet_put *put,
	      const struct lnet_payload *payload, uint32_t flags, lnet_callback *callback,
	      void *context)
{
	if (verifier_on)
		ksocknal_require_idle(peer, tx);
	ksocknal_begin_tx(tx, peer, LNET_MSG_PUT, payload, callback, context);
	tx->header.msg.put = *put;
	tx->header.msg.put.ack_wmd.interface_cookie = KSOCK_HANDLE_NONE;
	if (flags & LNET_ACK_WANTED)
		tx->waits |= KSOCK_TX_ANSWERED;
	ksocknal_launch_packet(tx);
}

void lnet_get(struct ksock_peer *peer, struct ksock_tx *tx, const struct lnet_get *get,
	      const struct lnet_payload *payload, lnet_callback *callback, void *context)
{
	if (verifier_on)
		ksocknal_require_idle(peer, tx);
	ksocknal_begin_tx(tx, peer, LNET_MSG_GET, payload, callback, context);
	tx->header.msg.get = *get;
	tx->header.msg.get.sink_length = tx->payload.length;
	tx->waits |= KSOCK_TX_ANSWERED;
	ksocknal_launch_packet(tx);
}
