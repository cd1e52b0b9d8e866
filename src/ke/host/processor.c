/*
 * A virtual processor on the host: one thread that runs, in this order and for ever,
 *
 *   interrupts    requested ones, and descriptors whose readiness changed
 *   DPCs          those that stand in the queue now, not those that they queue
 *   timers        those that are due queue their DPCs, which run in the next turn
 *   work items    likewise
 *
 * and parks in epoll when it found nothing. It holds its lock all the time, but not while a routine
 * runs or epoll waits: so a turn costs one hold for each of these. Whoever else brings work to a
 * parked processor clears `parked` under the lock and writes to the wake descriptor, once. No work
 * is missed, because the lists are looked at and `parked` is set under one hold (prepare_wait):
 *
 *   brought before that      the lists are not empty, so the processor does not park
 *   between that and epoll   `parked` is set, so there is a write: an edge that epoll keeps, and
 *                            with which the wait returns at once
 *   while epoll waits        likewise
 *   after epoll returned     with `parked` still set, as it is while the interrupts that epoll told
 *                            of are served, a write for nothing, which is an empty turn later; with
 *                            `parked` cleared, no write: the work is found in this turn or when the
 *                            lists are looked at again
 *
 * A timer is work in this sense, since it may be due before the wait that was computed ends. The
 * wake descriptor is edge-triggered and never read: each write is an edge.
 *
 * To park and to be woken takes six to ten microseconds, and the caches are cold afterwards. Who
 * waits for an answer often waits for less. So a processor that found nothing polls for a while: it
 * takes more turns, not parked, and whoever brings it work need not wake it. It does so as long as
 * nearly all waits are short (end_idle).
 *
 * A DPC, timer or work item stands in the lists of the processor that it was initialised for, and
 * is guarded by that processor's lock. `queued` is cleared before the routine runs, so that the
 * routine, or anyone from then on, may queue it again.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ke/host/private.h"

/*
 * What descriptors have brought in one turn is used in that turn, before the next is read. With few
 * of them it is still in the cache by then; and epoll gives each descriptor its turn anyway.
 */
enum { EVENTS_PER_TURN = 8 };

ntstatus host_processor_open(struct host_processor *processor, unsigned number)
{
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

	memset(processor, 0, sizeof(*processor));
	processor->number = number;
	processor->price = HOST_LOWEST_PRICE;
	initialize_list_head(&processor->interrupts);
	initialize_list_head(&processor->dpcs);
	initialize_list_head(&processor->turn);
	initialize_list_head(&processor->timers);
	initialize_list_head(&processor->work_items);
	processor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	processor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (processor->epoll_fd >= 0 && processor->wake_fd >= 0 &&
	    epoll_ctl(processor->epoll_fd, EPOLL_CTL_ADD, processor->wake_fd, &wake) == 0)
		return STATUS_SUCCESS;
	host_processor_close(processor);
	return STATUS_INSUFFICIENT_RESOURCES;
}

void host_processor_close(struct host_processor *processor)
{
	if (processor->epoll_fd >= 0)
		close(processor->epoll_fd);
	if (processor->wake_fd >= 0)
		close(processor->wake_fd);
}

