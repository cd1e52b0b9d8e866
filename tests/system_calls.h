/*
 * Lets a test have the kernel refuse a system call, as it does when it runs out of something. The
 * test program has its own functions of these names, which stand before the C library's and pass
 * on to them all that is not to be refused. And it counts how the executive waits.
 */
#ifndef XPORT_TESTS_SYSTEM_CALLS_H
#define XPORT_TESTS_SYSTEM_CALLS_H

#include <stdint.h>

enum refusable_call { CALL_ACCEPT4, CALL_CONNECT, CALL_EPOLL_ADD, REFUSABLE_CALLS };

/* The next such call fails with `error`, whoever makes it. */
void refuse_next(enum refusable_call call, int error);

/* All such calls fail with `error`, until this is called again with 0. */
void refuse_all(enum refusable_call call, int error);

/* How often the executive has asked for events so far: with time to wait for them, and without. */
struct event_waits {
	uint64_t parked;
	uint64_t asked;
};

struct event_waits count_event_waits(void);

#endif
