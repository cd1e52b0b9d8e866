/*
 * The transport of lab 08: it has two endpoints, ends each send as and when it is told to, and
 * reads what was sent as a peer would.
 *
 * It looks for what only a transport can see: a second send of an endpoint whose first is not over,
 * a batch that changes while the transport has it, messages that are not those which were given, in
 * their order, each whole and nothing between its parts. It completes at DISPATCH_LEVEL, always.
 */
#ifndef XPORT_LABS_LINE_H
#define XPORT_LABS_LINE_H

#include "lab.h"
#include "nal/private.h"

/* The rules of the handout. */
enum {
	RULE_ONCE = 1,
	RULE_LOOKS,
	RULE_REFERENCE,
	RULE_TAIL,
	RULE_AT_WORK,
	RULE_NO_LOCK,
	RULE_HELD,
	RULE_STARVED,
	RULE_CLOSED,
	RULE_ONE_BATCH,
	RULE_TWO_REFERENCES,
	RULE_ANSWER,
	RULE_ORDER,
	RULE_CALLBACK,
};

enum {
	LINE_ENDS = 2,
	LINE_UNREAD = 20 * 1024,
	LINE_TURN = 4, /* batches: TURN_BATCHES */
};

/* When a send completes. */
enum when { ANYHOW, AT_ONCE, PENDING_AT_ONCE, FROM_DPC, HELD };

struct line;

/* An endpoint, and what its peer has read. */
struct line_end {
	struct line *line;
	struct tdi_stream *stream; /* whose endpoint it is */
	uint32_t users;		   /* the file, and each send until its completion has returned */
	struct irp *close_irp;
	bool sending;
	struct line_send *held;
	uint32_t sends;	  /* so far */
	uint32_t have;	  /* bytes that are no whole message yet */
	uint32_t checked; /* of these, payload that is known to be right */
	char unread[LINE_UNREAD];
	bool greeted;	/* the HELLO has come */
	uint32_t puts;	/* messages that have come whole */
	uint32_t noops; /* and these */
};

struct line {
	struct device_object device;
	struct device_object node_device; /* says how many locations a batch's request needs */
	struct kspin_lock lock;
	enum when when;
	ntstatus outcome; /* of sends */
	struct line_end ends[LINE_ENDS];
	uint32_t opened;
	bool fair; /* looks who has turns while the other waits */
	struct line_end *last;
	uint32_t streak;
	struct kevent greeting;
};

void open_line(struct line *line);

/* The connection at an end. */
struct ksock_conn *conn_at(const struct line_end *end);

/* HELD: completes the send that the end holds. */
void let_go(struct line_end *end);

/* No more batches can be made, or again: their requests would need too many locations. */
void set_shortage(struct line *line, bool shortage);

/* What a piece of a message's payload is full of; how long pieces are, its hdr_data says. */
static inline char line_byte(uint64_t number, uint64_t piece)
{
	return (char)(number * 37 + piece * 11 + (piece >> 8) * 5 + 1);
}

#endif
