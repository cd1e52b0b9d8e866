/*
 * Known to be bad: if a search does not find these, the search is broken. Each is a classic that a
 * test on a real machine may not meet in a year.
 */
#include "scenarios.h"

/* ---- Two threads read, add one, and write back ----------------------------------------------- */

static void add_one(void *context)
{
	int32_t *count = context;
	int32_t old = interlocked_read(count);

	interlocked_exchange(count, old + 1);
}

static void lost_update(void *context)
{
	struct kthread threads[2];
	int32_t count = 0;

	(void)context;
	for (int i = 0; i < 2; i++)
		ps_create_system_thread(&threads[i], add_one, &count);
	for (int i = 0; i < 2; i++)
		ke_wait_for_thread(&threads[i]);
	scenario_expect(count == 2, "two threads have added one each, and the sum is %d", count);
}

/* ---- Two locks, taken in both orders ----------------------------------------------------------
 */

struct pair {
	struct kspin_lock a, b;
};

static void take_both(struct kspin_lock *first, struct kspin_lock *second)
{
	kirql outer = ke_acquire_spin_lock(first);
	kirql inner = ke_acquire_spin_lock(second);

	ke_release_spin_lock(second, inner);
	ke_release_spin_lock(first, outer);
}

static void take_backwards(void *context)
{
	struct pair *pair = context;

	take_both(&pair->b, &pair->a);
}

static void two_orders(void *context)
{
	struct kthread thread;
	struct pair pair;

	(void)context;
	ke_initialize_spin_lock(&pair.a);
	ke_initialize_spin_lock(&pair.b);
	ps_create_system_thread(&thread, take_backwards, &pair);
	take_both(&pair.a, &pair.b);
	ke_wait_for_thread(&thread);
}

/* ---- A flag is looked at, and then waited for -------------------------------------------------
 */

struct sleeper {
	struct kevent wake;
	int32_t sleeps;
	int32_t work;
};

static void bring_work(void *context)
{
	struct sleeper *sleeper = context;

	interlocked_exchange(&sleeper->work, 1);
	if (interlocked_read(&sleeper->sleeps))
		ke_set_event(&sleeper->wake);
}

static void lost_wake_up(void *context)
{
	struct sleeper sleeper = {.work = 0};
	struct kthread thread;

	(void)context;
	ke_initialize_event(&sleeper.wake, SYNCHRONIZATION_EVENT, false);
	ps_create_system_thread(&thread, bring_work, &sleeper);
	if (!interlocked_read(&sleeper.work)) {
		interlocked_exchange(&sleeper.sleeps, 1); /* too late, if it came in between */
		ke_wait_for_single_object(&sleeper.wake, KE_WAIT_FOREVER);
	}
	ke_wait_for_thread(&thread);
}

const struct sim_scenario canary_scenarios[] = {
	{"canary/lost-update", "known to be bad: two threads count without a lock", lost_update, 1,
	 false},
	{"canary/two-orders", "known to be bad: two locks are taken in both orders", two_orders, 1,
	 false},
	{"canary/lost-wake-up", "known to be bad: a flag is looked at before it is waited for",
	 lost_wake_up, 1, false},
	{0},
};
