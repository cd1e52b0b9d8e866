/*
 * What the client stages count, in the blocks of the file that they transfer on.
 *
 * A transfer has two stations, which nobody else counts: it is begun, just before io_call_driver,
 * and it has ended, in its completion routine or when its thread has woken, before the client is
 * told. So when the client knows of all its transfers, the counters do too, and it may close the
 * file. A transfer that could not be begun, for want of memory or with a bad buffer, is not
 * counted.
 */
#ifndef XPORT_TDI_COUNTERS_H
#define XPORT_TDI_COUNTERS_H

#include "io/io.h"

/* Which of a connection's client blocks is whose. */
enum { TDI_COUNTS_SEND_SYNC, TDI_COUNTS_SEND_ASYNC };

extern const struct stat_table tdi_send_sync_table;
extern const struct stat_table tdi_send_async_table;
extern const struct stat_table tdi_daemon_table;

/* A daemon's counts, each written with the daemon's lock held. */
enum {
	TDI_DAEMON_CALLED,
	TDI_DAEMON_REFUSED,
	TDI_DAEMON_ACCEPTED,
	TDI_DAEMON_SETTLED,
	TDI_DAEMON_FAILED,
	TDI_DAEMON_ESTABLISHED,
	TDI_DAEMON_TAKEN,
	TDI_DAEMON_DROPPED,
	TDI_DAEMON_VALUES,
};

/* What a send window counts, under its lock; of the sends, only those that wait in it. */
enum {
	TDI_FLOW_POSTED,
	TDI_FLOW_PIECES,
	TDI_FLOW_ANSWERED,
	TDI_FLOW_REFUSED,
	TDI_FLOW_SHORT,
	TDI_FLOW_POSSIBLE,
	TDI_FLOW_CALLED_BACK,
	TDI_FLOW_FAILED,
	TDI_FLOW_SENT_BYTES,
	TDI_FLOW_VALUES,
};

extern const struct stat_table tdi_flow_control_table;

/* What a receive queue counts in a block of its own, under its lock. */
enum tdi_receive_counter {
	TDI_COUNTS_INDICATED,
	TDI_COUNTS_CHAINED,
	TDI_COUNTS_REFUSED,
	TDI_COUNTS_RECEIVES,
	TDI_COUNTS_RECEIVED,
	TDI_COUNTS_TAKEN,
	TDI_COUNTS_COPIED,
	TDI_COUNTS_LENT,
	TDI_COUNTS_LOANS,
	TDI_COUNTS_CONSUMED,
	TDI_COUNTS_DISCARDED,
	TDI_COUNTS_RETURNED,
	TDI_RECEIVE_COUNTERS
};

extern const struct stat_table tdi_receive_table;

/*
 * How many of the asynchronous sends are timed: reading the clock twice costs as much as all the
 * counting, and more than a tenth of a small send.
 */
enum { TDI_TIMED_OF = 16 };

/*
 * Counts a transfer that begins. Returns its time, for the end, if it is one of those that are
 * timed, the first and then each `every`th; otherwise 0. Any IRQL.
 */
uint64_t tdi_count_begin(struct stat_block *block, uint32_t every);

/* Counts its end, with what came of it. Any IRQL. */
void tdi_count_end(struct stat_block *block, uint64_t begun_ns,
		   const struct io_status_block *result);

#endif