void host_processor_wake(struct host_processor *processor)
{
	uint64_t one = 1;

	/* Can only fail when the counter is full, and then an edge is pending anyway. */
	if (write(processor->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void host_processor_insert_and_unlock(struct host_processor *processor, struct list_entry *after,
				      struct list_entry *entry)
{
	bool wake = processor->parked && processor != host_self.processor;

	insert_list_after(after, entry);
	processor->parked = false;
	host_unlock(&processor->lock);
	if (wake)
		host_processor_wake(processor);
}

static uint32_t home(unsigned processor)
{
	return processor == KE_ANY_PROCESSOR ? host_self.processor_number : processor;
}

/* ---- Deferred procedure calls -------------------------------------------------------------- */

void ke_initialize_dpc(struct kdpc *dpc, ke_deferred_routine *routine, void *context,
		       unsigned processor)
{
	*dpc = (struct kdpc){.routine = routine, .context = context, .processor = home(processor)};
	initialize_list_head(&dpc->entry);
}

bool ke_insert_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[dpc->processor];

	(void)site;
	host_lock(&processor->lock);
	if (dpc->queued) {
		host_unlock(&processor->lock);
		return false;
	}
	dpc->queued = 1;
	host_processor_insert_and_unlock(processor, processor->dpcs.prev, &dpc->entry);
	return true;
}

bool ke_remove_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[dpc->processor];
	bool queued;

	(void)site;
	host_lock(&processor->lock);
	queued = dpc->queued;
	if (queued)
		remove_entry_list(&dpc->entry);
	dpc->queued = 0;
	host_unlock(&processor->lock);
	return queued;
}

struct flush {
	struct kdpc dpc;
	struct kevent passed;
};

static void flush_passed(struct kdpc *dpc, void *context)
{
	(void)dpc;
	ke_set_event(&((struct flush *)context)->passed);
}

/* DPCs of a processor run in order, so one queued now ends after all that were queued before. */
void ke_flush_queued_dpcs_at(const struct ke_site *site)
{
	for (unsigned i = 0; i < host.processor_count; i++) {
		struct flush flush;

		ke_initialize_event(&flush.passed, NOTIFICATION_EVENT, false);
		ke_initialize_dpc(&flush.dpc, flush_passed, &flush, i);
		ke_insert_queue_dpc_at(&flush.dpc, site);
		ke_wait_for_single_object_at(&flush.passed, KE_WAIT_FOREVER, site);
	}
}

/*
 * One that queues itself again runs in the next turn, so that it can't keep all else waiting. Lock
 * held, but not while a routine runs.
 */
static void run_dpcs(struct host_processor *processor)
{
	struct list_entry *entry;

	append_tail_list(&processor->turn, &processor->dpcs);
	while ((entry = remove_head_list(&processor->turn)) != NULL) {
		struct kdpc *dpc = containing_record(entry, struct kdpc, entry);

		dpc->queued = 0;
		host_unlock(&processor->lock);
		host_self.irql = DISPATCH_LEVEL;
		dpc->routine(dpc, dpc->context);
		if (verifier_on)
			host_require_clean_return(DISPATCH_LEVEL, "DPC", KE_HERE);
		host_self.irql = PASSIVE_LEVEL;
		host_lock(&processor->lock);
	}
}

/* ---- Timers -------------------------------------------------------------------------------- */

void ke_initialize_timer(struct ktimer *timer)
{
	*timer = (struct ktimer){.processor = host_self.processor_number};
	initialize_list_head(&timer->entry);
}

/*
 * Locks the processor that the timer stands with, which is told by a field that this very lock
 * guards: so look, lock, and look again.
 */
static struct host_processor *lock_timer(struct ktimer *timer)
{
	for (;;) {
		uint32_t number = __atomic_load_n(&timer->processor, __ATOMIC_RELAXED);
		struct host_processor *processor = &host.processors[number];

		host_lock(&processor->lock);
		if (__atomic_load_n(&timer->processor, __ATOMIC_RELAXED) == number)
			return processor;
		host_unlock(&processor->lock);
	}
}

/* The same for a timer that will stand with `target`, which is locked too: the lower number first.
 */
static struct host_processor *lock_timer_and(struct ktimer *timer, struct host_processor *target)
{
	for (;;) {
		uint32_t number = __atomic_load_n(&timer->processor, __ATOMIC_RELAXED);
		struct host_processor *from = &host.processors[number];

		host_lock(from < target ? &from->lock : &target->lock);
		if (from != target)
			host_lock(from < target ? &target->lock : &from->lock);
		if (__atomic_load_n(&timer->processor, __ATOMIC_RELAXED) == number)
			return from;
		if (from != target)
			host_unlock(&from->lock);
		host_unlock(&target->lock);
	}
}

/* With the lock of the processor that it stands with held. */
static bool disarm(struct ktimer *timer)
{
	bool was_armed = timer->armed;

	if (was_armed)
		remove_entry_list(&timer->entry);
	timer->armed = 0;
	return was_armed;
}

bool ke_cancel_timer_at(struct ktimer *timer, const struct ke_site *site)
{
	struct host_processor *processor = lock_timer(timer);
	bool was_armed = disarm(timer);

	(void)site;
	host_unlock(&processor->lock);
	return was_armed;
}

/*
 * A timer stands with the processor of its DPC, so that it expires and the DPC is queued under one
 * lock: who finds it not armed finds the DPC queued, running or done. It is moved with the locks of
 * both processors held, so that nobody finds it on the way and arms it a second time.
 */
bool ke_set_timer_at(struct ktimer *timer, uint64_t delay_ns, struct kdpc *dpc,
		     const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[dpc->processor];
	uint64_t due_ns = ke_query_interrupt_time() + delay_ns;
	struct host_processor *from = lock_timer_and(timer, processor);
	bool was_armed = disarm(timer);
	struct list_entry *after;

	(void)site;
	__atomic_store_n(&timer->processor, dpc->processor, __ATOMIC_RELAXED);
	if (from != processor)
		host_unlock(&from->lock);
	timer->armed = 1;
	timer->due_ns = due_ns;
	timer->dpc = dpc;
	/* Most timers are set for later than all others, so look from the far end. */
	for (after = processor->timers.prev; after != &processor->timers; after = after->prev)
		if (containing_record(after, struct ktimer, entry)->due_ns <= due_ns)
			break;
	host_processor_insert_and_unlock(processor, after, &timer->entry);
	return was_armed;
}

/* The first timer, if it is due. With the lock held. */
static struct ktimer *due_timer(const struct host_processor *processor, uint64_t now)
{
	struct ktimer *first;

	if (is_list_empty(&processor->timers))
		return NULL;
	first = containing_record(processor->timers.next, struct ktimer, entry);
	return first->due_ns <= now ? first : NULL;
}

/* Lock held. */
static void run_timers(struct host_processor *processor)
{
	uint64_t now = is_list_empty(&processor->timers) ? 0 : ke_query_interrupt_time();
	struct ktimer *timer;

	while ((timer = due_timer(processor, now)) != NULL) {
		remove_entry_list(&timer->entry);
		timer->armed = 0;
		if (!timer->dpc->queued) {
			timer->dpc->queued = 1;
			insert_tail_list(&processor->dpcs, &timer->dpc->entry);
		}
	}
}

/* ---- Work items ---------------------------------------------------------------------------- */

void ex_initialize_work_item(struct ex_work_item *item, ex_worker_routine *routine, void *context,
			     unsigned processor)
{
	*item = (struct ex_work_item){
		.routine = routine, .context = context, .processor = home(processor)};
	initialize_list_head(&item->entry);
}

bool ex_queue_work_item_at(struct ex_work_item *item, const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[item->processor];

	(void)site;
	host_lock(&processor->lock);
	if (item->queued) {
		host_unlock(&processor->lock);
		return false;
	}
	item->queued = 1;
	host_processor_insert_and_unlock(processor, processor->work_items.prev, &item->entry);
	return true;
}

/* Lock held, but not while a routine runs. */
static void run_work_items(struct host_processor *processor)
{
	struct list_entry batch, *entry;

	initialize_list_head(&batch);
	append_tail_list(&batch, &processor->work_items);
	while ((entry = remove_head_list(&batch)) != NULL) {
		struct ex_work_item *item = containing_record(entry, struct ex_work_item, entry);

		item->queued = 0;
		host_unlock(&processor->lock);
		item->routine(item->context);
		if (verifier_on)
			host_require_clean_return(PASSIVE_LEVEL, "work item", KE_HERE);
		host_lock(&processor->lock);
	}
}

/* ---- The loop ------------------------------------------------------------------------------ */

/* Lock held, but not while a routine runs. */
static void run_requested_interrupts(struct host_processor *processor)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(&processor->interrupts)) != NULL) {
		struct kinterrupt *interrupt = containing_record(entry, struct kinterrupt, entry);

		interrupt->requested = 0;
		host_unlock(&processor->lock);
		host_run_interrupt(interrupt, 0);
		host_lock(&processor->lock);
	}
}

