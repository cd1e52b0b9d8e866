/*
 * Events, waiting, and time.
 *
 * A thread that waits leaves the ready list. It stands in the event's list of waiters, in the
 * sleepers' list if its wait has a deadline, or in both, and in neither afterwards: whoever wakes
 * it takes it out of both and notes the outcome. So of a signal and a timeout that meet, exactly
 * one wins, the first that the scheduler lets happen. A woken thread goes on when it is chosen;
 * that it was woken is final, so the event may be gone by then.
 *
 * A synchronization event releases one waiter, any one: that is the scheduler's choice.
 */
#include "ke/sim/executive.h"

void ke_initialize_event(struct kevent *event, enum kevent_type type, bool signaled)
{
	sim_touch(event, sizeof(*event));
	event->type = type;
	event->signaled = signaled;
	initialize_list_head(&event->waiters);
	event->executive = 0;
}

/* ---- Waiting -------------------------------------------------------------------------------- */

/* In the order of time, and behind those with the same. */
static void insert_sleeper(struct sim_lane *lane, uint64_t deadline_ns)
{
	struct list_entry *after = sim_state.sleepers.prev;

	lane->due_ns = deadline_ns;
	while (after != &sim_state.sleepers &&
	       containing_record(after, struct sim_lane, due)->due_ns > deadline_ns)
		after = after->prev;
	insert_list_after(after, &lane->due);
	sim_update_next_due();
}

ntstatus sim_wait(enum sim_wait wait, const void *object, uint64_t deadline_ns)
{
	struct sim_lane *lane = sim_state.current;

	remove_entry_list(&lane->entry);
	lane->state = SIM_WAITING;
	lane->wait = (uint8_t)wait;
	lane->waits_on = object;
	if (deadline_ns != UINT64_MAX)
		insert_sleeper(lane, deadline_ns);
	sim_reschedule();
	sim_order_after(&lane->wake_order);
	return lane->wait_status;
}

void sim_wake(struct sim_lane *lane, ntstatus status)
{
	remove_entry_list(&lane->waiter);
	if (!is_list_empty(&lane->due)) {
		remove_entry_list(&lane->due);
		sim_update_next_due();
	}
	lane->wait = SIM_WAIT_NONE;
	lane->waits_on = NULL;
	lane->wait_status = status;
	/* The waker happens before the wait's end. A timeout has no waker, only a bystander. */
	if (status != STATUS_TIMEOUT)
		sim_order_before(&lane->wake_order);
	sim_lane_ready(lane);
}

ntstatus ke_wait_for_single_object_at(struct kevent *event, int64_t timeout_ns,
				      const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);
	uint64_t deadline;

	if (timeout_ns > 0)
		sim_require_thread("waiting for an event", site);
	else
		sim_require_irql(DISPATCH_LEVEL, "looking at an event", site);
	sim_yield(SIM_OP_WAIT, event, site);
	sim_touch(event, sizeof(*event));
	if (event->signaled) {
		if (event->type == SYNCHRONIZATION_EVENT)
			event->signaled = 0;
		sim_order_after(event);
		return STATUS_SUCCESS;
	}
	if (timeout_ns <= 0)
		return STATUS_TIMEOUT;
	deadline = timeout_ns == KE_WAIT_FOREVER ? UINT64_MAX : sim_deadline((uint64_t)timeout_ns);
	insert_tail_list(&event->waiters, &lane->waiter);
	return sim_wait(SIM_WAIT_EVENT, event, deadline);
}

/* ---- Signaling ------------------------------------------------------------------------------ */

/* One of the event's waiters, of which there is one at least. */
static struct sim_lane *choose_waiter(struct kevent *event)
{
	struct list_entry *entry = event->waiters.next;
	struct sim_choice choice = {.what = SIM_CHOOSE_WAITER};

	for (struct list_entry *e = entry; e != &event->waiters; e = e->next)
		choice.alternatives++;
	if (choice.alternatives > 1) {
		for (unsigned i = sim_choose(&choice); i > 0; i--)
			entry = entry->next;
	}
	return containing_record(entry, struct sim_lane, waiter);
}

void ke_set_event_at(struct kevent *event, const struct ke_site *site)
{
	sim_require_irql(DISPATCH_LEVEL, "setting an event", site);
	sim_yield(SIM_OP_SET_EVENT, event, site);
	sim_touch(event, sizeof(*event));
	sim_order_before(event);
	if (event->type == SYNCHRONIZATION_EVENT) {
		if (is_list_empty(&event->waiters))
			event->signaled = 1;
		else
			sim_wake(choose_waiter(event), STATUS_SUCCESS);
		return;
	}
	event->signaled = 1;
	while (!is_list_empty(&event->waiters))
		sim_wake(containing_record(event->waiters.next, struct sim_lane, waiter),
			 STATUS_SUCCESS);
}

void ke_clear_event_at(struct kevent *event, const struct ke_site *site)
{
	sim_require_irql(DISPATCH_LEVEL, "clearing an event", site);
	sim_yield(SIM_OP_CLEAR_EVENT, event, site);
	sim_touch(event, sizeof(*event));
	event->signaled = 0;
}

/* ---- Time ----------------------------------------------------------------------------------- */

uint64_t ke_query_interrupt_time(void)
{
	/* Reading the clock takes time too, so that a loop that only watches it comes to an end. */
	return sim_state.now_ns += SIM_STEP_NS;
}

void ke_delay_execution_thread_at(uint64_t delay_ns, const struct ke_site *site)
{
	sim_require_thread("sleeping", site);
	sim_yield(SIM_OP_DELAY, NULL, site);
	if (delay_ns > 0)
		sim_wait(SIM_WAIT_TIME, NULL, sim_deadline(delay_ns));
}
