/*
 * What only the simulated executive promises: runs that repeat by their seed, schedules that find
 * bugs, reports of deadlocks, leaks and broken contracts, and time that costs nothing.
 *
 * Most runs here are meant to fail. So bug checks are caught, and reports are read from the run's
 * ke_sim_report instead of standard error. A thread whose run fails is abandoned where it stands:
 * nothing it holds may need it to go on.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <CUnit/CUnit.h>

#include "ke/ke.h"
#include "ke/sim/sim.h"

CU_ErrorCode register_sim_suite(void);

#define SECOND_NS 1000000000ull

static unsigned flags_before;

static int catch_reports(void)
{
	flags_before = ke_sim_set_flags(KE_SIM_CATCH | KE_SIM_QUIET);
	verifier_judge_lock_order(false); /* the deadlocks below are to happen */
	return 0;
}

static int restore_reports(void)
{
	verifier_judge_lock_order(true);
	ke_sim_set_flags(flags_before);
	return 0;
}

static ntstatus run(uint64_t seed, ke_thread_routine *main, void *context)
{
	struct ke_options options = {.seed = seed};

	return ke_run(&options, main, context);
}

static uint64_t trace_of(uint64_t seed, ke_thread_routine *main, void *context)
{
	CU_ASSERT_EQUAL(run(seed, main, context), STATUS_SUCCESS);
	return ke_sim_last_report()->trace_hash;
}

static bool report_has(const char *words)
{
	return strstr(ke_sim_last_report()->text, words) != NULL;
}

/* Runs main with the seeds from 0 on until a run ends with the status; the seed, or -1. */
static int first_seed(ntstatus status, int seeds, ke_thread_routine *main, void *context)
{
	for (int seed = 0; seed < seeds; seed++) {
		if (run((uint64_t)seed, main, context) == status)
			return seed;
	}
	return -1;
}

/* Starts two threads that share the context, and waits for them. */
static void run_pair(ke_thread_routine *first, ke_thread_routine *second, void *context)
{
	struct kthread a, b;

	ps_create_system_thread(&a, first, context);
	ps_create_system_thread(&b, second, context);
	ke_wait_for_thread(&a);
	ke_wait_for_thread(&b);
}

/* ---- Determinism ---------------------------------------------------------------------------- */

/* A bit of everything: two threads, a timer whose DPC queues a work item, an event at the end. */
struct medley {
	struct kspin_lock lock;
	struct ktimer timer;
	struct kdpc dpc;
	struct ex_work_item item;
	struct kevent done;
	int count;
	int32_t racy;
};

static void medley_add(struct medley *medley)
{
	kirql irql = ke_acquire_spin_lock(&medley->lock);

	medley->count++;
	ke_release_spin_lock(&medley->lock, irql);
}

static void medley_thread(void *context)
{
	for (int i = 0; i < 3; i++)
		medley_add(context);
}

static void medley_work(void *context)
{
	struct medley *medley = context;

	medley_add(medley);
	ke_set_event(&medley->done);
}

static void medley_dpc(struct kdpc *dpc, void *context)
{
	struct medley *medley = context;

	(void)dpc;
	medley_add(medley);
	ex_queue_work_item(&medley->item);
}

static void medley_main(void *context)
{
	struct medley medley = {.count = 0};

	(void)context;
	ke_initialize_spin_lock(&medley.lock);
	ke_initialize_timer(&medley.timer);
	ke_initialize_dpc(&medley.dpc, medley_dpc, &medley, KE_ANY_PROCESSOR);
	ex_initialize_work_item(&medley.item, medley_work, &medley, 0);
	ke_initialize_event(&medley.done, SYNCHRONIZATION_EVENT, false);
	ke_set_timer(&medley.timer, 50, &medley.dpc);
	run_pair(medley_thread, medley_thread, &medley);
	ke_wait_for_single_object(&medley.done, KE_WAIT_FOREVER);
	CU_ASSERT_EQUAL(medley.count, 8);
}

