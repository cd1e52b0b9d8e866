/*
 * Lanes: how a context begins and ends, its IRQL, and system threads.
 *
 * A lane's fiber runs lane_main, which performs the task that the lane was taken for, ends the
 * lane, and calls the scheduler. When that returns, the lane has been taken for another task and
 * performs it: so a fiber, once made, costs nothing to reuse, and a processor that runs one DPC
 * after the other often does so without any switch.
 *
 * Ending: DPCs, service routines and work items become FREE at once. A thread becomes ENDED and
 * wakes whoever waits for it; ke_wait_for_thread makes the lane FREE. Nothing reads the kthread
 * after its waiter could have returned.
 *
 * Main has lane 0 and no kthread. Its end sets main_returned; the run is over when nothing is left
 * to run after that.
 *
 * Every routine must come back at the level at which it began and without a lock. That is checked
 * where it ends, so that the report names the routine at fault and not its next victim.
 */
#include "ke/sim/executive.h"

#include <stdlib.h>

struct sim_lane *sim_this_lane(const struct ke_site *site)
{
	if (!sim_state.current)
		ke_bug_check_at(site, "NOT-RUNNING", "this needs ke_run, which is not under way");
	return sim_state.current;
}

/* ---- IRQL ----------------------------------------------------------------------------------- */

void sim_require_irql(kirql level, const char *what, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);

	if (lane->irql > level)
		ke_bug_check_at(site, "IRQL-TOO-HIGH", "%s at IRQL %u, allowed up to %u", what,
				lane->irql, level);
}

void sim_require_thread(const char *what, const struct ke_site *site)
{
	sim_require_irql(PASSIVE_LEVEL, what, site);
	if (sim_state.current->kind != SIM_THREAD)
		ke_bug_check_at(site, "WORK-ITEM-WAITS", "%s in a work item, which must not wait",
				what);
}

/* On to a processor's stack, which must be open. */
static void push(struct sim_lane *lane, struct sim_processor *processor)
{
	if (!processor->top)
		sim_state.open--;
	lane->below = processor->top;
	processor->top = lane;
	lane->processor = processor;
	lane->state = SIM_PINNED;
}

static void pop(struct sim_lane *lane)
{
	struct sim_processor *processor = lane->processor;

	processor->top = lane->below;
	lane->below = NULL;
	if (!processor->top)
		sim_state.open++;
}

void sim_lane_ready(struct sim_lane *lane)
{
	lane->state = SIM_READY;
	insert_tail_list(&sim_state.ready, &lane->entry);
}

static void pin(struct sim_lane *lane)
{
	struct sim_processor *processor = lane->processor;

	if (lane->kind == SIM_THREAD) {
		remove_entry_list(&lane->entry);
		processor = sim_choose_processor(DISPATCH_LEVEL, false, processor->number);
	}
	push(lane, processor);
}

static void unpin(struct sim_lane *lane)
{
	pop(lane);
	if (lane->kind == SIM_THREAD)
		sim_lane_ready(lane);
	else
		lane->state = SIM_READY;
}

void sim_set_irql(struct sim_lane *lane, kirql irql)
{
	if (irql >= DISPATCH_LEVEL && lane->state == SIM_READY)
		pin(lane);
	else if (irql < DISPATCH_LEVEL && lane->state == SIM_PINNED)
		unpin(lane);
	lane->irql = irql;
}

kirql ke_get_current_irql(void)
{
	return sim_state.current ? sim_state.current->irql : PASSIVE_LEVEL;
}

kirql ke_raise_irql_at(kirql irql, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);
	kirql old = lane->irql;

	sim_yield(SIM_OP_RAISE_IRQL, NULL, site);
	if (irql < old || irql > HIGH_LEVEL)
		ke_bug_check_at(site, "IRQL-CHANGED", "raising IRQL %u to %u", old, irql);
	sim_set_irql(lane, irql);
	return old;
}

void sim_require_lowering(struct sim_lane *lane, kirql irql, const struct ke_site *site)
{
	if (irql > lane->irql)
		ke_bug_check_at(site, "IRQL-CHANGED", "lowering IRQL %u to %u", lane->irql, irql);
	if (irql < lane->base)
		ke_bug_check_at(site, "IRQL-CHANGED",
				"lowering IRQL to %u in a routine that runs at %u", irql,
				lane->base);
	for (unsigned i = 0; i < lane->held_count; i++) {
		const struct sim_held *held = &lane->held[i];

		if (irql < held->level)
			ke_bug_check_at(
				site, "IRQL-CHANGED",
				"lowering IRQL to %u while holding the lock %p, taken at %s:%d",
				irql, (void *)held->lock, held->site->file, held->site->line);
	}
}

