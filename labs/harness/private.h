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
	uint64_t seed;
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
	uint64_t seed;	     /* the only one to run; 0: all */
	bool json;
};

extern struct lab_record *lab_record;

/*
 * The executive that this program is linked with, how often an exercise runs on it, and whether a
 * run can be had again by its number.
 */
extern const char lab_executive[];
extern const unsigned lab_repetitions;
extern const bool lab_can_repeat;

/* The answer's ke_set_event. */
void lab_set_event_at(struct kevent *event, const struct ke_site *site);

/* Prints what happened; returns whether all is well. */
bool lab_tell(const struct lab_options *options, const struct lab_ending *ending);

/* The sentence of a rule in the handout; a hint to look there when it can't be read. */
const char *lab_rule_sentence(const struct lab_options *options, int rule);

#endif