static void same_seed_same_trace(void)
{
	for (uint64_t seed = 0; seed < 200; seed++) {
		uint64_t first = trace_of(seed, medley_main, NULL);
		uint64_t steps = ke_sim_last_report()->steps;

		CU_ASSERT_EQUAL(trace_of(seed, medley_main, NULL), first);
		CU_ASSERT_EQUAL(ke_sim_last_report()->steps, steps);
	}
}

static void seeds_differ(void)
{
	enum { SEEDS = 50 };
	uint64_t trace[SEEDS];
	int repeated = 0;

	for (int i = 0; i < SEEDS; i++) {
		trace[i] = trace_of((uint64_t)i, medley_main, NULL);
		for (int k = 0; k < i; k++)
			repeated += trace[k] == trace[i];
	}
	CU_ASSERT(repeated <= 2);
}

/* ---- Time ----------------------------------------------------------------------------------- */

static void ten_hours_main(void *context)
{
	uint64_t *slept = context;
	uint64_t before = ke_query_interrupt_time();

	ke_delay_execution_thread(36000 * SECOND_NS);
	*slept = ke_query_interrupt_time() - before;
}

static void sleeping_is_free(void)
{
	clock_t before = clock();
	uint64_t slept = 0;

	CU_ASSERT_EQUAL(run(1, ten_hours_main, &slept), STATUS_SUCCESS);
	CU_ASSERT(slept >= 36000 * SECOND_NS && slept < 36001 * SECOND_NS);
	CU_ASSERT(clock() - before < CLOCKS_PER_SEC);
}

static void late_waiter_main(void *context)
{
	struct kevent event;

	ke_initialize_event(&event, SYNCHRONIZATION_EVENT, false);
	*(ntstatus *)context = ke_wait_for_single_object(&event, 3 * (int64_t)SECOND_NS);
}

static void timeouts_are_virtual(void)
{
	ntstatus status = STATUS_SUCCESS;

	CU_ASSERT_EQUAL(run(1, late_waiter_main, &status), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(status, STATUS_TIMEOUT);
	CU_ASSERT(ke_sim_last_report()->end_time_ns >= 3 * SECOND_NS);
}

/* ---- What schedules find -------------------------------------------------------------------- */

struct pair_of_locks {
	struct kspin_lock a, b;
};

static void take_both(struct kspin_lock *first, struct kspin_lock *second)
{
	kirql outer = ke_acquire_spin_lock(first);
	kirql inner = ke_acquire_spin_lock(second);

	ke_release_spin_lock(second, inner);
	ke_release_spin_lock(first, outer);
}

static void take_a_then_b(void *context)
{
	struct pair_of_locks *locks = context;

	take_both(&locks->a, &locks->b);
}

static void take_b_then_a(void *context)
{
	struct pair_of_locks *locks = context;

	take_both(&locks->b, &locks->a);
}

static void abba_main(void *context)
{
	struct pair_of_locks locks;

	(void)context;
	ke_initialize_spin_lock(&locks.a);
	ke_initialize_spin_lock(&locks.b);
	run_pair(take_a_then_b, take_b_then_a, &locks);
}

static void abba_is_found(void)
{
	CU_ASSERT(first_seed(STATUS_POSSIBLE_DEADLOCK, 100, abba_main, NULL) >= 0);
	CU_ASSERT_EQUAL(ke_sim_last_report()->verdict, KE_SIM_DEADLOCK);
	CU_ASSERT(report_has("spins for lock"));
	CU_ASSERT(report_has("held by lane 1 since sim_test.c:"));
	CU_ASSERT(report_has("held by lane 2 since sim_test.c:"));
}

/* One processor can not come between the locks of another: there is none. */
static void abba_needs_two_processors(void)
{
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct ke_options options = {.processors = 1, .seed = seed};

		CU_ASSERT_EQUAL(ke_run(&options, abba_main, NULL), STATUS_SUCCESS);
	}
}

