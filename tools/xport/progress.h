#ifndef XPORT_PROGRESS_H
#define XPORT_PROGRESS_H

/*
 * One line on standard error that shows how far a transfer is:
 *
 *   [##########..........]  50%  537 MB  812 MB/s  0:01 left
 *
 * Only when standard error is a terminal; otherwise nothing is ever printed.
 */

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown; /* standard error is a terminal */
	uint64_t total_bytes;
	uint64_t drawn_ns; /* when the line was drawn last, 0 if never */
	uint64_t drawn_bytes;
	double rate; /* bytes a second, smoothed */
};

/* total_bytes 0: not known, then there is no bar. */
void progress_begin(struct progress *progress, uint64_t total_bytes);

/* So many bytes are done. Draws at most ten times a second, so it can be called at any rate. */
void progress_update(struct progress *progress, uint64_t bytes);

/* Takes the line away. */
void progress_end(struct progress *progress);

#endif
