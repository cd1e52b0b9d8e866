/*
 * Deferred procedure calls, timers and work items: what a processor does later.
 *
 * Each is an object of the caller's that stands in a queue and is marked as queued. When the
 * scheduler begins it, the object is taken out and unmarked first, and everything that is needed is
 * copied into a lane; the routine may then queue it again or free it, and the executive does not
 * look at it any more.
 *
 * A DPC or work item for a certain processor stands in that one's queue; for KE_ANY_PROCESSOR in a
 * common queue from which any may take it, several at a time.
 *
 * A timer that is due queues its DPC. That happens between two steps, in the order of the due times
 * and, for equal ones, in the order in which the timers were set.
 *
 * Flushing: DPCs are numbered when they are queued (kdpc.executive). A thread that flushes notes
 * the last number given and waits until no DPC with that or a lower one is queued or running.
 */
#include "ke/sim/executive.h"

static void require_processor(uint32_t processor, const char *what, const struct ke_site *site)
{
	if (processor != KE_ANY_PROCESSOR && processor >= sim_state.processors)
		ke_bug_check_at(site, "NO-SUCH-PROCESSOR", "%s for processor %u of %u", what,
				processor, sim_state.processors);
}

/* ---- DPCs ----------------------------------------------------------------------------------- */

void ke_initialize_dpc(struct kdpc *dpc, ke_deferred_routine *routine, void *context,
		       unsigned processor)
{
	sim_touch(dpc, sizeof(*dpc));
	initialize_list_head(&dpc->entry);
	dpc->routine = routine;
	dpc->context = context;
	dpc->processor = processor;
	dpc->queued = 0;
	dpc->executive = 0;
}

bool sim_queue_dpc(struct kdpc *dpc, const struct ke_site *site)
{
	struct list_entry *queue = &sim_state.any_dpcs;

	sim_touch(dpc, sizeof(*dpc));
	if (dpc->queued)
		return false;
	require_processor(dpc->processor, "a DPC", site);
	if (dpc->processor != KE_ANY_PROCESSOR)
		queue = &sim_state.processor[dpc->processor].dpcs;
	dpc->queued = 1;
	dpc->executive = (uintptr_t)++sim_state.dpc_sequence;
	insert_tail_list(queue, &dpc->entry);
	return true;
}

bool ke_insert_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site)
{
	sim_this_lane(site);
	sim_yield(SIM_OP_QUEUE_DPC, dpc, site);
	/* Also when it is queued already: its routine sees what this context did before. */
	sim_order_before(dpc);
	return sim_queue_dpc(dpc, site);
}

bool ke_remove_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site)
{
	sim_this_lane(site);
	sim_yield(SIM_OP_REMOVE_DPC, dpc, site);
	sim_touch(dpc, sizeof(*dpc));
	if (!dpc->queued)
		return false;
	remove_entry_list(&dpc->entry);
	dpc->queued = 0;
	sim_order_after(dpc);
	sim_check_flushing();
	return true;
}

struct sim_lane *sim_begin_dpc(struct list_entry *queue, struct sim_processor *processor)
{
	struct kdpc *dpc = containing_record(remove_head_list(queue), struct kdpc, entry);
	struct sim_task task = {
		.dpc = dpc->routine,
		.object = dpc,
		.context = dpc->context,
		.sequence = dpc->executive,
	};

	sim_touch(dpc, sizeof(*dpc));
	dpc->queued = 0;
	return sim_lane_start_pinned(SIM_DPC, &task, processor);
}

/* ---- Flushing ------------------------------------------------------------------------------- */

static bool queue_has_before(const struct list_entry *queue, uint64_t sequence)
{
	return !is_list_empty(queue) &&
	       containing_record(queue->next, struct kdpc, entry)->executive <= sequence;
}

/* Whether a DPC with this number or a lower one is queued or running. */
static bool dpcs_before(uint64_t sequence)
{
	if (queue_has_before(&sim_state.any_dpcs, sequence))
		return true;
	for (unsigned i = 0; i < sim_state.processors; i++) {
		const struct sim_processor *processor = &sim_state.processor[i];
		const struct sim_lane *lane = processor->top;

		if (queue_has_before(&processor->dpcs, sequence))
			return true;
		while (lane && lane->kind == SIM_INTERRUPT)
			lane = lane->below;
		if (lane && lane->kind == SIM_DPC && lane->task.sequence <= sequence)
			return true;
	}
	return false;
}

void sim_check_flushing(void)
{
	struct list_entry *entry = sim_state.flushing.next;

	while (entry != &sim_state.flushing) {
		struct sim_lane *lane = containing_record(entry, struct sim_lane, waiter);

		entry = entry->next;
		if (!dpcs_before(lane->flush_sequence))
			sim_wake(lane, STATUS_SUCCESS);
	}
}

