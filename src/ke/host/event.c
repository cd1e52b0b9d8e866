/*
 * Events and waits on the host.
 *
 * event->executive is a lock over the event's fields. A thread that has to wait links a record that
 * lives on its own stack into event->waiters, lets go of the lock, and sleeps on a word of its own
 * (a futex). Whoever signals unlinks the records that it releases, gives the lock back, and only
 * then wakes the threads. From the moment the lock is given back the event is not touched: a waiter
 * that finds it signaled, or was unlinked, may return and let the event go out of scope.
 *
 * A wake is a store to the sleeper's word and a futex call. The word belongs to the thread, not to
 * the wait, so a late futex call can at worst wake a later wait for nothing; hence the loop around
 * the sleep.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ke/host/private.h"

struct waiter {
	struct list_entry entry;
	uint32_t *wake;
	bool released; /* guarded by the event's lock */
};

static uint32_t *event_lock(struct kevent *event)
{
	return (uint32_t *)&event->executive;
}

void ke_initialize_event(struct kevent *event, enum kevent_type type, bool signaled)
{
	event->type = type;
	event->signaled = signaled;
	event->executive = 0;
	initialize_list_head(&event->waiters);
}

/* With the event's lock held: the waiter is on its way out, even if its time runs out meanwhile. */
static void release_first(struct kevent *event, struct list_entry *released)
{
	struct list_entry *first = remove_head_list(&event->waiters);

	containing_record(first, struct waiter, entry)->released = true;
	insert_tail_list(released, first);
}

static void wake_all(struct list_entry *released)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(released)) != NULL) {
		/* The store ends the waiter's life, so the word's address is read before it. */
		uint32_t *wake = containing_record(entry, struct waiter, entry)->wake;

		__atomic_store_n(wake, 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

void ke_set_event_at(struct kevent *event, const struct ke_site *site)
{
	struct list_entry released;

	if (host_self.irql > DISPATCH_LEVEL)
		ke_bug_check_at(site, "IRQL-TOO-HIGH", "an event is set at IRQL %u",
				host_self.irql);
	initialize_list_head(&released);
	host_lock(event_lock(event));
	if (event->type == NOTIFICATION_EVENT) {
		event->signaled = 1;
		while (!is_list_empty(&event->waiters))
			release_first(event, &released);
	} else if (!is_list_empty(&event->waiters)) {
		release_first(event, &released);
	} else {
		event->signaled = 1;
	}
	host_unlock(event_lock(event));
	wake_all(&released);
}

void ke_clear_event_at(struct kevent *event, const struct ke_site *site)
{
	(void)site;
	host_lock(event_lock(event));
	event->signaled = 0;
	host_unlock(event_lock(event));
}

/* Sleeps until this thread's word is set; false when deadline_ns has passed first. */
static bool sleep_until(uint64_t deadline_ns)
{
	while (__atomic_load_n(&host_self.wake, __ATOMIC_ACQUIRE) == 0) {
		struct timespec deadline = {(time_t)(deadline_ns / 1000000000u),
					    (long)(deadline_ns % 1000000000u)};
		long result = syscall(SYS_futex, &host_self.wake, FUTEX_WAIT_BITSET_PRIVATE, 0,
				      deadline_ns == UINT64_MAX ? NULL : &deadline, NULL,
				      FUTEX_BITSET_MATCH_ANY);

		if (result < 0 && errno == ETIMEDOUT)
			return __atomic_load_n(&host_self.wake, __ATOMIC_ACQUIRE) != 0;
	}
	return true;
}

static bool take_signal(struct kevent *event)
{
	if (!event->signaled)
		return false;
	if (event->type == SYNCHRONIZATION_EVENT)
		event->signaled = 0;
	return true;
}

/* After a timeout: true if nobody has released the waiter, which is then unlinked. */
static bool withdraw(struct kevent *event, struct waiter *waiter)
{
	bool released;

	host_lock(event_lock(event));
	released = waiter->released;
	if (!released)
		remove_entry_list(&waiter->entry);
	host_unlock(event_lock(event));
	return !released;
}

static uint64_t deadline_of(int64_t timeout_ns)
{
	return timeout_ns == KE_WAIT_FOREVER ? UINT64_MAX
					     : ke_query_interrupt_time() + (uint64_t)timeout_ns;
}

ntstatus ke_wait_for_single_object_at(struct kevent *event, int64_t timeout_ns,
				      const struct ke_site *site)
{
	struct waiter waiter = {.wake = &host_self.wake};
	bool signaled;

	if (timeout_ns != 0 && (host_self.irql > PASSIVE_LEVEL || host_self.processor != NULL))
		ke_bug_check_at(site, "IRQL-TOO-HIGH", "a wait at IRQL %u on %s", host_self.irql,
				host_self.processor != NULL ? "a processor" : "a thread");
	host_lock(event_lock(event));
	signaled = take_signal(event);
	if (signaled || timeout_ns == 0) {
		host_unlock(event_lock(event));
		return signaled ? STATUS_SUCCESS : STATUS_TIMEOUT;
	}
	__atomic_store_n(&host_self.wake, 0, __ATOMIC_RELAXED);
	insert_tail_list(&event->waiters, &waiter.entry);
	host_unlock(event_lock(event));

	if (!sleep_until(deadline_of(timeout_ns))) {
		if (withdraw(event, &waiter))
			return STATUS_TIMEOUT;
		sleep_until(UINT64_MAX); /* released at the last moment: its wake is on the way */
	}
	return STATUS_SUCCESS;
}

uint64_t ke_query_interrupt_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ke_delay_execution_thread_at(uint64_t delay_ns, const struct ke_site *site)
{
	struct kevent never;

	ke_initialize_event(&never, NOTIFICATION_EVENT, false);
	ke_wait_for_single_object_at(&never, (int64_t)delay_ns, site);
}
