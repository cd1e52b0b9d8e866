/*
 * ke_run: one simulated run from boot to the account at its end.
 *
 * Everything that a run changes is set anew at its start, so that a run depends on its seed and on
 * main alone, not on the runs before it. What outlasts runs is the lanes with their fibers, in the
 * order of their numbers, for a fiber costs more to make than a short run takes.
 *
 * A run ends in the context of whichever lane found that there was nothing to do any more, which
 * switches back to here. If all went well, every lane is parked at the end of its loop. After a
 * deadlock, a livelock or a bug check that was caught, lanes stand in the middle of things: those
 * fibers are restarted, what they allocated from the pool is freed, and the next run can begin.
 *
 * After a run that completed, the account: threads that were never waited for, timers still armed,
 * interrupts still connected, pool memory not freed. Each is a bug check LEAK-AT-UNLOAD that names
 * the place where the thing came from.
 */
#include "ke/sim/executive.h"

struct sim_executive sim_state;

/* ---- Setting up ----------------------------------------------------------------------------- */

static void reset_processors(unsigned count)
{
	sim_state.processors = sim_state.open = count;
	for (unsigned i = 0; i < count; i++) {
		struct sim_processor *processor = &sim_state.processor[i];

		processor->number = i;
		processor->top = NULL;
		processor->worker = NULL;
		initialize_list_head(&processor->dpcs);
		initialize_list_head(&processor->work_items);
		initialize_list_head(&processor->interrupts);
	}
}

static void reset_lists(void)
{
	initialize_list_head(&sim_state.ready);
	initialize_list_head(&sim_state.any_dpcs);
	initialize_list_head(&sim_state.any_work_items);
	initialize_list_head(&sim_state.any_interrupts);
	initialize_list_head(&sim_state.timers);
	initialize_list_head(&sim_state.sleepers);
	initialize_list_head(&sim_state.flushing);
	initialize_list_head(&sim_state.free_lanes);
	initialize_list_head(&sim_state.interrupts);
	initialize_list_head(&sim_state.pool);
}

static void reset_counters(uint64_t seed)
{
	sim_state.now_ns = SIM_START_NS;
	sim_state.next_due_ns = UINT64_MAX;
	sim_state.dpc_sequence = 0;
	sim_state.steps = sim_state.choices = sim_state.switches = 0;
	sim_state.trace_hash = 0;
	sim_state.main_returned = sim_state.failed = false;
	sim_state.run++;
	sim_state.lanes_used = 0;
	sim_state.report.seed = seed;
	sim_state.report.verdict = KE_SIM_COMPLETED;
	sim_state.report.rule[0] = sim_state.report.text[0] = '\0';
	sim_state.allocations = 0;
	sim_begin_plan(seed);
}

/* ---- The account at the end ----------------------------------------------------------------- */

static bool leaks_thread(void)
{
	for (unsigned id = 0; id < sim_state.lanes_used; id++) {
		const struct sim_lane *lane = sim_state.lanes[id];

		if (lane->state == SIM_FREE || id == 0)
			continue;
		sim_report_violation(lane->task.origin, "LEAK-AT-UNLOAD", NULL,
				     "main returned, and thread %u was not waited for", id);
		return true;
	}
	return false;
}

static bool leaks_object(void)
{
	if (!is_list_empty(&sim_state.timers)) {
		const struct ktimer *timer =
			containing_record(sim_state.timers.next, struct ktimer, entry);

		sim_report_violation((const struct ke_site *)timer->executive, "LEAK-AT-UNLOAD",
				     NULL, "main returned, and the timer %p is still armed",
				     (const void *)timer);
		return true;
	}
	if (!is_list_empty(&sim_state.interrupts)) {
		const struct kinterrupt *interrupt =
			containing_record(sim_state.interrupts.next, struct kinterrupt, entry);

		sim_report_violation((const struct ke_site *)interrupt->executive, "LEAK-AT-UNLOAD",
				     NULL, "main returned, and the interrupt %p is still connected",
				     (const void *)interrupt);
		return true;
	}
	return false;
}

