/*
 * ke/sim, for explorers: by which plan the next runs choose, and what a run has chosen.
 *
 * The default schedule takes alternative 0 of every choice: the context that runs goes on while it
 * can, then the first of those that could; the environment does the ordinary thing. A *deviation*
 * is a choice of another alternative. So a schedule is a list of deviations, and a search goes from
 * few to many. A deviation's place is named in two ways: by `ordinal`, the how-manieth choice of
 * the run it is, and by the lane that ran, its how-manieth yield point that was, and which choice
 * since. The second still means the same when an earlier deviation is left out.
 *
 * Whatever the plan, a run that has taken KE_SIM_FAIR_STEPS steps goes on at random: so a loop that
 * waits for another context to do something comes to its end, and one that does not is a livelock
 * when KE_SIM_LIVELOCK_STEPS have passed.
 *
 * The functions here are for the code around runs, not for code within one.
 */
#ifndef XPORT_KE_SIM_PLAN_H
#define XPORT_KE_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum { KE_SIM_FAIR_STEPS = 10000, KE_SIM_LIVELOCK_STEPS = 200000 };

struct ke_sim_deviation {
	uint32_t ordinal; /* among the run's choices, from 0 */
	uint32_t turn;	  /* the lane's yield points so far */
	uint16_t lane;
	uint16_t nth;	/* choice since then, from 0 */
	uint32_t index; /* what was chosen; at least 1 */
};

enum ke_sim_strategy {
	KE_SIM_SEEDED, /* random, with the habits that sim.h tells of; what runs do without a plan
			*/
	KE_SIM_UNIFORM,
	KE_SIM_STICKY,	   /* goes on with the same context 7 times of 8 */
	KE_SIM_POS,	   /* partial order sampling: random priorities of operations */
	KE_SIM_PCT,	   /* random priorities of contexts, changed at `depth` - 1 steps */
	KE_SIM_BY_ORDINAL, /* the deviations given, else the default */
	KE_SIM_BY_PLACE,
};

enum { KE_SIM_PCT_DEPTH = 8 };

struct ke_sim_plan {
	enum ke_sim_strategy strategy;
	unsigned depth;	 /* KE_SIM_PCT: 1 to KE_SIM_PCT_DEPTH */
	uint32_t length; /* KE_SIM_PCT: how many steps a run is likely to take */
	const struct ke_sim_deviation *deviations; /* in the order of their ordinals */
	uint32_t deviation_count;
	uint64_t fail_allocation; /* this allocation of the run finds no pool; 0: none */
};

/*
 * What a run has chosen. The explorer provides the memory, which may be shared with a process that
 * has to know when this one dies. The counts go on when the arrays are full.
 */
struct ke_sim_record {
	uint32_t deviation_count;
	uint32_t choice_count;
	uint32_t allocation_count;
	uint32_t event_count;
	uint32_t deviation_room, choice_room, event_room;
	struct ke_sim_deviation *deviations;
	uint16_t *alternatives;	     /* of each choice, by ordinal; or NULL */
	struct ke_sim_event *events; /* in order; or NULL */
};

/* A step: a context does something that others could see. */
struct ke_sim_event {
	uint64_t time_ns;
	const char *file;
	const char *what;
	const char *kind; /* of the lane: thread, DPC, ... */
	int32_t line;
	uint16_t lane;
	uint8_t irql;
	uint8_t processor; /* 255: none */
	bool switched;	   /* another lane ran before, ... */
	bool preempted;	   /* ... and could have gone on */
};

/* For all runs to come; NULL for runs without a plan, or a record. What they point to must stay. */
void ke_sim_set_plan(const struct ke_sim_plan *plan, struct ke_sim_record *record);

/* Stops the process for a debugger when a run comes to this step; 0: never. */
void ke_sim_stop_at(uint64_t step);

#endif
