/*
 * Publishing: a segment in a file that other processes of the same user can read. For the process
 * itself (the commands, a test), never for the rooms: they are given the segment by their options.
 *
 * The file appears under its name, DIRECTORY/NAME.PROCESS, when it is whole, and is locked
 * exclusively from before then until the process ends, in whatever way. So a reader that gets a
 * shared lock knows that the writer is dead, whatever has become of its process id. An orderly end
 * removes the file; another leaves it to be read, until stat_reap finds it too old.
 */
#ifndef XPORT_STAT_PUBLISH_H
#define XPORT_STAT_PUBLISH_H

#include "stat/stat.h"

/* How long the counters of a process that crashed stay. */
#define STAT_DEAD_NS UINT64_C(600000000000)

struct stat_publication {
	struct stat_segment *segment; /* for the options of devices; NULL when not published */
	void *memory;
	int fd;
	char path[256];
};

/*
 * Where this user's segments are: $XDG_RUNTIME_DIR/xport-UID, or /dev/shm/xport-UID without one.
 * Makes it when `make`. Returns 0, or the errno: EPERM when it is there but not this user's alone.
 */
int stat_directory(char *path, size_t room, bool make);

/*
 * Makes and shows a segment. Returns 0 or the errno, and then publication->segment is NULL: a
 * process that can't publish works all the same. The executive need not run; forks of the
 * process hold the lock too, so publish after forking.
 */
int stat_publish(struct stat_publication *publication, const char *name);

/* The orderly end, after the last block was removed; does nothing for one that is not published. */
void stat_withdraw(struct stat_publication *publication);

/* Removes the files of writers that have been dead for STAT_DEAD_NS. */
void stat_reap(void);

#endif
