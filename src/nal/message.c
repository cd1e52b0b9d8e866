/*
 * Stage 07: bytes as they come, made into messages.
 *
 * A stream has no messages in it: what the transport shows begins and ends anywhere, also within a
 * header, and one piece of it may hold a thousand messages. So a connection is a state machine that
 * is fed pieces, and stops wherever one ends:
 *
 *   accepted      called
 *   ACCEPTOR        │
 *      └──▶ HELLO ◀─┘
 *             │
 *         ADDRESSES
 *             │
 *      ┌▶ KSM_HEADER ──NOOP──▶ (KSM_HEADER)
 *      │      │
 *      │  LNET_HEADER
 *      │      │
 *      │    PARSE ─────nobody wants it──────┐     whose is it, and where does it go?
 *      │      │                             │
 *      │  LNET_PAYLOAD ──there is more──▶ SLOP    to its place; what has none is skipped
 *      │      │                             │
 *      └─── DONE ◀──────────────────────────┘     ACK, REPLY, the peer's pages
 *
 * A header has a size that is known before it comes. It is decoded where it stands if all of it
 * stands there, and gathered in `rx_header` if not. A payload is never gathered: each piece of it
 * is copied to its place, or shown to the portal's owner, as it comes.
 *
 * PARSE and DONE need no bytes. They ask the portal's owner, who may say "not now": then nothing
 * more of the connection is read until lnet_resume. Its queue fills, and in the end its peer has to
 * stop: so the wait of a slow owner reaches whoever sends to him, and nobody else.
 *
 * What a peer sends is believed in nothing: what can't be a message ends the connection, and is
 * counted by its reason; the others go on.
 *
 * Sources: the Tdinal design (2.3.1: SOCKNAL_RX_HEADER, lib_parse, SOCKNAL_RX_BODY), socklnd's
 * later states.
 */
#include <string.h>

#include "nal/private.h"

enum { TURN_BYTES = 256 * 1024 };

/* Bytes that have come and are not used yet. */
struct feed {
	const unsigned char *bytes;
	uint32_t length;
};

/* What a state has come to. */
enum step {
	GO_ON,
	STARVED, /* needs bytes */
	HELD,	 /* until lnet_resume */
	ENDED,	 /* the connection is closed */
};

/* ---- Beginnings of states ------------------------------------------------------------------ */

static void want(struct ksock_conn *conn, enum ksock_rx_state state, uint32_t bytes)
{
	conn->state = state;
	conn->rx_wanted = bytes;
	conn->rx_have = 0;
}

void ksocknal_new_packet(struct ksock_conn *conn)
{
	want(conn, SOCKNAL_RX_KSM_HEADER, KSOCK_MESSAGE_BYTES);
}

static enum step refuse(struct ksock_conn *conn, enum lnet_wire_reason reason)
{
	ksocknal_refuse(conn, reason);
	return ENDED;
}

/* ---- Headers ------------------------------------------------------------------------------- */

/* The header that is wanted, when all of it is there. */
static const void *whole_header(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t piece = conn->rx_wanted - conn->rx_have;
	const void *header = conn->rx_header;

	piece = piece < feed->length ? piece : feed->length;
	if (piece == conn->rx_wanted)
		header = feed->bytes;
	else
		memcpy(conn->rx_header + conn->rx_have, feed->bytes, piece);
	conn->rx_have += piece;
	feed->bytes += piece;
	feed->length -= piece;
	return conn->rx_have == conn->rx_wanted ? header : NULL;
}

static enum step acceptor_came(struct ksock_conn *conn, const void *bytes)
{
	struct lnet_acceptor_request request;
	enum lnet_wire_reason reason =
		lnet_decode_acceptor_request(bytes, LNET_ACCEPTOR_BYTES, &request, &conn->swapped);

	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	conn->target_nid = request.target_nid;
	want(conn, SOCKNAL_RX_HELLO, KSOCK_HELLO_BYTES);
	return GO_ON;
}

static enum step hello_came(struct ksock_conn *conn, const void *bytes)
{
	enum lnet_wire_reason reason =
		ksock_decode_hello(bytes, KSOCK_HELLO_BYTES, &conn->hello, &conn->swapped);

	if (reason == LNET_WIRE_GOOD)
		reason = ksocknal_judge_hello(conn);
	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	want(conn, SOCKNAL_RX_ADDRESSES, conn->hello.address_count * 4);
	return GO_ON;
}

