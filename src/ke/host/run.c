/*
 * Booting and ending the host executive, and system threads.
 *
 * ke_run starts the processors, runs main on the thread that called, and then waits for quiet:
 * all processors parked with empty lists, seen with all their locks held at once, so that none can
 * bring work to another unseen. Then it stops them and looks at what was left behind.
 *
 * Signals are for the threads that the program made, so the executive's threads block them all.
 */
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "ke/host/private.h"

_Thread_local struct host_thread host_self;
struct host_state host;

void verifier_stop(const struct ke_site *site, const char *rule, const struct verifier_event *other,
		   const char *format, va_list arguments)
{
	static uint32_t stopped;
	const struct verifier_rule *known = verifier_find_rule(rule);

	while (__atomic_exchange_n(&stopped, 1, __ATOMIC_RELAXED) != 0)
		pause(); /* another thread writes its report, and ends the process */
	fprintf(stderr, "\nbug check %s: ", rule);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n  at %s:%d, IRQL %u, processor %u\n", site->file, site->line,
		host_self.irql, host_self.processor_number);
	if (other != NULL)
		fprintf(stderr, "  before: %s at %s:%d\n", other->what, other->site->file,
			other->site->line);
	if (known != NULL)
		fprintf(stderr, "  clause: %s\n  read: %s\n", known->clause, known->page);
	abort();
}

void ke_bug_check_at(const struct ke_site *site, const char *rule, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	verifier_stop(site, rule, NULL, format, arguments);
}

struct verifier_context *verifier_current(void)
{
	return &host_self.verifier;
}

unsigned ke_query_active_processor_count(void)
{
	return host.processor_count;
}

unsigned ke_get_current_processor_number(void)
{
	return host_self.processor_number;
}

unsigned ke_choose_at(unsigned alternatives, const char *what, const struct ke_site *site)
{
	(void)alternatives;
	(void)what;
	(void)site;
	return 0;
}

/* ---- System threads ------------------------------------------------------------------------ */

static int create_thread(pthread_t *thread, void *(*routine)(void *), void *context)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(thread, NULL, routine, context);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

static void choose_home(void)
{
	uint32_t turn = __atomic_fetch_add(&host.next_home, 1, __ATOMIC_RELAXED);

	host_self.processor_number = turn % host.processor_count;
}

void ke_set_ideal_processor_thread(unsigned processor)
{
	host_self.processor_number = processor;
}

static void *thread_main(void *context)
{
	struct kthread *thread = context;

	choose_home();
	thread->routine(thread->context);
	if (verifier_on)
		host_require_clean_return(PASSIVE_LEVEL, "thread", KE_HERE);
	host_pool_leave_thread();
	return NULL;
}

ntstatus ps_create_system_thread_at(struct kthread *thread, ke_thread_routine *routine,
				    void *context, const struct ke_site *site)
{
	pthread_t id;

	(void)site;
	thread->routine = routine;
	thread->context = context;
	if (create_thread(&id, thread_main, thread) != 0)
		return STATUS_INSUFFICIENT_RESOURCES;
	thread->executive = (uintptr_t)id;
	return STATUS_SUCCESS;
}

void ke_wait_for_thread_at(struct kthread *thread, const struct ke_site *site)
{
	if (host_self.processor != NULL)
		ke_bug_check_at(site, "IRQL-TOO-HIGH", "a processor waits for a thread");
	pthread_join((pthread_t)thread->executive, NULL);
}

/* ---- The processors ------------------------------------------------------------------------ */

static void lock_all(void)
{
	for (unsigned i = 0; i < host.processor_count; i++)
		host_lock(&host.processors[i].lock);
}

static void unlock_all(void)
{
	for (unsigned i = 0; i < host.processor_count; i++)
		host_unlock(&host.processors[i].lock);
}

