/* Steps and expectations, written where they outlive the process. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private.h"

struct lab_record *lab_record;

void step(int rule, const char *format, ...)
{
	uint32_t index = __atomic_fetch_add(&lab_record->step_count, 1, __ATOMIC_RELAXED);
	va_list arguments;

	__atomic_store_n(&lab_record->step_rule, rule, __ATOMIC_RELAXED);
	if (index >= LAB_STEPS)
		return;
	va_start(arguments, format);
	vsnprintf(lab_record->steps[index], LAB_STEP_BYTES, format, arguments);
	va_end(arguments);
}

/* Only the first failure counts; the others may be its consequences. */
static _Noreturn void fail_run(int rule, const char *expected, const char *actual)
{
	if (__atomic_exchange_n(&lab_record->failed, 1, __ATOMIC_ACQ_REL) != 0)
		for (;;)
			pause(); /* the other context is about to end the process */
	lab_record->failed_rule = rule;
	snprintf(lab_record->expected, LAB_WORDS_BYTES, "%s", expected);
	snprintf(lab_record->actual, LAB_WORDS_BYTES, "%s", actual);
	_exit(1);
}

void expect_true(int rule, bool holds, const char *expected, const char *actual)
{
	if (!holds)
		fail_run(rule, expected, actual);
}

void expect_number(int rule, const char *what, int64_t expected, int64_t actual)
{
	char wanted[LAB_WORDS_BYTES], found[LAB_WORDS_BYTES];

	if (expected == actual)
		return;
	snprintf(wanted, sizeof(wanted), "%s: %lld", what, (long long)expected);
	snprintf(found, sizeof(found), "%lld", (long long)actual);
	fail_run(rule, wanted, found);
}

void expect_status(int rule, const char *what, ntstatus expected, ntstatus actual)
{
	char wanted[LAB_WORDS_BYTES], found[LAB_WORDS_BYTES];

	if (expected == actual)
		return;
	snprintf(wanted, sizeof(wanted), "%s: %s", what, nt_status_name(expected));
	snprintf(found, sizeof(found), "%s (0x%08x)", nt_status_name(actual), (unsigned)actual);
	fail_run(rule, wanted, found);
}

void expect_event(int rule, struct kevent *event, const char *what)
{
	expect_true(rule, ke_wait_for_single_object(event, SOON) == STATUS_SUCCESS, what,
		    "it has not happened, and nothing is left that could make it happen");
}

void *lab_allocate(size_t bytes)
{
	void *memory = ex_allocate_pool(bytes);

	expect_true(0, memory != NULL, "memory for the exercise", "there is none");
	return memory;
}

/*
 * What `xport lab` puts in place of ke_set_event in the answer: a waiter may go on before the
 * answer takes another step. The executive allows that, but the simulator lets others go on only
 * at visible operations, and there may be none behind this one.
 */
void lab_set_event_at(struct kevent *event, const struct ke_site *site)
{
	int32_t nothing = 0;

	ke_set_event_at(event, site);
	interlocked_read_at(&nothing, site);
}