/* The peer has pages of these messages back, when it says so. */
static void take_zc_acks(struct ksock_conn *conn, uint64_t first, uint64_t last)
{
	if (last != 0)
		ksocknal_zc_acked(conn->peer, first != 0 ? first : last, last);
}

static void noop_came(struct ksock_conn *conn)
{
	const uint64_t *cookies = conn->message.zc_cookies;

	conn->tally.noops++;
	if (cookies[1] == SOCKNAL_KEEPALIVE_PING)
		return;
	if (conn->version >= KSOCK_PROTO_V3 && cookies[0] > cookies[1]) { /* two, no range */
		take_zc_acks(conn, 0, cookies[0]);
		take_zc_acks(conn, 0, cookies[1]);
	} else {
		take_zc_acks(conn, conn->version >= KSOCK_PROTO_V3 ? cookies[0] : 0, cookies[1]);
	}
}

static enum step message_came(struct ksock_conn *conn, const void *bytes)
{
	enum lnet_wire_reason reason =
		ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, &conn->message, conn->swapped);

	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	if (conn->message.type == KSOCK_MSG_NOOP) {
		noop_came(conn);
		ksocknal_new_packet(conn);
		return GO_ON;
	}
	take_zc_acks(conn, 0, conn->message.zc_cookies[1]);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_begin(bytes);
	want(conn, SOCKNAL_RX_LNET_HEADER, LNET_HEADER_BYTES);
	return GO_ON;
}

static enum step lnet_header_came(struct ksock_conn *conn, const void *bytes)
{
	struct lnet_header *header = &conn->incoming.header;
	enum lnet_wire_reason reason =
		lnet_decode_header(bytes, LNET_HEADER_BYTES, header, LNET_HEADER_SWAPPED);

	if (reason == LNET_WIRE_GOOD && header->src_nid != conn->peer->nid)
		reason = LNET_WIRE_BAD_NID;
	if (reason != LNET_WIRE_GOOD)
		return refuse(conn, reason);
	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_add(conn->sum, bytes, LNET_HEADER_BYTES);
	conn->state = SOCKNAL_RX_PARSE;
	return GO_ON;
}

static enum step header_state(struct ksock_conn *conn, struct feed *feed)
{
	const void *header = whole_header(conn, feed);

	if (header == NULL)
		return STARVED;
	switch (conn->state) {
	case SOCKNAL_RX_ACCEPTOR:
		return acceptor_came(conn, header);
	case SOCKNAL_RX_HELLO:
		return hello_came(conn, header);
	case SOCKNAL_RX_KSM_HEADER:
		return message_came(conn, header);
	default:
		return lnet_header_came(conn, header);
	}
}

/* ---- What comes behind a header ------------------------------------------------------------ */

/* Takes up to rx_wanted bytes: where they stand, and how many. */
static const unsigned char *take_piece(struct ksock_conn *conn, struct feed *feed, uint32_t *length)
{
	const unsigned char *piece = feed->bytes;

	*length = conn->rx_wanted < feed->length ? conn->rx_wanted : feed->length;
	feed->bytes += *length;
	feed->length -= *length;
	conn->rx_wanted -= *length;
	return piece;
}

static enum step skip_addresses(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t length;

	take_piece(conn, feed, &length);
	if (conn->rx_wanted > 0)
		return STARVED;
	ksocknal_new_packet(conn);
	return ksocknal_establish(conn) ? GO_ON : ENDED;
}

static enum step parse(struct ksock_conn *conn)
{
	uint32_t length = conn->incoming.header.payload_length;
	ntstatus status = lnet_parse(conn);

	if (status == STATUS_PENDING)
		return HELD;
	conn->dropped = !nt_success(status);
	if (conn->dropped)
		length = 0;
	else if (conn->place != KSOCK_PLACE_SHOWN && conn->cursor.left < length)
		length = conn->cursor.left;
	want(conn, SOCKNAL_RX_LNET_PAYLOAD, length);
	return GO_ON;
}

/* A piece of the payload goes where it belongs. */
static void place(struct ksock_conn *conn, const unsigned char *bytes, uint32_t length)
{
	if (conn->place == KSOCK_PLACE_SHOWN) {
		conn->portal->take(conn->portal->owner, &conn->incoming, conn->rx_have, bytes,
				   length);
		return;
	}
	while (length > 0) {
		uint32_t piece;
		char *to = lnet_advance(&conn->cursor, length, &piece);

		memcpy(to, bytes, piece);
		bytes += piece;
		length -= piece;
	}
}