void ke_lower_irql_at(kirql irql, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);

	sim_yield(SIM_OP_LOWER_IRQL, NULL, site);
	sim_require_lowering(lane, irql, site);
	sim_set_irql(lane, irql);
}

/* ---- The life of a lane --------------------------------------------------------------------- */

static void run_task(struct sim_lane *lane)
{
	struct sim_task *task = &lane->task;

	verifier_context_begins(&lane->verifier);
	/* After whoever created the thread or queued the object. Not after the lane in whose
	 * context the scheduler happened to begin this: TSan must see their races. */
	sim_order_after(lane->kind == SIM_THREAD ? &lane->wake_order : task->object);
	switch (lane->kind) {
	case SIM_THREAD:
		task->thread(task->context);
		break;
	case SIM_WORK_ITEM:
		sim_order_after(&lane->processor->work_order);
		task->work(task->context);
		break;
	case SIM_DPC:
		sim_order_after(&lane->processor->dpc_order);
		task->dpc(task->object, task->context);
		break;
	case SIM_INTERRUPT:
		sim_serve_interrupt(lane);
		break;
	}
}

static const char *const routine_names[] = {"thread", "work item", "DPC", "service routine"};

static void require_clean_return(struct sim_lane *lane)
{
	const struct ke_site *site = lane->site ? lane->site : KE_HERE;
	const char *name = routine_names[lane->kind];

	if (lane->held_count)
		ke_bug_check_at(site, "LOCK-MISUSE",
				"a %s returned holding the lock %p, taken at %s:%d", name,
				(void *)lane->held[0].lock, lane->held[0].site->file,
				lane->held[0].site->line);
	if (lane->irql != lane->base)
		ke_bug_check_at(site, "IRQL-CHANGED", "a %s that began at IRQL %u returned at %u",
				name, lane->base, lane->irql);
	if (verifier_on)
		verifier_context_ends(&lane->verifier, site);
}

static void free_lane(struct sim_lane *lane)
{
	lane->state = SIM_FREE;
	insert_head_list(&sim_state.free_lanes, &lane->entry);
}

static void end_thread(struct sim_lane *lane)
{
	struct sim_lane *joiner = lane->joiner;

	remove_entry_list(&lane->entry);
	lane->state = SIM_ENDED;
	if (lane->id == 0)
		sim_state.main_returned = true;
	else if (joiner)
		sim_wake(joiner, STATUS_SUCCESS);
}

static void end_lane(struct sim_lane *lane)
{
	require_clean_return(lane);
	/* Before the end of ke_wait_for_thread, and of ke_run. */
	sim_order_before(&lane->wake_order);
	switch (lane->kind) {
	case SIM_THREAD:
		end_thread(lane);
		return;
	case SIM_WORK_ITEM:
		sim_order_before(&lane->processor->work_order);
		lane->processor->worker = NULL;
		break;
	case SIM_DPC:
		sim_order_before(&lane->processor->dpc_order);
		pop(lane);
		sim_check_flushing();
		break;
	case SIM_INTERRUPT:
		pop(lane);
		break;
	}
	free_lane(lane);
}

/* The whole life of a fiber. */
static void lane_main(void *argument)
{
	struct sim_lane *lane = argument;

	for (;;) {
		run_task(lane);
		end_lane(lane);
		sim_reschedule();
	}
}

/* The lane with the next number, from a former run or new; NULL if there can be none. */
static struct sim_lane *next_lane(void)
{
	unsigned id = sim_state.lanes_used;
	struct sim_lane *lane;

	if (id < sim_state.lanes_made) {
		sim_state.lanes_used++;
		sim_state.lanes[id]->turn = 0;
		return sim_state.lanes[id];
	}
	if (id == SIM_MAXIMUM_LANES)
		return NULL;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	if (!sim_fiber_create(&lane->fiber, lane_main, lane)) {
		free(lane);
		return NULL;
	}
	lane->id = id;
	sim_state.lanes[id] = lane;
	sim_state.lanes_made = sim_state.lanes_used = id + 1;
	return lane;
}

