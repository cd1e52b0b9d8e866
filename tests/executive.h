/*
 * Running test code inside an executive. Every test program is linked with one of the two; in the
 * simulator each case runs under many seeds, on the host once.
 */
#ifndef XPORT_TESTS_EXECUTIVE_H
#define XPORT_TESTS_EXECUTIVE_H

#include <CUnit/CUnit.h>

#include "ke/ke.h"

#define MILLISECONDS(n) ((int64_t)(n)*1000000)

/* How long a test waits for what must happen before it calls it lost. */
#define SOON MILLISECONDS(20000)

/* Runs the routine as main thread of an executive, under each seed. */
void in_executive(ke_thread_routine *routine, void *context);

/* Runs the routine in a process of its own and checks that it ends with a bug check of this rule.
 */
void expect_bug_check(const char *rule, ke_thread_routine *routine, void *context);

/* The same, and the report has these words. */
void expect_report(const char *rule, const char *words, ke_thread_routine *routine, void *context);

/* Seeds to run in the simulator, from first on; the defaults are 1 and 50. */
void set_seeds(uint64_t first, unsigned count);

/* Whether the reports of expected bug checks are printed too. */
void set_show_reports(bool show);

struct test_case {
	const char *says;
	void (*run)(void);
};

/* Registers a suite of cases that ends with an empty one. */
void add_suite(const char *name, const struct test_case *cases);

/* A counter that contexts of any kind may bump. */
static inline int32_t read_count(const int32_t *count)
{
	return interlocked_read(count);
}

#endif