static void wait_for_quiet(void)
{
	bool quiet = false;

	while (!quiet) {
		lock_all();
		quiet = true;
		for (unsigned i = 0; i < host.processor_count; i++)
			quiet = quiet && host.processors[i].parked;
		unlock_all();
		if (!quiet)
			sched_yield();
	}
}

static void stop_processors(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		host_lock(&host.processors[i].lock);
		host.processors[i].stopping = true;
		host_unlock(&host.processors[i].lock);
		host_processor_wake(&host.processors[i]);
		pthread_join(host.processors[i].thread, NULL);
	}
	for (unsigned i = 0; i < count; i++) {
		if (!is_list_empty(&host.processors[i].timers))
			ke_bug_check("LEAK-AT-UNLOAD", "a timer is still armed at the end");
		host_processor_close(&host.processors[i]);
	}
	if (host.connected_interrupts != 0)
		ke_bug_check("LEAK-AT-UNLOAD", "%u interrupts are still connected at the end",
			     host.connected_interrupts);
}

static ntstatus open_processors(void)
{
	for (unsigned i = 0; i < host.processor_count; i++) {
		if (nt_success(host_processor_open(&host.processors[i], i)))
			continue;
		while (i > 0)
			host_processor_close(&host.processors[--i]);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	return STATUS_SUCCESS;
}

/* On failure none is left. */
static ntstatus start_processors(void)
{
	ntstatus status = open_processors();

	for (unsigned i = 0; nt_success(status) && i < host.processor_count; i++) {
		struct host_processor *processor = &host.processors[i];

		if (create_thread(&processor->thread, host_processor_main, processor) == 0)
			continue;
		stop_processors(i);
		while (i < host.processor_count)
			host_processor_close(&host.processors[i++]);
		status = STATUS_INSUFFICIENT_RESOURCES;
	}
	return status;
}

static unsigned choose_processor_count(const struct ke_options *options)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (options->processors > 0)
		return options->processors < KE_MAXIMUM_PROCESSORS ? options->processors
								   : KE_MAXIMUM_PROCESSORS;
	if (online < 1)
		return 1;
	return online < KE_MAXIMUM_PROCESSORS ? (unsigned)online : KE_MAXIMUM_PROCESSORS;
}

static void require_no_held_request(void)
{
	struct verifier_event sent;
	const char *driver;

	if (verifier_find_held_request(&sent, &driver))
		verifier_violation(sent.site, "LEAK-AT-UNLOAD", NULL,
				   "at the end driver '%s' still holds a request that was sent "
				   "here",
				   driver);
}

ntstatus ke_run(const struct ke_options *options, ke_thread_routine *main, void *context)
{
	ntstatus status;

	if (__atomic_exchange_n(&host.running, 1, __ATOMIC_ACQUIRE) != 0)
		ke_bug_check("RUN-TWICE", "ke_run is called while an executive runs");
	if (verifier_on) {
		verifier_reset();
		verifier_context_begins(&host_self.verifier);
	}
	prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); /* inherited: timers to the microsecond */
	host.connected_interrupts = 0;
	host.never_polls = options->never_polls;
	host.processor_count = choose_processor_count(options);
	host.processors = aligned_alloc(_Alignof(struct host_processor),
					host.processor_count * sizeof(*host.processors));
	if (host.processors == NULL)
		status = STATUS_INSUFFICIENT_RESOURCES;
	else
		status = start_processors();
	if (nt_success(status)) {
		choose_home();
		main(context);
		if (verifier_on)
			host_require_clean_return(PASSIVE_LEVEL, "thread", KE_HERE);
		wait_for_quiet();
		stop_processors(host.processor_count);
		host_pool_leave_thread();
		if (verifier_on)
			require_no_held_request();
		if (host.pool_outstanding != 0)
			ke_bug_check("LEAK-AT-UNLOAD", "%lld blocks of pool memory were not freed",
				     (long long)host.pool_outstanding);
	}
	free(host.processors);
	host.processors = NULL;
	__atomic_store_n(&host.running, 0, __ATOMIC_RELEASE);
	return status;
}
