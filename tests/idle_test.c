/*
 * What an idle processor of the host does: it polls while what it waits for comes soon, and parks
 * where that is of no use. A timer is waited for that sets itself again.
 */
#include "executive.h"
#include "suites.h"
#include "system_calls.h"

enum { BEATS = 1000, SHORT_NS = 20000, LONG_NS = 1000000, TRIES = 100 };

/* Beats quickly, then slowly. */
struct metronome {
	struct ktimer timer;
	struct kdpc dpc;
	struct kevent over;
	unsigned quick_left, slow_left;
	struct event_waits at_change, at_end;
};

static void beat(struct kdpc *dpc, void *context)
{
	struct metronome *metronome = context;

	if (metronome->quick_left > 0) {
		metronome->quick_left--;
		ke_set_timer(&metronome->timer, SHORT_NS, dpc);
		metronome->at_change = count_event_waits();
	} else if (metronome->slow_left > 0) {
		metronome->slow_left--;
		ke_set_timer(&metronome->timer, LONG_NS, dpc);
	} else {
		metronome->at_end = count_event_waits();
		ke_set_event(&metronome->over);
	}
}

static void run_metronome(void *context)
{
	struct metronome *metronome = context;

	ke_initialize_event(&metronome->over, NOTIFICATION_EVENT, false);
	ke_initialize_dpc(&metronome->dpc, beat, metronome, 0);
	ke_initialize_timer(&metronome->timer);
	metronome->at_change = count_event_waits();
	ke_set_timer(&metronome->timer, SHORT_NS, &metronome->dpc);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&metronome->over, SOON), STATUS_SUCCESS);
}

static struct event_waits difference(struct event_waits from, struct event_waits to)
{
	return (struct event_waits){to.parked - from.parked, to.asked - from.asked};
}

/* How the only processor has waited for quick beats. */
static struct event_waits wait_quick(unsigned beats, bool never_polls)
{
	const struct ke_options options = {.processors = 1, .never_polls = never_polls};
	struct metronome metronome = {.quick_left = beats};
	struct event_waits before = count_event_waits();

	CU_ASSERT_EQUAL(ke_run(&options, run_metronome, &metronome), STATUS_SUCCESS);
	return difference(before, metronome.at_end);
}

/* And for slow ones that came after quick ones. */
static struct event_waits wait_slow(unsigned quick_beats, unsigned beats)
{
	const struct ke_options options = {.processors = 1};
	struct metronome metronome = {.quick_left = quick_beats, .slow_left = beats};

	CU_ASSERT_EQUAL(ke_run(&options, run_metronome, &metronome), STATUS_SUCCESS);
	return difference(metronome.at_change, metronome.at_end);
}

/* On a machine that is busy with other things it is not as soon as that, each time. */
static void test_short_waits(void)
{
	struct event_waits polling, parking;
	int tries = 0;

	do {
		polling = wait_quick(BEATS, false);
		parking = wait_quick(BEATS, true);
	} while (2 * polling.parked >= parking.parked && ++tries < TRIES);
	CU_ASSERT(2 * polling.parked < parking.parked);
}

/* A turn for the timer, one for its DPC, and one that finds nothing, for each beat. */
static void test_long_waits(void)
{
	CU_ASSERT(wait_slow(0, BEATS).asked < 4 * BEATS);
}

/* It polls in vain a few times: that is some thousand questions, and not so many for each beat. */
static void test_no_more_short_waits(void)
{
	CU_ASSERT(wait_slow(BEATS, BEATS).asked < 20 * BEATS);
}

static void test_never(void)
{
	CU_ASSERT(wait_quick(BEATS, true).asked < 4 * BEATS);
}

void register_idle_suite(void)
{
	static const struct test_case cases[] = {
		{"a processor polls while what it waits for comes soon", test_short_waits},
		{"it does not poll when what it waits for takes long", test_long_waits},
		{"it stops polling when what comes soon has ended", test_no_more_short_waits},
		{"it never polls when the options say so", test_never},
		{NULL, NULL},
	};

	add_suite("idle", cases);
}
