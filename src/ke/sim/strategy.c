/*
 * Choosing: every decision of a run, by its plan.
 *
 *   seeded    at random, with the two habits of the seed (sim.h)
 *   uniform   at random
 *   sticky    the current lane goes on 7 times of 8
 *   POS       each operation that a lane comes to gets a random priority, and the highest goes on;
 *             then the others that are about to touch the same object draw anew, because only the
 *             order of operations on one object makes a difference
 *   PCT       each lane gets a random priority for life, and the highest goes on; at depth - 1
 *             random steps the lane that runs falls below all others. A bug that needs `depth`
 *             ordered events is found with a chance of 1 / (lanes * steps^(depth - 1)) at least
 *   by place  the given deviations, otherwise alternative 0
 *
 * What begins (a DPC, a work item, a service routine) is no lane yet: its priority is that of its
 * kind on its processor. That time passes is never a matter of priority, but of chance.
 *
 * Every decision goes into the trace hash, with the lane, the file and the operation at which it
 * was taken. The hash contains no address, so it is the same for the same plan in every build.
 */
#include "ke/sim/executive.h"

#include <string.h>

enum { PASSES_TIME_OF = 16, ALWAYS = 16 }; /* chances */

static struct {
	uint64_t begins[SIM_MOVES][KE_MAXIMUM_PROCESSORS + 1]; /* priorities */
	uint64_t falls[KE_SIM_PCT_DEPTH];		       /* steps, of which depth - 1 count */
	unsigned fallen;
	unsigned boldness; /* how often, of 16 times, the environment does not the ordinary thing */
} drawn;

