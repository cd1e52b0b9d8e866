/*
 * What the exercises of a lab are written with.
 *
 * An exercise is a routine that runs as main thread of an executive: in the simulator under many
 * seeds, on the host several times. It says what it does in steps, in words, and what must hold in
 * expectations; both name the rule of the lab's handout that is at stake. Steps stand in memory
 * that a second process shares, so whatever the code under check does (crash, wait for ever, loop)
 * the report can tell what had been done before.
 *
 * The first expectation that does not hold ends the run: after it, nothing can be relied on.
 */
#ifndef XPORT_LABS_LAB_H
#define XPORT_LABS_LAB_H

#include "ke/ke.h"

#define MILLISECONDS(n) ((int64_t)(n)*1000000)

/* How long an exercise waits for what must happen before it calls it lost. */
#define SOON MILLISECONDS(3000)

/* A run that ended with this sign on standard error has most likely broken this rule. */
struct lab_cause {
	const char *sign;
	int rule;
};

struct lab_exercise {
	const char *says;
	ke_thread_routine *run;
};

/* A lab's exercises.c defines it. Both lists end with an empty entry. */
struct lab {
	const char *name; /* of the stage: also of its folder and of its page in the book */
	const struct lab_cause *causes;
	const struct lab_exercise *exercises;
	uint32_t orders; /* of events, that the simulator tries of each; 0: the usual number */
};

extern const struct lab lab_under_check;

/* ---- Steps and expectations: any context, any IRQL ----------------------------------------- */

/* What is done next, and the rule that is to blame if it never ends. */
void step(int rule, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first `expected` and the second `actual`, in words, for the case that it does not hold. */
void expect_true(int rule, bool holds, const char *expected, const char *actual);
void expect_number(int rule, const char *what, int64_t expected, int64_t actual);
void expect_status(int rule, const char *what, ntstatus expected, ntstatus actual);

/* Waits for the event. A system thread at PASSIVE_LEVEL. */
void expect_event(int rule, struct kevent *event, const char *what);

/* Memory of the pool; ends the run when there is none. Up to DISPATCH. */
void *lab_allocate(size_t bytes);

#endif