/* A queue whose consumer says that it sleeps after it has looked, so that nobody may wake it. */
struct sleepy {
	int32_t work;
	int32_t sleeping;
	struct kevent wake;
};

static void sleepy_consumer(void *context)
{
	struct sleepy *sleepy = context;

	while (interlocked_compare_exchange(&sleepy->work, 0, 1) != 1) {
		interlocked_exchange(&sleepy->sleeping, 1);
		ke_wait_for_single_object(&sleepy->wake, KE_WAIT_FOREVER);
	}
}

static void sleepy_producer(void *context)
{
	struct sleepy *sleepy = context;

	interlocked_exchange(&sleepy->work, 1);
	if (interlocked_exchange(&sleepy->sleeping, 0))
		ke_set_event(&sleepy->wake);
}

static void sleepy_main(void *context)
{
	struct sleepy sleepy = {.work = 0};

	(void)context;
	ke_initialize_event(&sleepy.wake, SYNCHRONIZATION_EVENT, false);
	run_pair(sleepy_consumer, sleepy_producer, &sleepy);
}

static void lost_wakeup_is_found(void)
{
	CU_ASSERT(first_seed(STATUS_POSSIBLE_DEADLOCK, 200, sleepy_main, NULL) >= 0);
	CU_ASSERT(report_has("waits for event"));
	CU_ASSERT(report_has("waits for the end of lane 1"));
}

/* A read and a write that are two operations: another's may come between. */
static void careless_add(void *context)
{
	int32_t *value = context;
	int32_t seen = interlocked_compare_exchange(value, 0, 0);

	interlocked_exchange(value, seen + 1);
}

static void careless_main(void *context)
{
	int32_t value = 0;

	run_pair(careless_add, careless_add, &value);
	*(int32_t *)context = value;
}

static void lost_update_is_found(void)
{
	int32_t value = 2, lost = 0, kept = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		CU_ASSERT_EQUAL(run(seed, careless_main, &value), STATUS_SUCCESS);
		lost += value == 1;
		kept += value == 2;
	}
	CU_ASSERT(lost > 0 && kept > 0);
}

static void choosing_main(void *context)
{
	unsigned *counts = context;

	counts[ke_choose(3, "one of three")]++;
}

static void every_outcome_is_chosen(void)
{
	unsigned counts[3] = {0, 0, 0};

	for (uint64_t seed = 0; seed < 300; seed++)
		CU_ASSERT_EQUAL(run(seed, choosing_main, counts), STATUS_SUCCESS);
	for (int i = 0; i < 3; i++)
		CU_ASSERT(counts[i] > 50);
}

/* A timer and the event that makes it needless, 100 us apart: slow processors let both be first. */
struct close_race {
	struct kevent event;
	int timeouts, signals;
};

static void close_race_signal(void *context)
{
	struct close_race *race = context;

	ke_set_event(&race->event);
}

static void close_race_main(void *context)
{
	struct close_race *race = context;
	struct kthread thread;

	ke_initialize_event(&race->event, NOTIFICATION_EVENT, false);
	ps_create_system_thread(&thread, close_race_signal, race);
	if (ke_wait_for_single_object(&race->event, 100000) == STATUS_TIMEOUT)
		race->timeouts++;
	else
		race->signals++;
	ke_wait_for_thread(&thread);
}

