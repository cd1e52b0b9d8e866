#ifndef XPORT_SIDES_H
#define XPORT_SIDES_H

/*
 * The two sides of a wan: a network namespace each, with TCP tuned and a TUN device that is up. All
 * of this runs in the process that becomes the relay, see wan.c.
 */

#include <stddef.h>

struct relay_setup;

/* Where the line goes that says why something failed. */
struct report {
	char *line;
	size_t size;
};

/* Writes the line; returns -1. */
int report_failure(struct report report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Closes a descriptor, if it is one, and leaves errno as it was. */
void close_keeping_errno(int fd);

/*
 * Makes both sides and fills their descriptors in; leaves the process in side b, and in a user
 * namespace of its own where that was needed. Returns 0 or -1.
 */
int wan_make_sides(struct relay_setup *setup, struct report report);

#endif
