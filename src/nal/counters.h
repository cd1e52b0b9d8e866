/*
 * What the message layer counts. A scheduler's two blocks are written under its lock, at the end of
 * each turn; the node's under the node's lock.
 */
#ifndef XPORT_NAL_COUNTERS_H
#define XPORT_NAL_COUNTERS_H

#include "nal/wire.h"
#include "stat/stat.h"

/* "message": what has been read. */
enum {
	LNET_READ_MESSAGES,
	LNET_READ_ACK,
	LNET_READ_PUT,
	LNET_READ_GET,
	LNET_READ_REPLY,
	LNET_READ_DROPPED,
	LNET_READ_NOOP,
	LNET_READ_PAYLOAD,
	LNET_READ_SLOP,
	LNET_READ_VALUES,
};

/* "scheduler": turns, and what was sent in them. */
enum {
	LNET_SCHED_WAKEUPS,
	LNET_SCHED_RX_TURNS,
	LNET_SCHED_TX_TURNS,
	LNET_SCHED_BATCHES,
	LNET_SCHED_AGAIN,
	LNET_SCHED_ACTIVATIONS,
	LNET_SCHED_MESSAGES,
	LNET_SCHED_BYTES,
	LNET_SCHED_ALLOCATIONS,
	LNET_SCHED_VALUES,
};

/* "message", of the node: its connections, and why peers were refused. */
enum {
	LNET_COUNTS_CALLED,
	LNET_COUNTS_ACCEPTED,
	LNET_COUNTS_ENDED,
	LNET_COUNTS_REFUSED,
	LNET_COUNTS_REASONS, /* by enum lnet_wire_reason */
	LNET_COUNTS_VALUES = LNET_COUNTS_REASONS + LNET_WIRE_REASONS,
};

extern const struct stat_table lnet_message_table;
extern const struct stat_table lnet_scheduler_table;
extern const struct stat_table lnet_node_table;

#endif
