/*
 * The scheduler: who goes on at each yield point, and what time it is.
 *
 * Before each visible operation the lane that runs calls sim_yield. The scheduler then collects
 * every step that the machine could take next:
 *
 *   - the current lane goes on, always alternative 0 when it can;
 *   - another ready thread goes on, if any processor is open;
 *   - a processor's top context goes on, unless it spins for a lock that is held;
 *   - an open processor continues its work item, begins one, or begins a DPC;
 *   - a processor whose level is below DEVICE_LEVEL begins a requested interrupt;
 *   - on a slow machine, time passes to the next timer or timeout.
 *
 * It chooses one by sim_choose and switches straight from fiber to fiber; no scheduler context lies
 * between. Between two yield points a lane runs alone, so the executive's own state needs no
 * protection, and an operation takes effect at one instant: right after its yield point.
 *
 * DPCs of one queue begin in the order in which they were queued, as do work items; a DPC for any
 * processor is queued apart and may overtake the others. Interrupts come in any order.
 *
 * When there is no step to take, the clock jumps to the next timer or timeout; without one the run
 * has completed, if main returned and nothing is on any processor, or is in deadlock.
 *
 * Every decision goes through sim_choose and from there into the trace hash, with the lane, the
 * file and the operation at which it was taken. The hash contains no address, so it is the same for
 * the same seed in every build.
 */
#include "ke/sim/executive.h"

/* ---- The environment ------------------------------------------------------------------------ */

unsigned ke_choose_at(unsigned alternatives, const char *what, const struct ke_site *site)
{
	struct sim_choice choice = {.what = SIM_CHOOSE_OUTCOME, .alternatives = alternatives};
	struct sim_lane *lane = sim_this_lane(site);

	if (alternatives == 0)
		ke_bug_check_at(site, "NO-ALTERNATIVE", "choosing '%s' from nothing", what);
	lane->site = site;
	lane->operation = SIM_OP_CHOOSE;
	return sim_choose(&choice);
}

static bool qualifies(const struct sim_processor *processor, kirql level, bool without_worker)
{
	kirql irql = processor->top ? processor->top->irql : PASSIVE_LEVEL;

	return irql < level && !(without_worker && processor->worker);
}

struct sim_processor *sim_choose_processor(kirql level, bool without_worker, unsigned preferred)
{
	struct sim_processor *found[KE_MAXIMUM_PROCESSORS];
	struct sim_choice choice = {.what = SIM_CHOOSE_PROCESSOR};

	for (unsigned i = 0; i < sim_state.processors; i++) {
		unsigned number = (preferred + i) % sim_state.processors;
		struct sim_processor *processor = &sim_state.processor[number];

		if (qualifies(processor, level, without_worker))
			found[choice.alternatives++] = processor;
	}
	return found[choice.alternatives > 1 ? sim_choose(&choice) : 0];
}

/* ---- What could happen next ----------------------------------------------------------------- */

static bool top_can_go_on(const struct sim_lane *top)
{
	return !top->spins_on || !top->spins_on->held;
}

static bool can_continue(const struct sim_lane *lane)
{
	if (lane->state == SIM_PINNED)
		return lane->processor->top == lane && top_can_go_on(lane);
	if (lane->state != SIM_READY)
		return false;
	return lane->kind == SIM_THREAD ? sim_state.open > 0 : !lane->processor->top;
}

static struct sim_candidate *add(struct sim_candidates *list, enum sim_move move,
				 struct sim_processor *processor)
{
	/* Beyond the limit steps are not offered this time; those that are make room for them. */
	struct sim_candidate *candidate = &list->at[list->count];

	if (list->count < SIM_MAXIMUM_CANDIDATES - 1)
		list->count++;
	candidate->move = move;
	candidate->processor = processor;
	return candidate;
}

static void collect_interrupts(struct sim_candidates *list, struct list_entry *requested,
			       struct sim_processor *processor)
{
	for (struct list_entry *e = requested->next; e != requested; e = e->next)
		add(list, SIM_BEGIN_INTERRUPT, processor)->interrupt =
			containing_record(e, struct kinterrupt, entry);
}

