#ifndef XPORT_SENDER_H
#define XPORT_SENDER_H

/*
 * Sends a file, or memory, over a connection, one send at a time (stage 02), with many under way
 * (stage 03), or with many that wait for room (stage 04), and measures what came of it.
 *
 * The measurement. A transfer begins with an empty pipe and ends with one that drains, and neither
 * says how fast it is in between. So the rate is taken over a window, which opens when
 * SEND_WARM_UP_ROUNDS x depth blocks have completed, and which must be at least as long as that.
 */

#include "tdi/counters.h"
#include "tdi/stream.h"

enum { SEND_WARM_UP_ROUNDS = 16 };

enum send_mode { SEND_SYNC, SEND_ASYNC, SEND_NONBLOCKING };

struct send_options {
	enum send_mode mode;
	uint32_t depth;	      /* sends under way at most; SEND_SYNC has one whatever this says */
	uint32_t block_bytes; /* a send's length; a short read makes a short send */
	uint64_t limit_bytes; /* stop after so many; 0: at the end of the source */

	/*
	 * SEND_NONBLOCKING: the connection's window. Who learns that the connection is broken must
	 * end it, for a send that waits for room is nothing that the transport could complete.
	 */
	struct tdi_send_window *window;

	/* The source: memory when `memory` is not NULL, else `fd` from where it stands. */
	int fd;
	const void *memory;
	uint64_t memory_bytes;

	/*
	 * With `watch_stop`, a descriptor that becomes readable when it is of no use to wait for
	 * `fd` any longer; for sources that may be silent for long, like a pipe.
	 */
	bool watch_stop;
	int stop_fd;
};

struct send_report {
	uint64_t bytes;	 /* in sends that completed with success */
	uint64_t blocks; /* such sends */
	int file_error;	 /* the errno for which the source could not be read, or 0 */

	/* ke_query_interrupt_time when ...; 0 if it never came to that. */
	uint64_t first_start_ns;      /* the first send was started */
	uint64_t first_completion_ns; /* the first completed */
	uint64_t last_completion_ns;  /* the last completed */

	/* Over the window; over everything when the transfer was too short to have one. */
	bool window_too_short;
	double seconds;
	double bytes_per_second;
	double effective_depth; /* sends under way, averaged over time, until the last started */

	uint64_t window[TDI_FLOW_VALUES]; /* what the window has counted; else all zero */
};

/*
 * Sends until the end of the source and waits until every send has completed, which for a transport
 * that buffers is before the peer has it all. The connection is neither released nor closed; but
 * after an error it has been aborted. System thread, PASSIVE_LEVEL.
 *
 * Returns STATUS_SUCCESS; the status of the first send that failed; STATUS_CANCELLED when the
 * source could not be read, with report->file_error saying why, or when stop_fd became readable;
 * STATUS_INSUFFICIENT_RESOURCES.
 * The report is filled in whatever happened.
 */
ntstatus send_file(struct file_object *connection, const struct send_options *options,
		   struct send_report *report);

#endif
