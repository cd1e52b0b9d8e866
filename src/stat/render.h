/*
 * What a snapshot says: laws and percentiles, and the texts of which `xportfs` makes files and
 * `xport stat` prints. All texts are lines of "key value", for people, cat and awk alike:
 *
 *      info            what the header says
 *      all             time_ns, ROOM/OBJECT.N/KEY of every block, and consistent
 *      block           time_ns, state, consistent, a line for each key, a line for each law
 *      counter         a number; of a histogram: upper bound and count of the used buckets, then
 *                      count, sum and percentiles
 *
 * The keys of a block are its counters, for a histogram NAME_ns those of NAME_count, NAME_sum_ns,
 * NAME_p50_ns, NAME_p90_ns and NAME_p99_ns, and what is under way: in_flight is the difference of
 * the two counters of a law that says they are equal in the end. Where several laws say so, there
 * is an in_flight_FIRST for each, and none for histograms, whose samples are no station.
 */
#ifndef XPORT_STAT_RENDER_H
#define XPORT_STAT_RENDER_H

#include "stat/read.h"

/* An upper bound of what `percent` of a histogram's samples did not exceed; 0 without samples. */
uint64_t stat_percentile(const struct stat_counter_copy *histogram, unsigned percent);

/* The largest sample that belongs in the bucket; the last has no bound: UINT64_MAX. */
uint64_t stat_bucket_upper(uint32_t bucket);

enum stat_verdict { STAT_LAW_HOLDS, STAT_LAW_BROKEN, STAT_LAW_UNKNOWN };

/*
 * Whether a law holds in the snapshot: the first count is never behind the second, and when the
 * block has ended, or the caller knows it to be idle, they are equal if the law says so. Unknown
 * when the snapshot is not consistent.
 */
enum stat_verdict stat_check_law(const struct stat_block_copy *block, uint32_t law, bool idle);

/* How many laws are broken, and in *which the first of them. */
unsigned stat_check_laws(const struct stat_block_copy *block, bool idle, uint32_t *which);

/* ---- Text ---------------------------------------------------------------------------------- */

/* What has no end, because a hostile segment made it so, is cut here. */
enum { STAT_LARGEST_TEXT = 4 << 20 };

/* Begins all zero; the bytes are to be freed. Writing from the start again keeps them. */
struct stat_text {
	char *bytes;
	size_t length;
	size_t room;
	bool failed; /* no memory, or longer than STAT_LARGEST_TEXT; something is missing */
};

void stat_say(struct stat_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* These append. 0 or the error of the reader. */
int stat_render_info(struct stat_text *text, struct stat_reader *reader);
int stat_render_all(struct stat_text *text, struct stat_reader *reader);
void stat_render_block(struct stat_text *text, const struct stat_block_copy *block);
void stat_render_counter(struct stat_text *text, const struct stat_counter_copy *counter);

/* What the file of a counter is called: a histogram's without its unit. */
void stat_counter_file(char name[32], const struct stat_counter_copy *counter);

struct stat_line {
	char key[64];
	uint64_t value;
	const char *unit; /* "" where it has none */
	const char *help; /* of the counter; "" where it has none */
};

/* Calls take for each key of the block. */
void stat_each_line(const struct stat_block_copy *block,
		    void (*take)(void *context, const struct stat_line *line), void *context);

/* "posted>=callbacks" */
void stat_law_text(char text[80], const struct stat_block_copy *block, uint32_t law);

/* "ok", "BROKEN" or "unknown". */
const char *stat_verdict_text(enum stat_verdict verdict);

/* A time of the segment's clock as that of the calendar, in ns since 1970. */
uint64_t stat_calendar_ns(const struct stat_process *process, uint64_t time_ns);

#endif
