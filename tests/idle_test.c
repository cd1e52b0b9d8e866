/*
 * What an idle processor of the host does: it polls while what it waits for comes soon, and parks
 * where that is of no use. It waits for a timer that sets itself again.
 */
#include "executive.h"
#include "suites.h"
#include "system_calls.h"

enum { BEATS = 1000, SHORT_NS = 20000, LONG_NS = 300000, TRIES = 50 };

/* Beats `quick` times, then `mixed` times, of which so many in a hundred are slow, then slowly. */
struct metronome {
	unsigned quick, mixed, slow;
	unsigned slow_in_a_hundred;
	uint32_t random;
	struct ktimer timer;
	struct kdpc dpc;
	struct kevent over;
	struct event_waits begun, quick_over, all_over;
};

static uint64_t next_beat_ns(struct metronome *metronome)
{
	if (metronome->quick > 0) {
		metronome->quick--;
		return SHORT_NS;
	}
	if (metronome->mixed > 0) {
		metronome->mixed--;
		metronome->random = metronome->random * 1664525 + 1013904223;
		return (metronome->random >> 16) % 100 < metronome->slow_in_a_hundred ? LONG_NS
										      : SHORT_NS;
	}
	if (metronome->slow > 0) {
		metronome->slow--;
		return LONG_NS;
	}
	return 0;
}

static void beat(struct kdpc *dpc, void *context)
{
	struct metronome *metronome = context;
	bool quick = metronome->quick > 0;
	uint64_t next_ns = next_beat_ns(metronome);

	if (quick)
		metronome->quick_over = count_event_waits();
	if (next_ns > 0) {
		ke_set_timer(&metronome->timer, next_ns, dpc);
		return;
	}
	metronome->all_over = count_event_waits();
	ke_set_event(&metronome->over);
}

static void run_metronome(void *context)
{
	struct metronome *metronome = context;

	ke_initialize_event(&metronome->over, NOTIFICATION_EVENT, false);
	ke_initialize_dpc(&metronome->dpc, beat, metronome, 0);
	ke_initialize_timer(&metronome->timer);
	metronome->begun = metronome->quick_over = count_event_waits();
	ke_set_timer(&metronome->timer, SHORT_NS, &metronome->dpc);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&metronome->over, SOON), STATUS_SUCCESS);
}

static struct event_waits difference(struct event_waits from, struct event_waits to)
{
	return (struct event_waits){to.parked - from.parked, to.asked - from.asked};
}

static void run_alone(ke_thread_routine *routine, void *context, bool never_polls)
{
	const struct ke_options options = {.processors = 1, .never_polls = never_polls};

	CU_ASSERT_EQUAL(ke_run(&options, routine, context), STATUS_SUCCESS);
}

/* How the only processor has waited for these beats. */
static struct event_waits waits_for(struct metronome metronome, bool never_polls)
{
	run_alone(run_metronome, &metronome, never_polls);
	return difference(metronome.begun, metronome.all_over);
}

/* Whether it has parked for less than half of them. A busy machine makes short waits long. */
static bool polls_for(const struct metronome *metronome)
{
	for (int tries = 0; tries < TRIES; tries++)
		if (2 * waits_for(*metronome, false).parked < waits_for(*metronome, true).parked)
			return true;
	return false;
}

static void test_short_waits(void)
{
	const struct metronome metronome = {.quick = BEATS};

	CU_ASSERT(polls_for(&metronome));
}

static void test_few_long_waits(void)
{
	const struct metronome metronome = {.mixed = 20 * BEATS, .slow_in_a_hundred = 1};

	CU_ASSERT(polls_for(&metronome));
}

/* A turn for the timer, one for its DPC, and one that finds nothing, for each beat. */
static void test_long_waits(void)
{
	const struct metronome metronome = {.slow = BEATS};

	CU_ASSERT(waits_for(metronome, false).asked < 4 * BEATS);
}

/* It polls in vain a few times: that is some thousand questions, and not so many for each beat. */
static void test_no_more_short_waits(void)
{
	struct metronome metronome = {.quick = BEATS, .slow = BEATS};

	run_alone(run_metronome, &metronome, false);
	CU_ASSERT(difference(metronome.quick_over, metronome.all_over).asked < 20 * BEATS);
}

static void test_many_long_waits(void)
{
	const struct metronome metronome = {.mixed = 20 * BEATS, .slow_in_a_hundred = 10};
	uint64_t parked = waits_for(metronome, false).parked;

	CU_ASSERT(10 * parked > 9 * waits_for(metronome, true).parked);
}

static void test_never(void)
{
	const struct metronome metronome = {.quick = BEATS};

	CU_ASSERT(waits_for(metronome, true).asked < 4 * BEATS);
}

void register_idle_suite(void)
{
	static const struct test_case cases[] = {
		{"a processor polls while what it waits for comes soon", test_short_waits},
		{"it goes on polling if one wait in a hundred is long", test_few_long_waits},
		{"it gives it up if one in ten is", test_many_long_waits},
		{"it does not poll when what it waits for takes long", test_long_waits},
		{"it stops polling when what comes soon has ended", test_no_more_short_waits},
		{"it never polls when the options say so", test_never},
		{NULL, NULL},
	};

	add_suite("idle", cases);
}
