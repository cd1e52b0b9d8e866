/*
 * Reading the counters of other processes: of this user, alive or dead, in good order or not.
 *
 * A segment is a file that its writer can change, cut short or fill with anything while it is read.
 * So nothing in it is believed: every number is copied first and the copy is checked, each time it
 * is used; every offset is checked against what was mapped; names are short and made of
 * [a-z0-9_.-]; a file that was cut short is an error and not a signal; and what keeps changing is
 * retried STAT_READ_RETRIES times, then served with `consistent` false, for a writer that was
 * killed half-way leaves its segment so for ever. Only copies leave this file.
 *
 * Order. The values of a block are read from the table's last counter to its first, with acquire:
 * so a law (stat.h) that does not hold in a snapshot was broken by the writer. The buckets of a
 * histogram are read before its sum, which therefore has all samples that the buckets have.
 *
 * A reader is used by one thread at a time; several readers by several threads. As long as any is
 * open, SIGBUS is caught; faults that are not of a reader go to the action that was there before,
 * which is put back with the last one. Nobody else may set one meanwhile. Errors are errno
 * values: ENOENT (no such segment or block, or no longer), EBADMSG (damaged), EIO (cut short),
 * EPERM (not a private file of this user), and what the system says.
 */
#ifndef XPORT_STAT_READ_H
#define XPORT_STAT_READ_H

#include "stat/stat.h"

enum {
	STAT_READ_RETRIES = 16,
	STAT_MOST_COUNTERS = 32, /* a table with more is taken for damaged, and so with laws */
	STAT_MOST_LAWS = 32,
	STAT_MOST_SLOTS = 16384, /* further blocks are not looked at */
	STAT_FILE_NAME = 64,	 /* room for NAME.PID */
};

struct stat_reader;

/* Calls take(context, "NAME.PID") for each file that may be a segment, by name. 0 or the errno. */
int stat_each_segment(void (*take)(void *context, const char *name), void *context);

/* Opens and maps the segment of that name. 0 or the errno, and then *reader is NULL. */
int stat_open_reader(struct stat_reader **reader, const char *name);
void stat_close_reader(struct stat_reader *reader);

/* Whether the name is still that of this file: not of another one, and not of none. */
bool stat_is_current(const struct stat_reader *reader);

/* Whether the writer lives. One system call or two; does not disturb it. */
bool stat_is_live(const struct stat_reader *reader);

/* What the header says; times are CLOCK_MONOTONIC of the boot in which it was written. */
struct stat_process {
	char name[32]; /* printable, and perhaps not what the file is called */
	char boot_id[40];
	uint32_t process;
	uint32_t version;
	uint32_t slots; /* blocks are in slots 0 to slots - 1 */
	uint64_t epoch;
	uint64_t begun_ns;
	uint64_t heartbeat_ns;
	uint64_t begun_realtime_ns;
	uint64_t blocks_refused;
	bool consistent; /* no block is just being added or removed */
};

int stat_read_process(struct stat_reader *reader, struct stat_process *process);

struct stat_counter_copy {
	char name[32];
	char unit[16]; /* printable, and so is the help */
	char help[104];
	enum stat_kind kind;
	uint32_t value;
	uint64_t count; /* what it says; of a histogram, the number of samples */
	uint64_t sum;	/* of a histogram */
	uint64_t buckets[STAT_BUCKETS];
};

struct stat_block_copy {
	char room[16];
	char object[16];
	uint32_t instance;
	uint32_t slot;
	uint32_t table_offset;
	uint32_t values_offset;
	bool ended;
	bool consistent;  /* the values belong to this block, all of them */
	uint64_t time_ns; /* when they were read */
	uint64_t added_ns;
	uint64_t removed_ns; /* of one that has ended */
	uint32_t counter_count;
	uint32_t law_count;
	struct stat_counter_copy counters[STAT_MOST_COUNTERS];
	struct stat_law laws[STAT_MOST_LAWS];
};

/*
 * Describes the block in a slot and reads its values. 0, or ENOENT when there is none in it, or
 * another error and then it is to be skipped.
 */
int stat_read_block(struct stat_reader *reader, uint32_t slot, struct stat_block_copy *block);

/*
 * Reads values of a block described before once more: those of counters [first, end). ENOENT when
 * the slot is another block's by now.
 */
int stat_read_values(struct stat_reader *reader, struct stat_block_copy *block, uint32_t first,
		     uint32_t end);

#endif
