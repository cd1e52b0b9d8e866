/*
 * A scripted transport for the tests of windows: one that buffers, with as much room as the case
 * says, that answers each piece as and when it says, and keeps every byte that it has taken.
 */
#ifndef XPORT_TESTS_ROOM_H
#define XPORT_TESTS_ROOM_H

#include "laws.h"
#include "tdi/stream.h"

/* When the transport answers a piece. */
enum when {
	AT_ONCE,	 /* in the dispatch routine, not pending */
	PENDING_AT_ONCE, /* marked pending, and completed before the dispatch routine returns */
	FROM_DPC,	 /* by a DPC that may run before, while or after it returns */
	FROM_TIMER,	 /* much later */
	WHEN_COUNT,
	HELD, /* when the case lets go of it */
};

enum { ALL = UINT16_MAX, WINDOWS = 2, KEPT_BYTES = 128 << 10 };

/* What it says to a piece. */
struct answer {
	ntstatus status;
	uint32_t most; /* bytes that it takes */
	bool news;     /* there is room again before the client has this answer */
};

struct port {
	struct room *room;
	struct tdi_send_window window;
	struct file_object file;
	uint8_t *kept; /* what it has taken */
	uint32_t kept_bytes;
	bool wants_news; /* it was told that there is too little room */
};

struct room {
	struct device_object device;
	struct kspin_lock lock;
	enum when when;
	const struct answer *script; /* of the next pieces; those after them by `space` */
	uint32_t script_length;
	uint32_t space, buffered; /* of so many bytes, so many are used; 0: no end of room */
	bool drains;		  /* and gives some back after every piece, and says so */
	uint32_t random;	  /* not 0: takes less than there is room for, by chance */
	struct port ports[WINDOWS];
	struct kevent changed; /* synchronization: somebody wants news, or a callback has run */
	struct kdpc drain;
	struct held *held[4];
	int32_t owned, most_owned;
	int32_t pieces;
	int32_t other_flags; /* pieces that had not those that they must have */
};

/* Two windows on a transport that takes everything, until the case changes that; counted. */
void open_room(struct room *room, struct counted *counted, enum when when, bool buffers);

/* Nothing is under way, and the laws hold. */
void close_room(struct room *room, struct counted *counted);

/* HELD: answers a piece, by the number of those that were under way when it came. */
void let_go(struct room *room, int index);

/* Whether the window waits for news, which it will then have. */
bool owes_news(struct port *port);

#endif
