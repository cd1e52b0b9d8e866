#ifndef XPORT_MONITOR_H
#define XPORT_MONITOR_H

/*
 * A thread that looks at a connection a few times a second while another transfers. So the path of
 * the data carries no code for what people see, and a sender is freed from a peer that takes
 * nothing even when it waits for a single send.
 */

#include "progress.h"
#include "tdi/tdi.h"

enum monitor_direction { MONITOR_SENDING, MONITOR_RECEIVING };

struct monitor {
	struct file_object *connection;
	enum monitor_direction direction;
	uint64_t timeout_ns;
	int32_t timed_out; /* interlocked */
	struct progress progress;
	struct kevent stop;
	struct kthread thread;
};

/*
 * Shows the progress of `connection`, which must stay open until monitor_stop, towards total_bytes
 * (0: not known). When sending and timeout_ns is not 0: a peer that has left bytes unacknowledged
 * for that long, and has acknowledged no others meanwhile, is given up: the connection is aborted.
 * Returns STATUS_SUCCESS or STATUS_INSUFFICIENT_RESOURCES. System thread, PASSIVE_LEVEL.
 */
ntstatus monitor_start(struct monitor *monitor, struct file_object *connection,
		       enum monitor_direction direction, uint64_t total_bytes, uint64_t timeout_ns);

/* Whether the peer has been given up. Any IRQL. */
bool monitor_timed_out(const struct monitor *monitor);

/* Ends the thread and takes the progress line away. System thread, PASSIVE_LEVEL. */
void monitor_stop(struct monitor *monitor);

#endif
