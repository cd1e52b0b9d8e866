/*
 * A node whose scheduler and transmit are under check: a peer or two have called it on the line,
 * and their connections belong to the first processor's scheduler. The exercise is the node's
 * thread: it deletes connections that nobody has any more.
 */
#ifndef XPORT_LABS_DESK_H
#define XPORT_LABS_DESK_H

#include "line.h"

enum { NOTES = 12, SMALL = 8 /* bytes: a message that is copied into the staging */ };

struct desk;

/* A message that goes out: on connection `end`, the number `number` of those. */
struct note {
	struct desk *desk;
	int end;
	uint32_t number;
	struct ksock_tx tx;
	struct lnet_payload payload;
	struct lnet_iov *pieces;
	char *bytes;
	int32_t told;
	ntstatus status;
	struct kevent done;
};

struct desk {
	struct line line;
	struct lnet_node *node;
	struct lnet_portal portals[2];
	struct ksock_peer *peers[LINE_ENDS];
	struct ksock_conn *conns[LINE_ENDS]; /* NULL: deleted */
	uint32_t given[LINE_ENDS];
	struct note notes[NOTES];
	uint32_t note_count;

	/* The portal's owner. */
	uint32_t says_not_now; /* so many times */
	bool resumes_at_once;
	void (*meanwhile)(struct desk *desk); /* what else happens in that turn, once */
	struct lnet_incoming *kept;
	uint32_t asked;
	uint32_t read; /* messages that have come in */
	struct kevent came;
};

/* With so many connections, 1 or 2. */
struct desk *open_desk(int ends);

/* Closes what is not closed; everybody must have let go of everything. */
void close_desk(struct desk *desk);

/* The scheduler of both connections. */
struct ksock_sched *sched_of(struct desk *desk);

/* What a scheduler and a connection look like, all at one moment. */
struct look {
	int rx_conns, tx_conns, batches;
	uint32_t references;
	bool woken; /* the work item is queued again */
};

struct look look_at(struct desk *desk, int end);

/* Gives a message of so many pieces of so many bytes. */
struct note *give(struct desk *desk, int rule, int end, uint32_t pieces, uint32_t piece_bytes);

/* It is called back, with this status. */
void expect_told(struct note *note, int rule, ntstatus status);

/* A message without payload comes in; up to DISPATCH. And so many have been read in all. */
void show(struct desk *desk, int end);
void expect_read(struct desk *desk, int rule, uint32_t count);

/* Waits until the scheduler has nothing to do. */
void settle(struct desk *desk, int rule);

void close_conn(struct desk *desk, int rule, int end);

/* Somebody lets go of a connection as the last; it is deleted. */
void bury(struct desk *desk, int rule);

/*
 * On a connection of its own: one message that goes out at once, while the transport keeps sends;
 * then `count` large ones and a small one, with `lent` more batches that are idle. All arrive.
 */
void keep_order(int count, uint32_t large, int lent);

#endif
