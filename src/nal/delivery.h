/*
 * Messages that survive their connections: a whole of any length, sent as PUTs to one portal of a
 * peer, that arrives once and in order, whatever happens to the connections and to either process.
 *
 *      lnet_deliver                            the portal's owner, a struct lnet_receiver
 *        GET: how much have you? ────────────▶   opens what it has of this, by its id
 *        ◀──────────────────────────── REPLY     a position, and a state
 *        PUT at it, PUT behind it, ... ──────▶   takes the one that begins where it stands
 *        ◀────────────────────────────── ACK     when its owner has it for good
 *        PUT of nothing at the end ──────────▶   its owner finishes
 *        ◀────────────────────────────── ACK     when he has
 *        PUT of nothing at LNET_AT_REST ─────▶   the sender knows; all is forgotten
 *
 * match_bits is the id of the whole, hdr_data the position of a PUT's first byte in it. An ACK says
 * that the receiver has everything up to the end of that PUT. If a PUT fails, nobody knows what has
 * come: the sender lets all of them return, and asks again. It asks at the start for the same
 * reason, and that is all there is to the resuming of a transfer by a new process: neither side
 * keeps anything but what the receiver's owner keeps, which is the bytes.
 *
 * At the receiver a PUT below its position is a duplicate: acknowledged and forgotten. One above is
 * behind a gap: something has been lost, so its connection is closed, and the sender asks.
 *
 * The last block, if it is short, and the end go out alone, when all before is acknowledged: so no
 * PUT overtakes another, also where small messages have a connection of their own.
 *
 * The REPLY is two integers of 8 bytes in little-endian order: position, and enum lnet_state.
 */
#ifndef XPORT_NAL_DELIVERY_H
#define XPORT_NAL_DELIVERY_H

#include "nal/lnet.h"

#define LNET_AT_REST UINT64_MAX /* no position */

enum { LNET_ANSWER_BYTES = 16 };

enum lnet_state {
	LNET_STATE_OPENING, /* it will know; ask again */
	LNET_STATE_TAKING,
	LNET_STATE_FINISHED,
	LNET_STATE_FAILED, /* its owner has; the next question lets him try again */
};

/* ---- Sending ------------------------------------------------------------------------------- */

struct lnet_delivery {
	struct ksock_peer *peer;
	uint32_t portal;
	uint64_t id;	 /* of the whole: whoever goes on with it gives the same */
	uint64_t length; /* of the whole, in bytes */
	uint32_t block_bytes;
	uint32_t window;      /* PUTs under way, at least 1 */
	uint64_t pause_ns;    /* between attempts; the first are shorter */
	uint64_t patience_ns; /* without progress; 0: never given up */

	/* Both in the thread that delivers, which may wait in them. An error ends the delivery. */
	ntstatus (*read)(void *owner, uint64_t position, void *buffer, uint32_t length);
	/* So far the receiver has it. Also called, with the same position, in each attempt. */
	ntstatus (*moved)(void *owner, uint64_t position);
	void *owner;
};

struct lnet_delivery_report {
	uint64_t began_at; /* the first position that the receiver told */
	uint64_t position; /* the last */
	uint64_t sent;	   /* bytes given to PUTs, those that were sent again too */
	uint32_t attempts;
};

/*
 * Delivers all of it. STATUS_SUCCESS: the receiver's owner has finished. Otherwise the error of
 * `read` or `moved`; STATUS_DATA_NOT_ACCEPTED: the receiver's owner has failed;
 * STATUS_INVALID_NETWORK_RESPONSE: the peer has more than there is, or answers nonsense;
 * STATUS_INSUFFICIENT_RESOURCES: no pool for the buffers; or why the last attempt has failed, when
 * patience is at its end. The node should have a timeout, or a silent peer is waited for. A thread,
 * PASSIVE_LEVEL.
 */
ntstatus lnet_deliver(const struct lnet_delivery *delivery, struct lnet_delivery_report *report);

/* ---- Receiving ----------------------------------------------------------------------------- */

struct lnet_receiver;

/* What the owner of a receiver is to do with a transfer. */
enum lnet_step {
	LNET_OPEN,   /* say what he has of it: `position`, and whether it is `finished` */
	LNET_WRITE,  /* keep `length` bytes for good, which belong at `position` */
	LNET_FINISH, /* that was all */
};

struct lnet_transfer {
	uint64_t id;
	uint64_t source; /* the NID of who has begun it here */
	uint64_t position;
	enum lnet_step step;
	uint32_t length;
	const char *bytes;
	bool finished;
	void *context;		/* the owner's; NULL at first */
	struct list_entry work; /* likewise: a transfer is in one list of his at most */

	/* The room's, under the receiver's lock. */
	struct lnet_receiver *receiver;
	struct list_entry entry;
	bool opened;
	uint64_t used_ns;
	ntstatus failure;
	bool told;		       /* an answer tells of it */
	struct lnet_incoming *taking;  /* whose payload comes in, or is with the owner */
	struct lnet_incoming *waiting; /* that can't be judged now; linked by `context` */
	struct lnet_iov piece;
	char buffer[]; /* the receiver's block_bytes */
};

/*
 * The owner is given a step at PASSIVE_LEVEL, on a virtual processor, and answers it once with
 * lnet_step_done, from wherever he likes: who has to wait, as a file's owner has, lets a thread of
 * his do it. A transfer has one step at a time. After an error it is closed, once the transport has
 * the answer that tells the sender; but after STATUS_CANCELLED, by which he says that he is
 * leaving, senders are told to ask again. `closed` is called for each transfer, between steps; then
 * it is gone. One that has been idle can be closed for want of room, and opened again later: what
 * counts is what is kept. While there is no room senders are told to ask again.
 */
struct lnet_receiver {
	uint32_t most;	      /* transfers at the same time, at least 1 */
	uint32_t block_bytes; /* of the longest PUT that it takes, up to LNET_MTU */
	uint64_t idle_ns;     /* after so long without a message it gives way to another */
	void (*step)(void *owner, struct lnet_transfer *transfer);
	void (*closed)(void *owner, struct lnet_transfer *transfer);
	void *owner;

	/* The room's. */
	struct kspin_lock lock;
	struct list_entry transfers; /* the last used first */
	uint32_t count;
};

/* A receiver whose first six fields are there, and the portal that it owns. Any IRQL. */
void lnet_open_receiver(struct lnet_receiver *receiver, struct lnet_portal *portal);

/* Up to DISPATCH. */
void lnet_step_done(struct lnet_transfer *transfer, ntstatus status);

/* Closes what is open. The node is gone, and after that every step was answered. PASSIVE_LEVEL. */
void lnet_close_receiver(struct lnet_receiver *receiver);

#endif