/* splitmix64: one addition and two multiplications, no state but a counter. */
static uint64_t next_random(void)
{
	uint64_t z = sim_state.random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned below(unsigned count)
{
	return (unsigned)((next_random() >> 32) * count >> 32);
}

/* Never one of the lowest numbers, which are for lanes that have fallen. */
static uint64_t draw_priority(void)
{
	return next_random() | UINT64_C(1) << 32;
}

static enum ke_sim_strategy strategy(void)
{
	return sim_state.plan ? sim_state.plan->strategy : KE_SIM_SEEDED;
}

static bool has_priorities(void)
{
	return strategy() == KE_SIM_POS || strategy() == KE_SIM_PCT;
}

void sim_begin_plan(uint64_t seed)
{
	static const uint8_t habits[4] = {0, 4, 0, 7};
	static const uint8_t boldnesses[4] = {ALWAYS, 0, 1, 4};
	uint64_t draw;

	sim_state.random = seed;
	sim_state.next_deviation = 0;
	draw = next_random();
	sim_state.stickiness = strategy() == KE_SIM_SEEDED ? habits[draw & 3] : 0;
	/* A search by deviations considers each possible timeout; a random one now and then. */
	sim_state.slow = strategy() >= KE_SIM_BY_ORDINAL || (seed != 0 && (draw >> 2 & 3) == 0);
	drawn.boldness = boldnesses[draw >> 4 & 3];
	if (strategy() == KE_SIM_STICKY)
		sim_state.stickiness = 7;
	if (!has_priorities())
		return;
	for (unsigned move = 0; move < SIM_MOVES; move++)
		for (unsigned i = 0; i <= sim_state.processors; i++)
			drawn.begins[move][i] = draw_priority();
	drawn.fallen = 0;
	for (unsigned i = 0; i < KE_SIM_PCT_DEPTH; i++)
		drawn.falls[i] = sim_state.plan->length > 0 ? below(sim_state.plan->length) : 0;
}

void sim_new_life(struct sim_lane *lane)
{
	if (has_priorities())
		lane->priority = draw_priority();
}

void sim_new_operation(struct sim_lane *lane)
{
	if (strategy() == KE_SIM_POS)
		lane->priority = draw_priority();
}

bool sim_allocation_fails(void)
{
	uint64_t number = ++sim_state.allocations;

	if (sim_state.record)
		sim_state.record->allocation_count = (uint32_t)number;
	return sim_state.plan && sim_state.plan->fail_allocation == number;
}

/* ---- By chance ------------------------------------------------------------------------------ */

static bool time_passes(const struct sim_choice *choice)
{
	return choice->candidates && choice->candidates->last_is_time && below(PASSES_TIME_OF) == 0;
}

/*
 * What the environment does. Faults at every turn would end each run before it has done much, so
 * the runs differ in how bold it is: some have no fault at all, some a few.
 */
static unsigned choose_outcome(unsigned count)
{
	if (strategy() != KE_SIM_SEEDED && below(ALWAYS) >= drawn.boldness)
		return 0;
	return below(count);
}

static unsigned choose_by_chance(const struct sim_choice *choice)
{
	unsigned count = choice->alternatives;

	if (choice->what == SIM_CHOOSE_OUTCOME)
		return choose_outcome(count);
	if (time_passes(choice))
		return count - 1;
	if (choice->candidates && choice->candidates->last_is_time)
		count--;
	if (choice->candidates && choice->candidates->first_continues && sim_state.stickiness > 0 &&
	    below(8) < sim_state.stickiness)
		return 0;
	return below(count);
}

/* ---- By priority ---------------------------------------------------------------------------- */

static uint64_t *priority_of(const struct sim_candidate *candidate)
{
	if (candidate->move == SIM_RUN_LANE)
		return &candidate->lane->priority;
	return &drawn.begins[candidate->move]
			    [candidate->processor ? candidate->processor->number + 1 : 0];
}

/* A step of PCT's at which the lane that runs falls below all others, the later the lower. */
static void fall(void)
{
	for (unsigned i = 0; i + 1 < sim_state.plan->depth; i++)
		if (drawn.falls[i] == sim_state.steps)
			sim_state.current->priority = KE_SIM_PCT_DEPTH - drawn.fallen++;
}

/* The lanes that are about to touch what the chosen one touches draw anew. */
static void draw_anew(const struct sim_candidates *candidates, const struct sim_candidate *chosen)
{
	if (chosen->move != SIM_RUN_LANE) {
		*priority_of(chosen) = draw_priority();
		return;
	}
	for (unsigned i = 0; chosen->lane->object && i < candidates->count; i++) {
		const struct sim_candidate *other = &candidates->at[i];

		if (other != chosen && other->move == SIM_RUN_LANE &&
		    other->lane->object == chosen->lane->object)
			other->lane->priority = draw_priority();
	}
}

static unsigned choose_by_priority(const struct sim_choice *choice)
{
	const struct sim_candidates *candidates = choice->candidates;
	unsigned count = choice->alternatives, best = 0;

	if (choice->what == SIM_CHOOSE_OUTCOME)
		return choose_outcome(count);
	if (!candidates)
		return below(count);
	if (time_passes(choice))
		return count - 1;
	count -= candidates->last_is_time;
	if (strategy() == KE_SIM_PCT)
		fall();
	for (unsigned i = 1; i < count; i++)
		if (*priority_of(&candidates->at[i]) > *priority_of(&candidates->at[best]))
			best = i;
	if (strategy() == KE_SIM_POS)
		draw_anew(candidates, &candidates->at[best]);
	return best;
}

/* ---- By what is given ----------------------------------------------------------------------- */

static unsigned clamp(uint32_t index, const struct sim_choice *choice)
{
	return index < choice->alternatives ? index : choice->alternatives - 1;
}

static unsigned choose_by_ordinal(const struct sim_choice *choice)
{
	const struct ke_sim_plan *plan = sim_state.plan;

	if (sim_state.next_deviation == plan->deviation_count ||
	    plan->deviations[sim_state.next_deviation].ordinal != sim_state.choices)
		return 0;
	return clamp(plan->deviations[sim_state.next_deviation++].index, choice);
}

static unsigned choose_by_place(const struct sim_choice *choice)
{
	const struct ke_sim_plan *plan = sim_state.plan;
	const struct sim_lane *lane = sim_state.current;

	for (uint32_t i = 0; i < plan->deviation_count; i++) {
		const struct ke_sim_deviation *deviation = &plan->deviations[i];

		if (deviation->lane == lane->id && deviation->turn == lane->turn &&
		    deviation->nth == lane->nth)
			return clamp(deviation->index, choice);
	}
	return 0;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static unsigned choose(const struct sim_choice *choice)
{
	if (sim_state.steps > KE_SIM_FAIR_STEPS)
		return choose_by_chance(choice);
	switch (strategy()) {
	case KE_SIM_SEEDED:
	case KE_SIM_UNIFORM:
	case KE_SIM_STICKY:
		return choose_by_chance(choice);
	case KE_SIM_POS:
	case KE_SIM_PCT:
		return choose_by_priority(choice);
	case KE_SIM_BY_ORDINAL:
		return choose_by_ordinal(choice);
	case KE_SIM_BY_PLACE:
		return choose_by_place(choice);
	}
	return 0;
}

/* ---- The trace hash ------------------------------------------------------------------------- */

/* FNV-1a of the file's name without its folders, which differ between builds. */
static uint64_t hash_file_name(const char *file)
{
	const char *slash = strrchr(file, '/');
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *c = slash ? slash + 1 : file; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	return hash;
}

/*
 * The hash of a site's file name. Names are few and each is one literal in its object file, so the
 * last ones are remembered by address. The address decides only where a hash is remembered. An
 * entry is good for one run: a library may have been unloaded since.
 */
static uint64_t file_hash(const char *file)
{
	static struct {
		const char *file;
		uint64_t run;
		uint64_t hash;
	} cache[64];
	unsigned slot = (uintptr_t)file / 8 % 64;

	if (cache[slot].file != file || cache[slot].run != sim_state.run) {
		cache[slot].file = file;
		cache[slot].run = sim_state.run;
		cache[slot].hash = hash_file_name(file);
	}
	return cache[slot].hash;
}

/*
 * Adds the decision to the trace hash. The site's line is left out: for a call that is written over
 * several lines, gcc gives the first of them and clang the last.
 */
static void trace(const struct sim_choice *choice, unsigned index)
{
	const struct sim_lane *lane = sim_state.current;
	uint64_t word = (uint64_t)index << 48 | (uint64_t)choice->what << 40 |
			(uint64_t)lane->operation << 32 | lane->id;
	uint64_t place = lane->site ? file_hash(lane->site->file) : 0;
	uint64_t hash = sim_state.trace_hash;

	hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	hash = ((hash ^ hash >> 32) + place) * 0xbf58476d1ce4e5b9;
	sim_state.trace_hash = hash ^ hash >> 29;
}

unsigned sim_choose(const struct sim_choice *choice)
{
	unsigned index = 0;

	if (choice->alternatives > 1) {
		index = choose(choice);
		if (sim_state.record)
			sim_note_choice(choice, index);
		sim_state.choices++;
		sim_state.current->nth++;
	}
	trace(choice, index);
	return index;
}