static void timeouts_race(void)
{
	struct close_race race = {.timeouts = 0};

	for (uint64_t seed = 0; seed < 1000; seed++)
		CU_ASSERT_EQUAL(run(seed, close_race_main, &race), STATUS_SUCCESS);
	CU_ASSERT(race.timeouts > 0 && race.signals > race.timeouts);
	/* Seed 0 has prompt processors. */
	race.timeouts = 0;
	CU_ASSERT_EQUAL(run(0, close_race_main, &race), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(race.timeouts, 0);
}

/* ---- Reports of runs that get nowhere ------------------------------------------------------- */

static void waits_forever_main(void *context)
{
	struct kevent event;

	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	(void)context;
	ex_allocate_pool(100);
	ke_wait_for_single_object(&event, KE_WAIT_FOREVER);
}

static void deadlock_is_reported(void)
{
	CU_ASSERT_EQUAL(run(1, waits_forever_main, NULL), STATUS_POSSIBLE_DEADLOCK);
	CU_ASSERT_EQUAL(ke_sim_last_report()->verdict, KE_SIM_DEADLOCK);
	CU_ASSERT(report_has(
		"waits for event #1")); /* a number, not an address: it can be had again */
	CU_ASSERT(report_has("sim_test.c:"));
}

static void next_run_starts_clean(void)
{
	uint64_t first = trace_of(7, medley_main, NULL);

	run(1, waits_forever_main, NULL);
	CU_ASSERT_EQUAL(trace_of(7, medley_main, NULL), first);
	first_seed(STATUS_POSSIBLE_DEADLOCK, 100, abba_main, NULL);
	CU_ASSERT_EQUAL(trace_of(7, medley_main, NULL), first);
}

static void spins_for_ever_main(void *context)
{
	int32_t never = 0;

	(void)context;
	while (interlocked_compare_exchange(&never, 0, 0) == 0)
		continue;
}

static void livelock_is_reported(void)
{
	CU_ASSERT_EQUAL(run(1, spins_for_ever_main, NULL), STATUS_IO_TIMEOUT);
	CU_ASSERT_EQUAL(ke_sim_last_report()->verdict, KE_SIM_LIVELOCK);
	CU_ASSERT(report_has("livelock"));
}

/* ---- Leaks ---------------------------------------------------------------------------------- */

static int leak_line;

static void leaks_pool_main(void *context)
{
	void *kept, *lost;

	(void)context;
	kept = ex_allocate_pool(10);
	leak_line = __LINE__ + 1;
	lost = ex_allocate_pool(123);
	CU_ASSERT_EQUAL((uintptr_t)lost % 16, 0);
	ex_free_pool(kept);
}

static void expect_leak(ke_thread_routine *main, void *context)
{
	char site[64];

	CU_ASSERT_EQUAL(run(1, main, context), STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_EQUAL(ke_sim_last_report()->verdict, KE_SIM_BUG_CHECK);
	CU_ASSERT_STRING_EQUAL(ke_sim_last_report()->rule, "LEAK-AT-UNLOAD");
	snprintf(site, sizeof(site), "sim_test.c:%d", leak_line);
	CU_ASSERT(report_has(site));
}

static void pool_leak_is_reported(void)
{
	expect_leak(leaks_pool_main, NULL);
	CU_ASSERT(report_has("1 blocks of pool memory, 123 bytes"));
}

static void ends_at_once(void *context)
{
	(void)context;
}

static void leaks_thread_main(void *context)
{
	leak_line = __LINE__ + 1;
	ps_create_system_thread((struct kthread *)context, ends_at_once, NULL);
}

static void waits_for_nothing(void *context)
{
	struct kevent never;

	(void)context;
	ke_initialize_event(&never, SYNCHRONIZATION_EVENT, false);
	ke_wait_for_single_object(&never, SECOND_NS);
}

static void leaks_waiting_thread_main(void *context)
{
	leak_line = __LINE__ + 1;
	ps_create_system_thread((struct kthread *)context, waits_for_nothing, NULL);
}

static void thread_leak_is_reported(void)
{
	struct kthread thread;

	expect_leak(leaks_thread_main, &thread);
	expect_leak(leaks_waiting_thread_main, &thread);
}

struct armed {
	struct ktimer timer;
	struct kdpc dpc;
};

static void never_runs(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
}

static void leaks_timer_main(void *context)
{
	struct armed *armed = context;

	ke_initialize_timer(&armed->timer);
	ke_initialize_dpc(&armed->dpc, never_runs, NULL, 0);
	leak_line = __LINE__ + 1;
	ke_set_timer(&armed->timer, SECOND_NS, &armed->dpc);
}

static void timer_leak_is_reported(void)
{
	struct armed armed;

	expect_leak(leaks_timer_main, &armed);
}

static bool not_mine(struct kinterrupt *interrupt, void *context)
{
	(void)interrupt;
	(void)context;
	return false;
}

static void leaks_interrupt_main(void *context)
{
	leak_line = __LINE__ + 1;
	ke_connect_interrupt((struct kinterrupt *)context, not_mine, NULL, 0);
	ke_request_interrupt((struct kinterrupt *)context);
}

static void interrupt_leak_is_reported(void)
{
	struct kinterrupt interrupt;

	expect_leak(leaks_interrupt_main, &interrupt);
}

/* ---- Broken contracts ----------------------------------------------------------------------- */

/* What the breakers below operate on: memory that outlasts an abandoned run. */
static struct {
	struct kspin_lock lock;
	struct kevent event;
	struct kdpc dpc;
	struct ex_work_item item;
	struct ob_reference reference;
} victim;

static void wait_at_dispatch(void *context)
{
	(void)context;
	ke_raise_irql(DISPATCH_LEVEL);
	ke_wait_for_single_object(&victim.event, 1);
}

static void sleep_under_lock(void *context)
{
	(void)context;
	ke_acquire_spin_lock(&victim.lock);
	ke_delay_execution_thread(1);
}

static void acquire_twice(void *context)
{
	(void)context;
	ke_acquire_spin_lock(&victim.lock);
	ke_acquire_spin_lock(&victim.lock);
}

static void release_unheld(void *context)
{
	(void)context;
	ke_release_spin_lock(&victim.lock, PASSIVE_LEVEL);
}

static void acquire_too_high(void *context)
{
	(void)context;
	ke_raise_irql(DEVICE_LEVEL);
	ke_acquire_spin_lock(&victim.lock);
}

static void lower_upwards(void *context)
{
	(void)context;
	ke_lower_irql(DISPATCH_LEVEL);
}

static void raise_downwards(void *context)
{
	(void)context;
	ke_raise_irql(DISPATCH_LEVEL);
	ke_raise_irql(APC_LEVEL);
}

static void lower_under_lock(void *context)
{
	(void)context;
	ke_acquire_spin_lock(&victim.lock);
	ke_lower_irql(PASSIVE_LEVEL);
}

static void return_raised(void *context)
{
	(void)context;
	ke_raise_irql(DISPATCH_LEVEL);
}

static void return_locked(void *context)
{
	(void)context;
	ke_acquire_spin_lock(&victim.lock);
}

static void waiting_dpc(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
	ke_wait_for_single_object(&victim.event, KE_WAIT_FOREVER);
}

static void queue_waiting_dpc(void *context)
{
	(void)context;
	ke_initialize_dpc(&victim.dpc, waiting_dpc, NULL, KE_ANY_PROCESSOR);
	ke_insert_queue_dpc(&victim.dpc);
}

static void locking_dpc(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
	ke_acquire_spin_lock(&victim.lock);
}

static void queue_locking_dpc(void *context)
{
	(void)context;
	ke_initialize_dpc(&victim.dpc, locking_dpc, NULL, 0);
	ke_insert_queue_dpc(&victim.dpc);
}

static void waiting_work(void *context)
{
	(void)context;
	ke_wait_for_single_object(&victim.event, 1);
}

static void queue_waiting_work(void *context)
{
	(void)context;
	ex_initialize_work_item(&victim.item, waiting_work, NULL, 0);
	ex_queue_work_item(&victim.item);
}

static void dereference_twice(void *context)
{
	(void)context;
	ob_initialize_reference(&victim.reference, 1);
	ob_dereference(&victim.reference);
	ob_dereference(&victim.reference);
}

static void reference_dead(void *context)
{
	(void)context;
	ob_initialize_reference(&victim.reference, 1);
	ob_dereference(&victim.reference);
	ob_reference(&victim.reference);
}

static void free_twice(void *context)
{
	void *memory = ex_allocate_pool(32);

	(void)context;
	ex_free_pool(memory);
	ex_free_pool(memory);
}

static void check_own_rule(void *context)
{
	(void)context;
	ke_bug_check("OWN-RULE", "a sentence with %d figure", 1);
}

static void contracts_are_checked(void)
{
	static const struct {
		ke_thread_routine *breaker;
		const char *rule;
	} cases[] = {
		{wait_at_dispatch, "IRQL-TOO-HIGH"},
		{sleep_under_lock, "IRQL-TOO-HIGH"},
		{acquire_too_high, "IRQL-TOO-HIGH"},
		{queue_waiting_dpc, "IRQL-TOO-HIGH"},
		{acquire_twice, "LOCK-MISUSE"},
		{release_unheld, "LOCK-MISUSE"},
		{return_locked, "LOCK-MISUSE"},
		{queue_locking_dpc, "LOCK-MISUSE"},
		{lower_upwards, "IRQL-CHANGED"},
		{raise_downwards, "IRQL-CHANGED"},
		{lower_under_lock, "IRQL-CHANGED"},
		{return_raised, "IRQL-CHANGED"},
		{queue_waiting_work, "WORK-ITEM-WAITS"},
		{dereference_twice, "REF-UNDERFLOW"},
		{reference_dead, "REF-UNDERFLOW"},
		{free_twice, "POOL-DOUBLE-FREE"},
		{check_own_rule, "OWN-RULE"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ke_initialize_spin_lock(&victim.lock);
		ke_initialize_event(&victim.event, NOTIFICATION_EVENT, false);
		CU_ASSERT_EQUAL(run(i, cases[i].breaker, NULL), STATUS_INVALID_DEVICE_REQUEST);
		CU_ASSERT_STRING_EQUAL(ke_sim_last_report()->rule, cases[i].rule);
		CU_ASSERT(report_has("sim_test.c:"));
	}
}

static void many_failures_in_a_row(void)
{
	ke_initialize_spin_lock(&victim.lock);
	for (uint64_t seed = 0; seed < 500; seed++) {
		CU_ASSERT_EQUAL(run(seed, release_unheld, NULL), STATUS_INVALID_DEVICE_REQUEST);
		run(seed, abba_main, NULL);
	}
}

CU_ErrorCode register_sim_suite(void)
{
	static CU_TestInfo tests[] = {
		{"the same seed gives the same trace", same_seed_same_trace},
		{"different seeds give different traces", seeds_differ},
		{"sleeping ten hours takes no time", sleeping_is_free},
		{"timeouts pass in virtual time", timeouts_are_virtual},
		{"an ABBA deadlock is found", abba_is_found},
		{"one processor has no ABBA deadlock", abba_needs_two_processors},
		{"a lost wake-up is found", lost_wakeup_is_found},
		{"a lost update is found", lost_update_is_found},
		{"every outcome of a choice happens", every_outcome_is_chosen},
		{"a timeout may come first", timeouts_race},
		{"a deadlock says who waits for what", deadlock_is_reported},
		{"the run after a deadlock starts clean", next_run_starts_clean},
		{"a livelock is cut short", livelock_is_reported},
		{"a pool leak names its call site", pool_leak_is_reported},
		{"a thread leak names its call site", thread_leak_is_reported},
		{"a timer leak names its call site", timer_leak_is_reported},
		{"an interrupt leak names its call site", interrupt_leak_is_reported},
		{"broken contracts are named", contracts_are_checked},
		{"many failing runs in a row", many_failures_in_a_row},
		CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = {
		{.pName = "ke/sim",
		 .pInitFunc = catch_reports,
		 .pCleanupFunc = restore_reports,
		 .pTests = tests},
		CU_SUITE_INFO_NULL,
	};

	return CU_register_suites(suites);
}
