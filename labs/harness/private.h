/* What the two processes of a check share: the one that runs the exercises and the one that tells.
 */
#ifndef XPORT_LABS_PRIVATE_H
#define XPORT_LABS_PRIVATE_H

#include <stdio.h>

#include "lab.h"

enum { LAB_STEPS = 128, LAB_STEP_BYTES = 160, LAB_WORDS_BYTES = 320, LAB_RULES = 32 };

/* Written by the process that runs, at any time; the strings end at the latest with the array. */
struct lab_record {
	uint32_t exercise; /* the one that runs or ran last */
	uint32_t passed;
	uint32_t total;
	uint32_t step_count; /* of this run; may exceed what is kept */
	int32_t step_rule;   /* of the last step */
	char steps[LAB_STEPS][LAB_STEP_BYTES];
	int32_t failed; /* an expectation did not hold: what follows says which */
	int32_t failed_rule;
	char expected[LAB_WORDS_BYTES];
	char actual[LAB_WORDS_BYTES];
};

/* How the process that ran has ended. */
struct lab_ending {
	int status;   /* as of waitpid */
	char *errors; /* what it wrote to standard error */
};

struct lab_options {
	const char *handout; /* the README.md with the rules */
	const char *student; /* the file under check, as its user calls it */
	const char *again;   /* a token: the only run; or NULL */
	bool json;
};

extern struct lab_record *lab_record;

/* ---- What differs between the executives: sim.c, host.c -------------------------------------- */

enum lab_job {
	LAB_SEARCH, /* all runs that it takes to pass */
	LAB_SHRINK, /* few runs, for a failure that is easier to follow */
	LAB_DRAW,   /* the one run that failed, with its steps noted */
};

/* The executive that this program is linked with, and whether it can have a run again. */
extern const char lab_executive[];
extern const bool lab_can_repeat;

/* Before there is any child; ends the program when there is no memory. */
void lab_prepare_runs(void);

/* In the child: returns when the exercise has passed, else ends it with the reason on stderr. */
void lab_run_exercise(const struct lab_exercise *exercise, enum lab_job job);

/* The run in which the child ended becomes the one to shrink or draw. */
void lab_take_failure(void);

/* How many deviations from the ordinary order of events that has. */
unsigned lab_deviations(void);

/* Reads a token; the number of its exercise, or -1 when it is none. */
int lab_read_token(const char *token);

/* Prints the token, and the drawing, of the run that failed. */
void lab_print_token(void);
void lab_print_drawing(void);

/* ---- The rest -------------------------------------------------------------------------------- */

/* To be called at the beginning of each run. */
void lab_begin_run(void);

/* The answer's ke_set_event. */
void lab_set_event_at(struct kevent *event, const struct ke_site *site);

/* Whether all exercises have passed, and if not, which rule is to blame. */
bool lab_judge(const struct lab_options *options, const struct lab_ending *ending, int *rule);

/* Prints what happened; returns whether all is well. */
bool lab_tell(const struct lab_options *options, const struct lab_ending *ending);

/* The sentence of a rule in the handout; a hint to look there when it can't be read. */
const char *lab_rule_sentence(const struct lab_options *options, int rule);

#endif
