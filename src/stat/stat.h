/*
 * stat - counters that cost the data path nothing and outlive the process that wrote them.
 *
 * The life of a block. An object of a room above owns a block: the values of one static table of
 * counters, in a segment, for everybody to read (read.h). It begins the block with stat_add_block,
 * counts with the inline functions below, and ends it with stat_remove_block. A block that is all
 * zero, or found no segment or no room in it, counts nothing, at the price of a branch: the owner
 * need not ask. A removed block stays readable in the segment until its slot is wanted again, after
 * STAT_COOLING_NS at least.
 *
 * Who may write. A counter has one writer at a time, as a lock of the owner's sees to, and then
 * stat_count is a load and a store; or several at once, and then stat_count_shared is one locked
 * instruction. Counters only grow; how much is under way is the difference of two, and the reader's
 * to take.
 *
 * What a reader sees. There is no lock, and a snapshot is not one moment. But counts that follow
 * each other are comparable: a table lists its counters in the order in which things happen, a
 * request is counted at each station before it can come to the next, every count is a release, and
 * readers take the values from the last to the first with acquire. So a reader that sees a request
 * at one station sees it at all stations before. That is what the laws of a table say, each about
 * two independent counts: the first is never behind the second, and when all is over they are
 * equal.
 *
 * Sources: Varnish's VSM and VSC (the segment, the cooling-off), VPP's stats segment (the epoch),
 * Performance Co-Pilot's MMV (tables that describe themselves).
 */
#ifndef XPORT_STAT_STAT_H
#define XPORT_STAT_STAT_H

#include "ke/ke.h"

enum stat_kind {
	STAT_COUNTER,	/* only grows */
	STAT_INSTANT,	/* a level */
	STAT_HISTOGRAM, /* takes STAT_HISTOGRAM_VALUES values, see stat_record */
};

/*
 * A histogram's values: bucket b counts the samples of b significant bits, 2^(b-1) up to 2^b - 1,
 * the last bucket all longer ones too; then comes the sum of all samples.
 */
enum { STAT_BUCKETS = 48, STAT_HISTOGRAM_VALUES = STAT_BUCKETS + 1 };

struct stat_counter {
	const char *name; /* with its unit as suffix where it has one: sent_bytes, latency_ns */
	enum stat_kind kind;
	uint32_t value;	  /* index of its (first) value in the block */
	const char *unit; /* "bytes", "ns", or what is counted: "sends" */
	const char *help; /* one line */
};

/* Counter `first` is never behind `second`, by position in the table; histograms by their total. */
struct stat_law {
	uint32_t first;
	uint32_t second;
	bool equal_at_end; /* and equal once the block was removed */
};

/* One for each kind of object, static and constant: it is known by its address. */
struct stat_table {
	const char *room;
	const char *object;
	uint32_t counter_count;
	uint32_t law_count;
	uint32_t value_count;
	const struct stat_counter *counters; /* in the order in which things happen */
	const struct stat_law *laws;
};

struct stat_segment;

/* Embedded in the object that it counts for; values first, the path of a count goes no further. */
struct stat_block {
	uint64_t *values; /* NULL: nothing is counted */
	struct stat_segment *segment;
	uint32_t slot;
};

#define STAT_COOLING_NS UINT64_C(60000000000)

/*
 * Begins a block with all values 0 in the segment; without one (NULL), or without room in it, a
 * block that counts nothing. Up to DISPATCH.
 */
void stat_add_block(struct stat_block *block, struct stat_segment *segment,
		    const struct stat_table *table);

/* Nobody counts in it any more; its last values stay to be read. Up to DISPATCH. */
void stat_remove_block(struct stat_block *block);

/* ---- Counting: any IRQL, no call, no lock --------------------------------------------------- */

static inline bool stat_is_counted(const struct stat_block *block)
{
	return block->values != NULL;
}

/* A level, or a count that is kept elsewhere. One writer at a time. */
static inline void stat_set(struct stat_block *block, uint32_t value, uint64_t to)
{
	/* Release: who reads this count and then an earlier one finds that counted too. */
	if (stat_is_counted(block))
		__atomic_store_n(&block->values[value], to, __ATOMIC_RELEASE);
}

/* One writer at a time. */
static inline void stat_count(struct stat_block *block, uint32_t value, uint64_t by)
{
	if (stat_is_counted(block))
		stat_set(block, value,
			 __atomic_load_n(&block->values[value], __ATOMIC_RELAXED) + by);
}

/* Any number of writers. Returns the count before, 0 when nothing is counted. */
static inline uint64_t stat_count_shared(struct stat_block *block, uint32_t value, uint64_t by)
{
	return stat_is_counted(block)
		       ? __atomic_fetch_add(&block->values[value], by, __ATOMIC_RELEASE)
		       : 0;
}

/* One more sample of the histogram whose first value is `value`. Any number of writers. */
static inline void stat_record(struct stat_block *block, uint32_t value, uint64_t sample)
{
	uint32_t bits = sample == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(sample);

	stat_count_shared(block, value + STAT_BUCKETS, sample);
	stat_count_shared(block, value + (bits < STAT_BUCKETS ? bits : STAT_BUCKETS - 1), 1);
}

/* The time, for a sample to come; 0, and no clock is read, when nothing is counted. */
static inline uint64_t stat_time(const struct stat_block *block)
{
	return stat_is_counted(block) ? ke_query_interrupt_time() : 0;
}

/* For tests and tools: what the counter says now. */
static inline uint64_t stat_read(const struct stat_block *block, uint32_t value)
{
	return stat_is_counted(block) ? __atomic_load_n(&block->values[value], __ATOMIC_ACQUIRE)
				      : 0;
}

/* ---- Segments ------------------------------------------------------------------------------ */

/*
 * Makes a segment of `bytes` bytes (a multiple of 64) of zeroed memory, aligned to 64, which is the
 * caller's and stays in place until the last block was removed; afterwards it can go, or be kept to
 * be read. NULL when it is too small or too large. publish.h does this with memory that other
 * processes can map. PASSIVE_LEVEL.
 */
enum { STAT_SMALLEST_SEGMENT = 64 * 1024 };

struct stat_segment *stat_format_segment(void *memory, size_t bytes, const char *name,
					 uint32_t process);

/* The writer is alive: notes the time in the segment (NULL: nothing to do). Any IRQL. */
void stat_beat(struct stat_segment *segment);

#endif