static bool has_work(const struct host_processor *processor)
{
	return !is_list_empty(&processor->interrupts) || !is_list_empty(&processor->dpcs) ||
	       !is_list_empty(&processor->work_items);
}

/* There is something to do: what the wait for it says about the next. */
static void end_idle(struct host_processor *processor)
{
	bool polled = processor->credit > 0;

	if (processor->idle_since == 0)
		return;
	if (ke_query_interrupt_time() - processor->idle_since < HOST_POLL_NS) {
		processor->credit += processor->credit < HOST_CREDIT_LIMIT;
		if (polled)
			processor->price -= (processor->price - HOST_LOWEST_PRICE + 31) / 32;
	} else if (polled) {
		processor->credit -= processor->price;
		processor->price *= 2;
		if (processor->price > HOST_HIGHEST_PRICE)
			processor->price = HOST_HIGHEST_PRICE;
	}
	processor->idle_since = 0;
}

static bool polls_on(struct host_processor *processor, uint64_t now)
{
	if (host.never_polls)
		return false;
	if (processor->idle_since == 0)
		processor->idle_since = now;
	return processor->credit > 0 && now - processor->idle_since < HOST_POLL_NS;
}

/*
 * How long this turn may wait for descriptors: not at all with work at hand or while it polls,
 * until the first timer, or for ever (NULL). Sets `parked` when it may wait. Lock held.
 */
