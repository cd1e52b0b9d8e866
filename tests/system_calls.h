/*
 * Lets a test have the kernel refuse a system call, as it does when it runs out of something. The
 * test program has its own functions of these names, which stand before the C library's and pass
 * on to them all that is not to be refused.
 */
#ifndef XPORT_TESTS_SYSTEM_CALLS_H
#define XPORT_TESTS_SYSTEM_CALLS_H

enum refusable_call { CALL_ACCEPT4, CALL_CONNECT, CALL_EPOLL_ADD, REFUSABLE_CALLS };

/* The next such call fails with `error`, whoever makes it. */
void refuse_next(enum refusable_call call, int error);

/* All such calls fail with `error`, until this is called again with 0. */
void refuse_all(enum refusable_call call, int error);

#endif
