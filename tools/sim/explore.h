/*
 * explore - searches the schedules of a scenario for one on which it fails.
 *
 * A scenario is a routine that runs as main thread of the simulated executive. It fails when its
 * run ends in anything but order: a bug check (of the executive, a room, or the scenario's own
 * expectation), a deadlock, a livelock, a leak, a crash.
 *
 * The search, in this order, until it has found a failure or its budget is spent:
 *
 *   bounded    every schedule with 0 deviations from the default (ke/sim/plan.h), with 1, with 2.
 *              What was exhausted is a guarantee, for this scenario and these yield points
 *   failures   each allocation of the default schedule in turn finds no pool, if the scenario is
 *              for that
 *   sampling   schedules at random, from several distributions, for none wins everywhere: 40 % POS,
 *              25 % uniform, 25 % PCT of depths 2, 3 and 5, 10 % sticky; each seed also draws how
 *              often the environment does not the ordinary thing. Every 64th is run twice, and the
 *              two must be the same
 *
 * A failure is then shrunk: a bounded search for the same rule gives the fewest deviations, and
 * after that fewer requests are tried.
 *
 * Everything runs in a child process (isolate.c), so that a crash is a finding like any other.
 */
#ifndef XPORT_SIM_EXPLORE_H
#define XPORT_SIM_EXPLORE_H

#include "ke/ke.h"
#include "ke/sim/plan.h"
#include "ke/sim/sim.h"

/* What a scenario's routine is given as its context. */
struct sim_setting {
	unsigned requests;
};

struct sim_scenario {
	const char *name; /* stage/what: "request/cancel" */
	const char *says; /* one line */
	ke_thread_routine *run;
	unsigned requests;   /* how many the setting asks for, unless the user does; at least 1 */
	bool wants_failures; /* it can do without memory */
};

enum { SIM_BOUNDS = 3, SIM_DEVIATIONS = 4096, SIM_CHOICES = 1 << 16, SIM_RULE_BYTES = 40 };

/* A schedule, complete: with the same program it is the same run. */
struct sim_schedule {
	unsigned processors;
	unsigned requests;
	uint64_t fail_allocation;
	uint32_t deviation_count; /* more than SIM_DEVIATIONS: it could not be kept whole */
	struct ke_sim_deviation deviations[SIM_DEVIATIONS];
};

enum sim_portfolio { SIM_PORTFOLIO, SIM_ONLY_BOUNDED, SIM_ONLY_SAMPLING };

struct sim_search {
	const struct sim_scenario *scenario;
	unsigned processors;
	unsigned requests;
	uint64_t seed;		   /* of the first sampled schedule */
	uint64_t budget_ns;	   /* of time */
	uint64_t budget_schedules; /* 0: as many as there is time for */
	unsigned bound;		   /* of deviations, below SIM_BOUNDS */
	enum sim_portfolio portfolio;
	int strategy;	  /* of the sampling: an enum ke_sim_strategy; -1: all of them */
	const char *rule; /* only this one counts; NULL: any */
};

/* How far a search has come; written all the time, for another process to read. */
struct sim_progress {
	uint64_t schedules;
	uint64_t exhausted[SIM_BOUNDS]; /* schedules of the bound, once all are done; else 0 */
	uint64_t failures_tried;
	uint64_t sampled[KE_SIM_BY_PLACE + 1]; /* by strategy */
	uint64_t most_steps;
	uint64_t most_choices;
	unsigned most_lanes;
	uint64_t elapsed_ns;
	uint64_t hash; /* of all runs so far: the same in every build that is built from these
			  sources */
};

/* What a search has found. */
struct sim_finding {
	bool found;
	bool unstable; /* the same schedule was not the same run twice */
	char rule[SIM_RULE_BYTES];
	char text[KE_SIM_TEXT_BYTES];
	struct sim_schedule schedule;
};

/* Memory that a search and its parent share. */
struct sim_board {
	struct sim_progress progress;
	struct sim_finding finding;
	struct ke_sim_record record; /* of the run that is under way, ... */
	struct ke_sim_deviation deviations[SIM_DEVIATIONS];
	unsigned running_requests;
	uint64_t running_failure; /* ... with its setting */
};

/* Searches in this process; a crash ends it. True when something was found. */
bool explore_here(const struct sim_search *search, struct sim_board *board);

/* The schedule of the run that is under way, or in which its process has died; see the board. */
void explore_take_running(struct sim_board *board, unsigned processors);

/* One run of a schedule, in this process; fills the finding in. `events` may be NULL. */
bool explore_run(const struct sim_scenario *scenario, const struct sim_schedule *schedule,
		 struct sim_board *board, struct ke_sim_event *events, uint32_t event_room);

/* ---- isolate.c: the same in a child, with a board of its own --------------------------------- */

/* Both NULL when the machine refuses the memory, which is never given back. */
struct sim_board *explore_new_board(void);
struct ke_sim_event *explore_new_events(uint32_t room);

typedef void explore_watcher(const struct sim_progress *progress, void *context);

/*
 * Searches, and shrinks what was found. `watch` (may be NULL) is called several times a second.
 * True when something was found, false when not; the board says what and how far.
 */
bool explore(const struct sim_search *search, struct sim_board *board, explore_watcher *watch,
	     void *context);

/* Runs a schedule; true if it fails, with the finding on the board. */
bool explore_again(const struct sim_scenario *scenario, const struct sim_schedule *schedule,
		   struct sim_board *board, struct ke_sim_event *events, uint32_t event_room);

#endif
