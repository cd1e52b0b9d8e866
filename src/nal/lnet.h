/*
 * Stages 07 and 08: messages between nodes, LNet over TDI streams.
 *
 * A node is known by the NIDs of its interfaces, and talks with peers, which are known by theirs. A
 * PUT carries a payload to one of the peer's portals; a GET asks for what is there. A PUT may want
 * an ACK, a GET has a REPLY.
 *
 *   wire.c, nid.c, crc.c   07  what is sent, byte for byte
 *   message.c              07  bytes as they come, made into messages: header, parse, payload, slop
 *   portal.c               07  what is done with a message: portals, ACK and REPLY, the ping
 *   peer.c, connection.c   07  peers and their connections: who calls whom, HELLO, ends
 *   node.c                 07  a node from its beginning to its end
 *   pack.c, transmit.c     08  messages packed into batches, and batches made into sends
 *   scheduler.c            08  one scheduler a processor, and which connection it turns to
 *   thread.c               08  what the schedulers replace: a thread for each connection
 *
 * The life of a message. A struct ksock_tx and what its payload describes are the room's from
 * lnet_put or lnet_get until its callback, which is called once:
 *
 *   a PUT               when its last byte is with the transport, and the payload is not needed
 *   with zero_copy      and the peer has said that it has the payload
 *   a PUT with an ACK   and the ACK has come: `length` bytes were taken at the peer's portal
 *   a GET               when its REPLY has come: `length` bytes of it
 *
 * or when that can't be any more, with the reason; and STATUS_IO_TIMEOUT when it takes too long.
 * What has been answered has arrived: then it does not count how the connection ends.
 * Messages for a peer go out in the order in which they were given, those of the same type of
 * connection (see `typed`), and with none lost in between until a connection breaks. Nothing is
 * sent a second time: who needs more than that wants ACKs, and decides for itself.
 *
 * Contexts. All that the owner of a message or a portal is told, it is told at PASSIVE_LEVEL, on a
 * virtual processor or, when a connection has ended, in the room's thread: it may give messages,
 * and must not wait. Only what can't be begun at all is called back within the call that gave it.
 * Memory for payloads is pool memory or locked.
 *
 * Sources: the Tdinal design; Lustre's socklnd and LNet for names and for what is sent.
 */
#ifndef XPORT_NAL_LNET_H
#define XPORT_NAL_LNET_H

#include "nal/wire.h"
#include "tdi/stream.h"

struct lnet_node;
struct lnet_ni;
struct ksock_peer;
struct ksock_conn;

/* ---- Payloads ------------------------------------------------------------------------------ */

/* A piece of memory, or a piece of one page. */
struct lnet_iov {
	void *base;
	uint32_t length;
};

struct lnet_kiov {
	void *page;
	uint32_t offset; /* in the page */
	uint32_t length;
};

/* Where a payload is, or goes: one of the two lists. The pieces hold `length` bytes at least. */
struct lnet_payload {
	uint32_t length; /* up to LNET_MTU */
	uint32_t count;
	const struct lnet_iov *iov;   /* or NULL, and then: */
	const struct lnet_kiov *kiov; /* pages */
};

/* How far somebody has come in a payload. */
struct lnet_cursor {
	const struct lnet_payload *payload;
	uint32_t piece;
	uint32_t offset; /* in the piece */
	uint32_t left;	 /* bytes to the payload's end */
};

/* Field by field: a copy of what has just been written in parts waits for it. */
static inline void lnet_begin_payload(struct lnet_cursor *cursor,
				      const struct lnet_payload *payload)
{
	cursor->payload = payload;
	cursor->piece = 0;
	cursor->offset = 0;
	cursor->left = payload->length;
}

/* The next up to `most` bytes that stand together: where, and *length how many, 0 at the end. */
char *lnet_advance(struct lnet_cursor *cursor, uint32_t most, uint32_t *length);

/* Copies what is left. */
void lnet_gather(struct lnet_cursor *cursor, char *to);

/* ---- Portals ------------------------------------------------------------------------------- */

/*
 * A PUT that is coming in. There is one at a time of each connection, which reads nothing else
 * meanwhile. The owner of the portal fills in what is his.
 */
struct lnet_incoming {
	struct lnet_header header; /* whose, and what it is about */
	uint64_t connection;	   /* through which: no other has the same */
	struct lnet_payload into;  /* his: where it goes. Bytes behind its length are not kept */
	void *context;		   /* his */
};

/*
 * The owner of a portal is asked, in the contexts named above, by several at a time if there are
 * several connections:
 *
 *   put    a PUT is coming. STATUS_SUCCESS: its payload goes to `into`, or, if `take` is there, is
 *          shown to it. STATUS_PENDING: not now; he is asked again after lnet_resume. Any other: it
 *          is read and forgotten, and there is no ACK
 *   take   some bytes of the payload that come at `offset`, where they stand, until it returns
 *   done   all of it has come: STATUS_SUCCESS, and now the ACK is sent, if one is wanted. With
 *          STATUS_PENDING from `done` that waits for lnet_resume. Or no more of it will come, for
 *          the reason given; then what is returned does not matter. Called once for each `put` that
 *          was answered with STATUS_SUCCESS
 *   get    a GET has come: STATUS_SUCCESS, and *from is what the REPLY carries, which must stay
 *          until `got`. Any other: there is no REPLY
 *   got    the REPLY's payload is not needed any more
 *
 * lnet_resume is called once for each STATUS_PENDING that is waited for, also if the connection has
 * ended; perhaps before the call that gave it has returned. Until then a connection that has ended
 * is kept, and its peer is not told.
 */
