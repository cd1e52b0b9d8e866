/*
 * Counters in a test: a segment in the pool, in which devices count, and a look at its laws. The
 * test wrote the segment itself, so unlike read.h this takes its layout for granted.
 */
#ifndef XPORT_TESTS_LAWS_H
#define XPORT_TESTS_LAWS_H

#include "stat/stat.h"

struct counted {
	char *memory;
	char *bytes; /* the segment, within `memory` */
	struct stat_segment *segment;
};

/* Ends the test program when there is no memory. */
void begin_counted(struct counted *counted);

/* How many laws do not hold, as if all was over; each is printed. */
unsigned count_broken_laws(const struct counted *counted);

/* Fails the test for every law that does not hold, and for every block that was not removed. */
void end_counted(struct counted *counted);

/* The sum of a counter over all blocks of the room; fails the test if there is none. */
uint64_t sum_of(const struct counted *counted, const char *room, const char *counter);

#endif
