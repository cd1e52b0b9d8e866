#ifndef XPORT_OUTPUT_H
#define XPORT_OUTPUT_H

/*
 * A file that appears under its name only when it is whole. Until then it is written under another
 * name in the same directory, ".NAME.XXXXXX.part"; a process that is killed leaves that behind, and
 * whatever had the name NAME before stays as it was.
 */

#include <stdbool.h>

struct output {
	int fd;
	char *path; /* what the file will be called, symbolic links followed */
	char *part; /* what it is called until then */
};

/*
 * Creates the partial file for `path`. Only one output is open at a time. Returns XPORT_OK, or
 * XPORT_FAILED with a line printed: a directory, no permission, no such directory, not a regular
 * file.
 */
int output_open(struct output *output, const char *path);

/* Writes everything to the disk and gives the file its name. Closes the output; as above. */
int output_commit(struct output *output);

/* Removes the partial file and closes the output. */
void output_discard(struct output *output);

/*
 * Removes the partial file of the output that is open, if any, and sees to it that none is
 * committed or opened any more: for a process about to exit, from any thread.
 */
void output_discard_any(void);

#endif
