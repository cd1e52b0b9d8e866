/*
 * ke/sim, for tests and tools: what a simulated run was like.
 *
 * The simulated executive runs every context of the program on one operating system thread and
 * decides at each visible operation who goes on. All its decisions follow from ke_options.seed, so
 * a run can be had again by its seed, with any compiler and under any sanitizer.
 *
 * The seed decides two habits of the run besides the schedule itself:
 *   - how strongly the context that runs is preferred: not at all for half of the seeds, with a
 *     chance of 1/2 for a quarter, of 7/8 for the rest;
 *   - whether processors can be slow, for every fourth seed but not for seed 0: then a timer or
 *     timeout that is less than a millisecond off may fire although others still have work.
 * Otherwise virtual time passes by 10 ns a step, and in one jump when nothing can run.
 *
 * The memory that the contexts share is sequentially consistent here. Bugs that need a weaker
 * memory are the business of ke/host under ThreadSanitizer.
 */
#ifndef XPORT_KE_SIM_SIM_H
#define XPORT_KE_SIM_SIM_H

#include <stdint.h>

#include "ke/ntstatus.h"

enum ke_sim_verdict {
	KE_SIM_COMPLETED, /* ke_run returned STATUS_SUCCESS */
	KE_SIM_DEADLOCK,  /* STATUS_POSSIBLE_DEADLOCK: nothing could ever run again */
	KE_SIM_LIVELOCK,  /* STATUS_IO_TIMEOUT: the run did not end within the limit of steps */
	KE_SIM_BUG_CHECK, /* a contract was broken; seen only with KE_SIM_CATCH */
};

enum {
	KE_SIM_RULE_BYTES = 32,
	KE_SIM_TEXT_BYTES = 8192,
};

struct ke_sim_report {
	uint64_t seed;
	uint64_t steps;	      /* yield points that were passed, blocking ones included */
	uint64_t choices;     /* decisions between two or more alternatives */
	uint64_t switches;    /* steps at which another context went on */
	uint64_t trace_hash;  /* of every decision, and of where in the source it was taken */
	uint64_t end_time_ns; /* virtual */
	unsigned processors;
	unsigned lanes; /* the most contexts that lived at once */
	enum ke_sim_verdict verdict;
	char rule[KE_SIM_RULE_BYTES]; /* of a bug check, else empty */
	char text[KE_SIM_TEXT_BYTES]; /* what went to standard error, else empty */
};

/* The last run's report, until the next ke_run. */
const struct ke_sim_report *ke_sim_last_report(void);

enum {
	KE_SIM_CATCH = 1, /* a bug check ends ke_run (STATUS_INVALID_DEVICE_REQUEST), no abort */
	KE_SIM_QUIET = 2, /* reports are kept in `text` only */
};

/* Sets the flags for the runs to come; 0 at first. Returns what they were. */
unsigned ke_sim_set_flags(unsigned flags);

#endif