static enum step payload_state(struct ksock_conn *conn, struct feed *feed)
{
	uint32_t length;
	const unsigned char *bytes = take_piece(conn, feed, &length);

	if (conn->message.checksum != 0)
		conn->sum = ksock_checksum_add(conn->sum, bytes, length);
	if (conn->state == SOCKNAL_RX_LNET_PAYLOAD && length > 0)
		place(conn, bytes, length);
	conn->rx_have += length;
	if (conn->rx_wanted > 0)
		return STARVED;
	if (conn->state == SOCKNAL_RX_LNET_PAYLOAD) {
		conn->kept = conn->rx_have;
		conn->tally.payload_bytes += conn->kept;
		want(conn, SOCKNAL_RX_SLOP, conn->incoming.header.payload_length - conn->kept);
	} else {
		conn->tally.slop_bytes += conn->rx_have;
		conn->state = SOCKNAL_RX_DONE;
	}
	return GO_ON;
}

/* The whole message is there: whoever it is for is told, and what it asks for is done. */
static enum step finish_message(struct ksock_conn *conn)
{
	if (conn->message.checksum != 0 && conn->message.checksum != conn->sum)
		return refuse(conn, LNET_WIRE_BAD_CHECKSUM);
	if (!conn->dropped && lnet_finalize(conn, STATUS_SUCCESS) == STATUS_PENDING)
		return HELD;
	conn->tally.messages[conn->incoming.header.type]++;
	conn->tally.dropped += conn->dropped;
	if (conn->message.zc_cookies[0] != 0 &&
	    !ksocknal_queue_zc_ack(conn, conn->message.zc_cookies[0]))
		return refuse(conn, LNET_WIRE_TOO_MANY_COOKIES);
	ksocknal_new_packet(conn);
	return GO_ON;
}

static enum step step(struct ksock_conn *conn, struct feed *feed)
{
	switch (conn->state) {
	case SOCKNAL_RX_ADDRESSES:
		return skip_addresses(conn, feed);
	case SOCKNAL_RX_PARSE:
		return parse(conn);
	case SOCKNAL_RX_LNET_PAYLOAD:
	case SOCKNAL_RX_SLOP:
		return payload_state(conn, feed);
	case SOCKNAL_RX_DONE:
		return finish_message(conn);
	default:
		return header_state(conn, feed);
	}
}

/* ---- A turn -------------------------------------------------------------------------------- */

/* The stream has come to its end, or broken. */
static void stream_ended(struct ksock_conn *conn, ntstatus reason)
{
	bool between = conn->state == SOCKNAL_RX_KSM_HEADER && conn->rx_have == 0;

	if (reason == STATUS_GRACEFUL_DISCONNECT && !between)
		reason = STATUS_CONNECTION_ABORTED; /* in the midst of something */
	ksocknal_close_conn(conn, reason);
}

enum ksock_rx_result ksocknal_process_receive(struct ksock_conn *conn)
{
	static const enum ksock_rx_result results[] = {
		[STARVED] = KSOCK_RX_MORE, [HELD] = KSOCK_RX_HELD, [ENDED] = KSOCK_RX_IDLE};
	uint32_t used = 0;

	while (used < TURN_BYTES) {
		struct feed feed = {.bytes = (const unsigned char *)""};
		enum step result = GO_ON;
		uint32_t length = 0;
		ntstatus status;

		if (conn->state != SOCKNAL_RX_PARSE && conn->state != SOCKNAL_RX_DONE) {
			feed.bytes = tdi_queue_peek(&conn->stream->normal, &length, &status);
			feed.length = length;
			if (feed.bytes == NULL) {
				if (status != STATUS_PENDING)
					stream_ended(conn, status);
				return KSOCK_RX_IDLE;
			}
		}
		while (result == GO_ON)
			result = step(conn, &feed);
		used += length - feed.length;
		conn->tally.bytes += length - feed.length;
		tdi_queue_consume(&conn->stream->normal, length - feed.length);
		if (result != STARVED)
			return results[result];
	}
	return KSOCK_RX_MORE;
}