void ke_flush_queued_dpcs_at(const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);

	sim_require_thread("flushing the DPCs", site);
	sim_yield(SIM_OP_FLUSH_DPCS, NULL, site);
	lane->flush_sequence = sim_state.dpc_sequence;
	if (dpcs_before(lane->flush_sequence)) {
		insert_tail_list(&sim_state.flushing, &lane->waiter);
		sim_wait(SIM_WAIT_DPCS, NULL, UINT64_MAX);
	}
	for (unsigned i = 0; i < sim_state.processors; i++)
		sim_order_after(&sim_state.processor[i].dpc_order);
}

/* ---- Timers --------------------------------------------------------------------------------- */

void ke_initialize_timer(struct ktimer *timer)
{
	sim_touch(timer, sizeof(*timer));
	initialize_list_head(&timer->entry);
	timer->due_ns = 0;
	timer->dpc = NULL;
	timer->processor = 0;
	timer->armed = 0;
	timer->executive = 0;
}

static bool disarm(struct ktimer *timer)
{
	if (!timer->armed)
		return false;
	remove_entry_list(&timer->entry);
	timer->armed = 0;
	return true;
}

bool ke_set_timer_at(struct ktimer *timer, uint64_t delay_ns, struct kdpc *dpc,
		     const struct ke_site *site)
{
	struct list_entry *after;
	bool was_armed;

	sim_require_irql(DISPATCH_LEVEL, "setting a timer", site);
	sim_yield(SIM_OP_SET_TIMER, timer, site);
	sim_touch(timer, sizeof(*timer));
	require_processor(dpc->processor, "a timer's DPC", site);
	was_armed = disarm(timer);
	timer->armed = 1;
	timer->dpc = dpc;
	timer->due_ns = sim_deadline(delay_ns);
	timer->executive = (uintptr_t)site;
	after = sim_state.timers.prev;
	while (after != &sim_state.timers &&
	       containing_record(after, struct ktimer, entry)->due_ns > timer->due_ns)
		after = after->prev;
	insert_list_after(after, &timer->entry);
	sim_update_next_due();
	sim_order_before(dpc);
	return was_armed;
}

bool ke_cancel_timer_at(struct ktimer *timer, const struct ke_site *site)
{
	bool was_armed;

	sim_require_irql(DISPATCH_LEVEL, "cancelling a timer", site);
	sim_yield(SIM_OP_CANCEL_TIMER, timer, site);
	sim_touch(timer, sizeof(*timer));
	was_armed = disarm(timer);
	if (was_armed) {
		sim_order_after(timer->dpc);
		sim_update_next_due();
	}
	return was_armed;
}

void sim_fire_timers(void)
{
	while (!is_list_empty(&sim_state.timers)) {
		struct ktimer *timer =
			containing_record(sim_state.timers.next, struct ktimer, entry);

		if (timer->due_ns > sim_state.now_ns)
			break;
		sim_touch(timer, sizeof(*timer));
		disarm(timer);
		sim_queue_dpc(timer->dpc, (const struct ke_site *)timer->executive);
	}
}

/* ---- Work items ----------------------------------------------------------------------------- */

void ex_initialize_work_item(struct ex_work_item *item, ex_worker_routine *routine, void *context,
			     unsigned processor)
{
	sim_touch(item, sizeof(*item));
	initialize_list_head(&item->entry);
	item->routine = routine;
	item->context = context;
	item->processor = processor;
	item->queued = 0;
	item->executive = 0;
}

bool ex_queue_work_item_at(struct ex_work_item *item, const struct ke_site *site)
{
	struct list_entry *queue = &sim_state.any_work_items;

	sim_require_irql(DISPATCH_LEVEL, "queueing a work item", site);
	sim_yield(SIM_OP_QUEUE_WORK_ITEM, item, site);
	sim_touch(item, sizeof(*item));
	/* Also when it is queued already: its routine sees what this context did before. */
	sim_order_before(item);
	if (item->queued)
		return false;
	require_processor(item->processor, "a work item", site);
	if (item->processor != KE_ANY_PROCESSOR)
		queue = &sim_state.processor[item->processor].work_items;
	item->queued = 1;
	insert_tail_list(queue, &item->entry);
	return true;
}

struct sim_lane *sim_begin_work_item(struct list_entry *queue, struct sim_processor *processor)
{
	struct ex_work_item *item =
		containing_record(remove_head_list(queue), struct ex_work_item, entry);
	struct sim_task task = {.work = item->routine, .object = item, .context = item->context};

	sim_touch(item, sizeof(*item));
	item->queued = 0;
	return sim_lane_start_worker(&task, processor);
}