static struct timespec *prepare_wait(struct host_processor *processor, struct timespec *wait)
{
	uint64_t now, due, left;

	*wait = (struct timespec){0, 0};
	if (has_work(processor))
		return wait;
	now = ke_query_interrupt_time();
	if (polls_on(processor, now))
		return wait;
	processor->parked = true;
	if (is_list_empty(&processor->timers))
		return NULL;
	due = containing_record(processor->timers.next, struct ktimer, entry)->due_ns;
	left = due > now ? due - now : 0;
	wait->tv_sec = (time_t)(left / 1000000000u);
	wait->tv_nsec = (long)(left % 1000000000u);
	return wait;
}

/* Lock held, but not meanwhile. */
static void poll_descriptors(struct host_processor *processor)
{
	struct epoll_event events[EVENTS_PER_TURN];
	struct timespec wait, *timeout = prepare_wait(processor, &wait);
	int count;

	host_unlock(&processor->lock);
	count = epoll_pwait2(processor->epoll_fd, events, EVENTS_PER_TURN, timeout, NULL);
	if (count < 0 && errno != EINTR)
		ke_bug_check("HOST", "epoll_pwait2: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == NULL)
			continue; /* woken for what stands in the lists, or for nothing any more */
		end_idle(processor);
		host_run_interrupt(events[i].data.ptr, events[i].events);
	}
	host_lock(&processor->lock);
	processor->parked = false;
	if (has_work(processor))
		end_idle(processor);
}

void *host_processor_main(void *context)
{
	struct host_processor *processor = context;

	host_self.processor = processor;
	host_self.processor_number = processor->number;
	/* Nobody cancels this thread. Else libc makes each waiting call a point where one could,
	 * with a locked instruction before and one after it. */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	host_lock(&processor->lock);
	while (!processor->stopping || has_work(processor)) {
		poll_descriptors(processor);
		run_requested_interrupts(processor);
		run_dpcs(processor);
		run_timers(processor);
		run_work_items(processor);
	}
	host_unlock(&processor->lock);
	host_pool_leave_thread();
	return NULL;
}
