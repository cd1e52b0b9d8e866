/* Rules and what breaks them: each with a twin that does the same rightly. */
#ifndef XPORT_TESTS_FIXTURES_H
#define XPORT_TESTS_FIXTURES_H

#include "executive.h"

struct fixture {
	const char *rule;
	const char *words; /* that the report has besides */
	ke_thread_routine *broken;
	ke_thread_routine *twin; /* on which the verifier is silent */
};

/* Runs an array that ends with an empty one. */
static inline void run_fixtures(const struct fixture *fixtures)
{
	for (; fixtures->rule != NULL; fixtures++) {
		expect_report(fixtures->rule, fixtures->words, fixtures->broken, NULL);
		if (fixtures->twin != NULL)
			in_executive(fixtures->twin, NULL);
	}
}

#endif