static bool leaks_request(void)
{
	struct verifier_event sent;
	const char *driver;

	if (!verifier_on || !verifier_find_held_request(&sent, &driver))
		return false;
	sim_report_violation(sent.site, "LEAK-AT-UNLOAD", NULL,
			     "main returned, and driver '%s' still holds a request that was sent "
			     "here",
			     driver);
	return true;
}

static bool leaks_pool(void)
{
	struct sim_pool_leak leak;

	if (!sim_pool_leaks(&leak))
		return false;
	sim_report_violation(leak.first_site, "LEAK-AT-UNLOAD", NULL,
			     "%u blocks of pool memory, %zu bytes, were not freed; "
			     "the first, of %zu bytes, was allocated at %s:%d",
			     leak.blocks, leak.bytes, leak.first_bytes, leak.first_site->file,
			     leak.first_site->line);
	return true;
}

static bool wrote_freed_pool(void)
{
	struct sim_pool_write write;

	if (!sim_pool_find_write(&write))
		return false;
	sim_report_violation(write.allocated, "POOL-WRITE-AFTER-FREE",
			     &(struct verifier_event){write.freed, "it was freed"},
			     SIM_POOL_WRITE_FORMAT, write.at, write.bytes);
	return true;
}

static void take_account(void)
{
	if (sim_state.report.verdict == KE_SIM_COMPLETED)
		(void)(wrote_freed_pool() || leaks_thread() || leaks_object() || leaks_request() ||
		       leaks_pool());
}

/* ---- Clearing up ---------------------------------------------------------------------------- */

/* Parks every fiber for the next run; what the lanes did happens before what ke_run's caller does.
 */
static void clear_lanes(void)
{
	for (unsigned id = 0; id < sim_state.lanes_used; id++) {
		struct sim_lane *lane = sim_state.lanes[id];

		sim_order_after(&lane->wake_order);
		if (lane->state != SIM_FREE && lane->state != SIM_ENDED)
			sim_fiber_restart(&lane->fiber, &sim_state.boss);
	}
}

static void complete_report(void)
{
	struct ke_sim_report *report = &sim_state.report;

	report->steps = sim_state.steps;
	report->choices = sim_state.choices;
	report->switches = sim_state.switches;
	report->trace_hash = sim_state.trace_hash;
	report->end_time_ns = sim_state.now_ns;
	report->processors = sim_state.processors;
	report->lanes = sim_state.lanes_used;
}

static ntstatus status_of(enum ke_sim_verdict verdict)
{
	switch (verdict) {
	case KE_SIM_COMPLETED:
		return STATUS_SUCCESS;
	case KE_SIM_DEADLOCK:
		return STATUS_POSSIBLE_DEADLOCK;
	case KE_SIM_LIVELOCK:
		return STATUS_IO_TIMEOUT;
	case KE_SIM_BUG_CHECK:
		break;
	}
	return STATUS_INVALID_DEVICE_REQUEST;
}

ntstatus ke_run(const struct ke_options *options, ke_thread_routine *main, void *context)
{
	enum { DEFAULT_PROCESSORS = 2 };
	struct sim_task task = {.thread = main, .context = context};
	unsigned processors = options ? options->processors : 0;
	struct sim_lane *lane;

	if (sim_state.running)
		return STATUS_INVALID_DEVICE_REQUEST;
	if (processors > KE_MAXIMUM_PROCESSORS)
		return STATUS_INVALID_PARAMETER;
	reset_processors(processors ? processors : DEFAULT_PROCESSORS);
	reset_lists();
	reset_counters(options ? options->seed : 0);
	if (verifier_on)
		verifier_reset();
	lane = sim_lane_take(SIM_THREAD, &task);
	if (!lane)
		return STATUS_INSUFFICIENT_RESOURCES;
	sim_lane_ready(lane);
	sim_order_before(&lane->wake_order);
	sim_state.running = true;
	sim_state.current = lane;
	sim_fiber_adopt(&sim_state.boss);
	sim_fiber_switch(&sim_state.boss, &lane->fiber);
	take_account();
	clear_lanes();
	sim_pool_release_all();
	complete_report();
	sim_state.running = false;
	return status_of(sim_state.report.verdict);
}