struct sim_lane *sim_lane_take(enum sim_kind kind, const struct sim_task *task)
{
	struct list_entry *entry = remove_head_list(&sim_state.free_lanes);
	struct sim_lane *lane =
		entry ? containing_record(entry, struct sim_lane, entry) : next_lane();

	if (!lane)
		return NULL;
	lane->kind = (uint8_t)kind;
	lane->irql = lane->base = PASSIVE_LEVEL;
	lane->operation = SIM_OP_NONE;
	lane->held_count = 0;
	lane->wait = SIM_WAIT_NONE;
	lane->site = NULL;
	lane->processor = &sim_state.processor[0];
	lane->below = NULL;
	lane->spins_on = NULL;
	lane->object = NULL;
	lane->nth = 0;
	sim_new_life(lane);
	lane->waits_on = NULL;
	lane->joiner = NULL;
	initialize_list_head(&lane->waiter);
	initialize_list_head(&lane->due);
	lane->task = *task;
	return lane;
}

static struct sim_lane *take_or_stop(enum sim_kind kind, const struct sim_task *task)
{
	struct sim_lane *lane = sim_lane_take(kind, task);

	if (!lane)
		ke_bug_check("OUT-OF-LANES", "no stack for one more %s after %u lanes",
			     routine_names[kind], sim_state.lanes_used);
	return lane;
}

struct sim_lane *sim_lane_start_pinned(enum sim_kind kind, const struct sim_task *task,
				       struct sim_processor *processor)
{
	struct sim_lane *lane = take_or_stop(kind, task);

	lane->irql = lane->base = kind == SIM_DPC ? DISPATCH_LEVEL : DEVICE_LEVEL;
	push(lane, processor);
	return lane;
}

struct sim_lane *sim_lane_start_worker(const struct sim_task *task, struct sim_processor *processor)
{
	struct sim_lane *lane = take_or_stop(SIM_WORK_ITEM, task);

	lane->state = SIM_READY;
	lane->processor = processor;
	processor->worker = lane;
	return lane;
}

/* ---- Threads -------------------------------------------------------------------------------- */

struct verifier_context *verifier_current(void)
{
	return sim_state.current ? &sim_state.current->verifier : &sim_state.boss_verifier;
}

unsigned ke_query_active_processor_count(void)
{
	return sim_state.processors;
}

unsigned ke_get_current_processor_number(void)
{
	return sim_state.current ? sim_state.current->processor->number : 0;
}

/* A wish only, and here the scheduler's choices are the point. */
void ke_set_ideal_processor_thread(unsigned processor)
{
	(void)processor;
}

ntstatus ps_create_system_thread_at(struct kthread *thread, ke_thread_routine *routine,
				    void *context, const struct ke_site *site)
{
	struct sim_task task = {.thread = routine, .context = context, .origin = site};
	struct sim_lane *lane;

	sim_require_irql(PASSIVE_LEVEL, "creating a thread", site);
	sim_yield(SIM_OP_CREATE_THREAD, NULL, site);
	sim_touch(thread, sizeof(*thread));
	lane = sim_lane_take(SIM_THREAD, &task);
	if (!lane)
		return STATUS_INSUFFICIENT_RESOURCES;
	lane->processor = sim_state.current->processor;
	thread->routine = routine;
	thread->context = context;
	thread->executive = (uintptr_t)lane;
	sim_order_before(&lane->wake_order);
	sim_lane_ready(lane);
	return STATUS_SUCCESS;
}

void ke_wait_for_thread_at(struct kthread *thread, const struct ke_site *site)
{
	struct sim_lane *lane;

	sim_require_thread("waiting for a thread", site);
	sim_yield(SIM_OP_WAIT_THREAD, NULL, site);
	sim_touch(thread, sizeof(*thread));
	lane = (struct sim_lane *)thread->executive;
	if (!lane || lane->joiner)
		ke_bug_check_at(site, "THREAD-WAITED-TWICE", "the thread %p was waited for before",
				(void *)thread);
	lane->joiner = sim_state.current;
	if (lane->state != SIM_ENDED)
		sim_wait(SIM_WAIT_THREAD, lane, UINT64_MAX);
	thread->executive = 0;
	sim_order_after(&lane->wake_order);
	free_lane(lane);
}