static void collect_open_processor(struct sim_candidates *list, struct sim_processor *processor)
{
	struct sim_lane *worker = processor->worker;

	if (worker) {
		if (worker != sim_state.current)
			add(list, SIM_RUN_LANE, processor)->lane = worker;
	} else if (!is_list_empty(&processor->work_items)) {
		add(list, SIM_BEGIN_WORK_ITEM, processor)->queue = &processor->work_items;
	}
	if (!is_list_empty(&processor->dpcs))
		add(list, SIM_BEGIN_DPC, processor)->queue = &processor->dpcs;
}

static void collect_processor(struct sim_candidates *list, struct sim_processor *processor)
{
	struct sim_lane *top = processor->top;

	if (!top)
		collect_open_processor(list, processor);
	else if (top != sim_state.current && top_can_go_on(top))
		add(list, SIM_RUN_LANE, processor)->lane = top;
	if (!is_list_empty(&processor->interrupts) && qualifies(processor, DEVICE_LEVEL, false))
		collect_interrupts(list, &processor->interrupts, processor);
}

static bool some_processor(kirql level, bool without_worker)
{
	for (unsigned i = 0; i < sim_state.processors; i++) {
		if (qualifies(&sim_state.processor[i], level, without_worker))
			return true;
	}
	return false;
}

/* Steps that any processor may take. */
static void collect_unbound(struct sim_candidates *list)
{
	if (!is_list_empty(&sim_state.any_dpcs) && sim_state.open)
		add(list, SIM_BEGIN_DPC, NULL)->queue = &sim_state.any_dpcs;
	if (!is_list_empty(&sim_state.any_work_items) && some_processor(DISPATCH_LEVEL, true))
		add(list, SIM_BEGIN_WORK_ITEM, NULL)->queue = &sim_state.any_work_items;
	if (!is_list_empty(&sim_state.any_interrupts) && some_processor(DEVICE_LEVEL, false))
		collect_interrupts(list, &sim_state.any_interrupts, NULL);
}

static void collect(struct sim_candidates *list)
{
	struct sim_lane *current = sim_state.current;

	list->count = 0;
	list->first_continues = can_continue(current);
	if (list->first_continues)
		add(list, SIM_RUN_LANE, current->processor)->lane = current;
	if (sim_state.open) {
		struct list_entry *ready = &sim_state.ready;

		for (struct list_entry *e = ready->next; e != ready; e = e->next) {
			struct sim_lane *lane = containing_record(e, struct sim_lane, entry);

			if (lane != current)
				add(list, SIM_RUN_LANE, NULL)->lane = lane;
		}
	}
	for (unsigned i = 0; i < sim_state.processors; i++)
		collect_processor(list, &sim_state.processor[i]);
	collect_unbound(list);
	list->last_is_time = sim_state.slow && list->count && !sim_state.main_returned &&
			     sim_state.next_due_ns <= sim_state.now_ns + SIM_SLOWNESS_NS;
	if (list->last_is_time)
		add(list, SIM_PASS_TIME, NULL);
}

/* ---- Time ----------------------------------------------------------------------------------- */

uint64_t sim_deadline(uint64_t delay_ns)
{
	/* UINT64_MAX means never. */
	if (delay_ns >= UINT64_MAX - 1 - sim_state.now_ns)
		return UINT64_MAX - 1;
	return sim_state.now_ns + delay_ns;
}

void sim_update_next_due(void)
{
	uint64_t next = UINT64_MAX;

	if (!is_list_empty(&sim_state.timers))
		next = containing_record(sim_state.timers.next, struct ktimer, entry)->due_ns;
	if (!is_list_empty(&sim_state.sleepers)) {
		struct sim_lane *lane =
			containing_record(sim_state.sleepers.next, struct sim_lane, due);

		if (lane->due_ns < next)
			next = lane->due_ns;
	}
	sim_state.next_due_ns = next;
}

/* Queues the DPCs of timers that are due, and ends the waits whose time is over. */
static void fire_due(void)
{
	sim_fire_timers();
	while (!is_list_empty(&sim_state.sleepers)) {
		struct sim_lane *lane =
			containing_record(sim_state.sleepers.next, struct sim_lane, due);

		if (lane->due_ns > sim_state.now_ns)
			break;
		sim_wake(lane, STATUS_TIMEOUT);
	}
	sim_update_next_due();
}