struct lnet_portal {
	ntstatus (*put)(void *owner, struct lnet_incoming *incoming);
	void (*take)(void *owner, struct lnet_incoming *incoming, uint32_t offset,
		     const void *bytes, uint32_t length);
	ntstatus (*done)(void *owner, struct lnet_incoming *incoming, ntstatus status);
	ntstatus (*get)(void *owner, const struct lnet_header *header, struct lnet_payload *from);
	void (*got)(void *owner, const struct lnet_payload *from, ntstatus status);
	void *owner;
};

/* Goes on with a connection that waits for the portal's owner. Up to DISPATCH. */
void lnet_resume(struct lnet_incoming *incoming);

/* ---- Nodes --------------------------------------------------------------------------------- */

struct lnet_options {
	struct device_object *device;
	const struct transport_address *listen; /* where it accepts; NULL: it does not */
	uint32_t backlog;			/* of callers; 0: a sane number */
	const uint64_t *nids;			/* of its interfaces, besides LNET_NID_LO_0 */
	uint32_t nid_count;
	const struct lnet_portal *portals; /* stay; the first, LNET_RESERVED_PORTAL, is LNet's */
	uint32_t portal_count;
	bool typed;	  /* for each peer that it calls: control, bulk in and bulk out; else one */
	bool checksums;	  /* what is sent has them; what comes is always checked */
	bool threads;	  /* a thread for each connection instead of the schedulers */
	uint32_t batches; /* of 70 KiB, that each scheduler begins with; 0: a sane number */
	uint32_t zero_copy_bytes; /* payloads from so many on ask for the peer's word; 0: none */
	uint64_t timeout_ns;	  /* without progress; 0: never */
	uint64_t keepalive_ns;	  /* of silence, until something is sent; 0: never */
	uint64_t reconnect_ns;	  /* how long a peer that could not be reached is not called */
	uint64_t incarnation;	  /* of this life of the node; 0: the time */
	struct stat_segment *segment;
};

/*
 * Begins a node; what the options point to stays. NULL and *status when it can't be: the errors of
 * tdi_start_daemon. A thread, PASSIVE_LEVEL.
 */
struct lnet_node *lnet_startup(const struct lnet_options *options, ntstatus *status);

/* Where it accepts. PASSIVE_LEVEL, a thread. */
ntstatus lnet_query_listener(struct lnet_node *node, struct transport_address *address);

/* The interface that has this NID, or NULL. Any IRQL. */
struct lnet_ni *lnet_find_ni(struct lnet_node *node, uint64_t nid);

/*
 * Ends it: what is not over yet is called back with STATUS_LOCAL_DISCONNECT. Every peer that was
 * found has been given back. A thread, PASSIVE_LEVEL.
 */
void lnet_shutdown(struct lnet_node *node);

/* ---- Peers --------------------------------------------------------------------------------- */

/*
 * A peer of the interface, which is called at this address when there is a message for it and no
 * connection; NULL: only those connections are used that it makes. Give it back with
 * ksocknal_put_peer. NULL when there is no pool. Up to DISPATCH.
 */
struct ksock_peer *ksocknal_find_peer(struct lnet_ni *ni, uint64_t nid,
				      const struct transport_address *address);
void ksocknal_put_peer(struct ksock_peer *peer);

/* Ends its connections, with this reason for what is under way. Up to DISPATCH. */
void ksocknal_close_peer(struct ksock_peer *peer, ntstatus reason);

/* ---- Messages ------------------------------------------------------------------------------ */

typedef void lnet_callback(void *context, ntstatus status, uint32_t length);

/* A message on its way out, in its owner's memory. All fields are the room's. */
struct ksock_tx {
	struct list_entry entry;    /* in the queue of its peer or connection, or in a batch */
	struct list_entry awaiting; /* among its peer's, if it waits for the peer's word */
	struct ksock_peer *peer;
	struct ksock_conn *conn; /* whose queue it has been in, or had better be; NULL: none */
	struct lnet_header header;
	struct lnet_payload payload; /* goes out; a GET's: where the REPLY goes */
	struct lnet_cursor cursor;   /* of what goes out */
	bool begun;		     /* its headers are packed: */
	char *headers;		     /* where; NULL: in a batch before */
	uint8_t waits;		     /* for what; see private.h */
	uint64_t handle;	     /* that its answer gives back */
	uint64_t zc_cookie;	     /* 0: none is asked for */
	uint64_t deadline_ns;
	ntstatus status;
	uint32_t length;
	lnet_callback *callback;
	void *context;
};

enum { LNET_ACK_WANTED = 1 };

/*
 * A PUT of a payload (NULL: of nothing) to a portal. `put` gives match_bits, hdr_data, ptl_index
 * and offset. Up to DISPATCH.
 */
void lnet_put(struct ksock_peer *peer, struct ksock_tx *tx, const struct lnet_put *put,
	      const struct lnet_payload *payload, uint32_t flags, lnet_callback *callback,
	      void *context);

/* A GET of up to payload->length bytes. `get` gives match_bits, ptl_index, src_offset. As above. */
void lnet_get(struct ksock_peer *peer, struct ksock_tx *tx, const struct lnet_get *get,
	      const struct lnet_payload *payload, lnet_callback *callback, void *context);

#endif
