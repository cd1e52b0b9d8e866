#ifndef XPORT_OUTPUT_H
#define XPORT_OUTPUT_H

/*
 * A file that appears under its name only when it is whole. Until then it is written under another
 * name in the same directory, ".NAME.XXXXXX.part"; a process that is killed leaves that behind, and
 * whatever had the name NAME before stays as it was. One that is resumed stays on purpose.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ke/list.h"

/* Stays in place while it is open. Many can be. */
struct output {
	int fd;
	char *path; /* what the file will be called, symbolic links followed */
	char *part; /* what it is called until then */
	bool fresh; /* what has that name stays, and the file gets another, which is `path` then */
	struct list_entry entry;
};

/*
 * Creates the partial file for `path`, which it will replace. Returns XPORT_OK, or XPORT_FAILED
 * with a line printed: a directory, no permission, no such directory, not a regular file.
 */
int output_open(struct output *output, const char *path);

/*
 * Creates the partial file for a new one, which will be called `path`, or, where there is one
 * already, `path`.1, .2 and so on. Returns 0 or an errno.
 */
int output_open_fresh(struct output *output, const char *path);

/* Whether there can be a file of this name: XPORT_OK, or XPORT_FAILED with a line printed. */
int output_check(const char *path);

/*
 * Opens what there is of `path`, or creates it, under a name that is found again by the id,
 * ".NAME.ID.part", and tells how many bytes it has. It is written at its end, by one process at a
 * time (EWOULDBLOCK: by another), and stays, whatever happens, until it has its name. Returns 0 or
 * an errno.
 */
int output_resume(struct output *output, const char *path, uint64_t id, uint64_t *bytes);

/* All of it, or an errno. */
int output_write(int fd, const char *bytes, size_t count);

/* Writes everything to the disk and gives the file its name. Returns 0 or an errno. */
int output_name(struct output *output);

/* The same, and closes the output. XPORT_OK, or XPORT_FAILED with a line printed. */
int output_commit(struct output *output);

/* Closes an output that has its name. */
void output_close(struct output *output);

/* Removes the partial file and closes the output. */
void output_discard(struct output *output);

/*
 * Removes the partial files of all that are open, and sees to it that none is committed or opened
 * any more: for a process about to exit, from any thread.
 */
void output_discard_any(void);

#endif