/* ---- Moving on ------------------------------------------------------------------------------ */

/* Takes the step. Returns the lane that goes on, or NULL if none did and one must choose again. */
static struct sim_lane *take_step(const struct sim_candidate *step)
{
	struct sim_processor *processor = step->processor;
	unsigned here = sim_state.current->processor->number;

	switch (step->move) {
	case SIM_RUN_LANE:
		return step->lane;
	case SIM_BEGIN_DPC:
		if (!processor)
			processor = sim_choose_processor(DISPATCH_LEVEL, false, here);
		return sim_begin_dpc(step->queue, processor);
	case SIM_BEGIN_WORK_ITEM:
		if (!processor)
			processor = sim_choose_processor(DISPATCH_LEVEL, true, here);
		return sim_begin_work_item(step->queue, processor);
	case SIM_BEGIN_INTERRUPT:
		if (!processor)
			processor = sim_choose_processor(DEVICE_LEVEL, false, here);
		return sim_begin_interrupt(step->interrupt, processor);
	case SIM_PASS_TIME:
		sim_state.now_ns = sim_state.next_due_ns;
		break;
	}
	return NULL;
}

static bool all_processors_idle(void)
{
	for (unsigned i = 0; i < sim_state.processors; i++) {
		if (sim_state.processor[i].top || sim_state.processor[i].worker)
			return false;
	}
	return true;
}

/* There is no step to take. Moves the clock; false if the run has ended, one way or the other. */
static bool wait_for_time(enum ke_sim_verdict *verdict)
{
	if (sim_state.main_returned && all_processors_idle()) {
		*verdict = KE_SIM_COMPLETED;
		return false;
	}
	if (sim_state.next_due_ns == UINT64_MAX) {
		*verdict = KE_SIM_DEADLOCK;
		return false;
	}
	if (sim_state.now_ns < sim_state.next_due_ns)
		sim_state.now_ns = sim_state.next_due_ns;
	return true;
}

/* Chooses steps until one makes a lane go on, which is returned; NULL if the run has ended. */
static struct sim_lane *choose_lane(enum ke_sim_verdict *verdict)
{
	struct sim_candidates list; /* filled by collect: no need to clear it */

	for (;;) {
		struct sim_choice choice = {.what = SIM_CHOOSE_STEP};
		struct sim_lane *lane;

		if (sim_state.now_ns >= sim_state.next_due_ns)
			fire_due();
		collect(&list);
		if (list.count == 0) {
			if (!wait_for_time(verdict))
				return NULL;
			continue;
		}
		choice.alternatives = list.count;
		choice.candidates = &list;
		lane = take_step(&list.at[sim_choose(&choice)]);
		if (lane)
			return lane;
	}
}

void sim_reschedule(void)
{
	struct sim_lane *lane = sim_state.current, *next;
	enum ke_sim_verdict verdict;

	if (++sim_state.steps > KE_SIM_LIVELOCK_STEPS) {
		sim_leave(KE_SIM_LIVELOCK);
		return;
	}
	next = choose_lane(&verdict);
	if (!next) {
		sim_leave(verdict);
		return;
	}
	if (sim_state.record || sim_state.stop_at)
		sim_note_event(lane, next);
	if (next != lane) {
		sim_state.switches++;
		sim_state.current = next;
		sim_fiber_switch(&lane->fiber, &next->fiber);
	}
}

void sim_yield(enum sim_operation operation, const void *object, const struct ke_site *site)
{
	struct sim_lane *lane = sim_state.current;

	if (!lane)
		return;
	lane->site = site;
	lane->operation = (uint8_t)operation;
	lane->object = object;
	lane->turn++;
	lane->nth = 0;
	sim_new_operation(lane);
	sim_state.now_ns += SIM_STEP_NS;
	sim_reschedule();
}

void sim_leave(enum ke_sim_verdict verdict)
{
	struct sim_lane *lane = sim_state.current;

	sim_state.report.verdict = verdict;
	if (verdict != KE_SIM_COMPLETED && !sim_state.failed)
		sim_report_stuck(verdict);
	sim_state.current = NULL;
	sim_fiber_switch(&lane->fiber, &sim_state.boss);
}
