#include "system_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* 0: not to be refused. */
static int next_errors[REFUSABLE_CALLS], all_errors[REFUSABLE_CALLS];

void refuse_next(enum refusable_call call, int error)
{
	__atomic_store_n(&next_errors[call], error, __ATOMIC_RELAXED);
}

void refuse_all(enum refusable_call call, int error)
{
	__atomic_store_n(&all_errors[call], error, __ATOMIC_RELAXED);
}

static bool is_refused(enum refusable_call call)
{
	int error = __atomic_exchange_n(&next_errors[call], 0, __ATOMIC_RELAXED);

	if (error == 0)
		error = __atomic_load_n(&all_errors[call], __ATOMIC_RELAXED);
	if (error != 0)
		errno = error;
	return error != 0;
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
	int (*next)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");

	return is_refused(CALL_ACCEPT4) ? -1 : next(fd, address, length, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");

	return is_refused(CALL_CONNECT) ? -1 : next(fd, address, length);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	int (*next)(int, int, int, struct epoll_event *) = dlsym(RTLD_NEXT, "epoll_ctl");

	if (operation == EPOLL_CTL_ADD && is_refused(CALL_EPOLL_ADD))
		return -1;
	return next(epoll_fd, operation, fd, event);
}

static struct event_waits waits;

struct event_waits count_event_waits(void)
{
	return (struct event_waits){__atomic_load_n(&waits.parked, __ATOMIC_RELAXED),
				    __atomic_load_n(&waits.asked, __ATOMIC_RELAXED)};
}

int epoll_pwait2(int fd, struct epoll_event *events, int count, const struct timespec *timeout,
		 const sigset_t *signals)
{
	static int (*next)(int, struct epoll_event *, int, const struct timespec *,
			   const sigset_t *);
	bool waits_for_it = timeout == NULL || timeout->tv_sec > 0 || timeout->tv_nsec > 0;

	if (__atomic_load_n(&next, __ATOMIC_RELAXED) == NULL)
		__atomic_store_n(&next, dlsym(RTLD_NEXT, "epoll_pwait2"), __ATOMIC_RELAXED);
	__atomic_fetch_add(waits_for_it ? &waits.parked : &waits.asked, 1, __ATOMIC_RELAXED);
	return next(fd, events, count, timeout, signals);
}
