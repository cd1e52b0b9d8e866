/*
 * Ending on a signal, see interrupt.h.
 *
 * The thread does not ask the others to stop, because they may be blocked where nothing reaches
 * them, in a read of a pipe that stays silent. It leaves the process. That ends the connection with
 * a reset, so that the peer does not take half a stream for a whole one, and the file that is being
 * written has a name of its own until it is whole: nothing else needs to be put in order. A job
 * that can end in better order than that asks for the first signal, and looks for it itself.
 */
#include "interrupt.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "counters.h"
#include "output.h"
#include "xport.h"

static const struct {
	int number;
	const char *name;
} watched[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}};

enum { WATCHED_COUNT = sizeof(watched) / sizeof(watched[0]) };

static sigset_t signals; /* those of `watched` that are not ignored; does not change once set */

static atomic_bool ask_first, asked;

/* The first that has come, as an index of `watched`; WATCHED_COUNT if none has. */
static size_t find_pending(void)
{
	sigset_t pending;
	size_t i = 0;

	sigpending(&pending);
	while (i < WATCHED_COUNT && !(sigismember(&signals, watched[i].number) == 1 &&
				      sigismember(&pending, watched[i].number) == 1))
		i++;
	return i;
}

/*
 * The signal that ends the process is looked at, never taken: so it stays pending for
 * interrupt_check, and there is no moment in which it has come and nobody can tell.
 */
static void *watch(void *context)
{
	struct pollfd ready = {.fd = *(int *)context, .events = POLLIN};
	struct signalfd_siginfo taken;
	size_t i;

	for (;;) {
		i = find_pending();
		if (i == WATCHED_COUNT)
			poll(&ready, 1, -1);
		else if (!ask_first || asked)
			break;
		else if (read(ready.fd, &taken, sizeof(taken)) == (ssize_t)sizeof(taken))
			asked = true;
	}
	output_discard_any();
	counters_withdraw_any();
	flockfile(stderr); /* for good: nobody draws a progress line after this one */
	fail("ended by %s", watched[i].name);
	_exit(128 + watched[i].number);
}

void interrupt_ask_first(void)
{
	ask_first = true;
}

bool interrupt_asked(void)
{
	return asked;
}

void interrupt_check(void)
{
	while (find_pending() != WATCHED_COUNT)
		pause(); /* the other thread is about to end this one, too */
}

static void choose_signals(void)
{
	sigemptyset(&signals);
	for (size_t i = 0; i < WATCHED_COUNT; i++) {
		struct sigaction action;

		if (sigaction(watched[i].number, NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN)
			sigaddset(&signals, watched[i].number);
	}
}

static int start_watching(void)
{
	static int fd; /* the thread reads it for as long as the process lives */
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	signal(SIGPIPE, SIG_IGN);
	choose_signals();
	error = pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (error != 0)
		return error;
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0)
		return errno;
	error = pthread_attr_init(&attributes);
	if (error != 0)
		return error;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, watch, &fd);
	pthread_attr_destroy(&attributes);
	return error;
}

int interrupt_watch(void)
{
	int error = start_watching();

	return error == 0 ? XPORT_OK : fail("cannot start a thread: %s", strerror(error));
}
