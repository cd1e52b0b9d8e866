/* The verifier's rules for locks, levels, references and the pool. */
#include "fixtures.h"
#include "suites.h"

#include <string.h>

static void take(struct kspin_lock *outer, struct kspin_lock *inner)
{
	kirql first = ke_acquire_spin_lock(outer);
	kirql second = ke_acquire_spin_lock(inner);

	ke_release_spin_lock(inner, second);
	ke_release_spin_lock(outer, first);
}

/* ---- Order --------------------------------------------------------------------------------- */

struct locks {
	struct kspin_lock a, b, c;
};

static void initialize(struct locks *locks)
{
	ke_initialize_spin_lock(&locks->a);
	ke_initialize_spin_lock(&locks->b);
	ke_initialize_spin_lock(&locks->c);
}

static void both_ways(void *context)
{
	struct locks locks;

	(void)context;
	initialize(&locks);
	take(&locks.a, &locks.b);
	take(&locks.b, &locks.a);
}

static void round_three(void *context)
{
	struct locks locks;

	(void)context;
	initialize(&locks);
	take(&locks.a, &locks.b);
	take(&locks.b, &locks.c);
	take(&locks.c, &locks.a);
}

/* Of other instances, but initialised at the same places. */
static void both_ways_by_class(void *context)
{
	struct locks some, others;

	(void)context;
	initialize(&some);
	initialize(&others);
	take(&some.a, &some.b);
	take(&others.b, &others.a);
}

static void one_way(void *context)
{
	struct locks some, others;

	(void)context;
	initialize(&some);
	initialize(&others);
	take(&some.a, &some.b);
	take(&others.a, &some.b);
	take(&some.b, &others.c);
	take(&others.a, &others.c);
	take(&some.b, &some.c);
}

static void twins_both_ways(void *context)
{
	struct locks some, others;

	(void)context;
	initialize(&some);
	initialize(&others);
	take(&some.a, &others.a);
	take(&others.a, &some.a);
}

/* The same memory is another lock after it was initialised again. */
static void twins_one_way(void *context)
{
	struct locks some, others;

	(void)context;
	initialize(&some);
	initialize(&others);
	take(&some.a, &others.a);
	initialize(&others);
	take(&others.a, &some.a);
}

/* ---- Interrupts ---------------------------------------------------------------------------- */

struct line {
	struct kinterrupt interrupt;
	struct kspin_lock used_by_service;
	struct kspin_lock acquired;
	struct list_entry list, entry;
	struct kdpc gone;
	struct kevent served, ended;
};

static void after_service(struct kdpc *dpc, void *context)
{
	(void)dpc;
	ke_set_event(&((struct line *)context)->ended);
}

static bool serve(struct kinterrupt *interrupt, void *context)
{
	struct line *line = context;

	(void)interrupt;
	if (is_list_empty(&line->list))
		ex_interlocked_insert_tail_list(&line->list, &line->entry, &line->used_by_service);
	return true;
}

static void use_lock_in_service(bool also_acquired)
{
	struct line line;
	kirql irql;

	ke_initialize_spin_lock(&line.used_by_service);
	ke_initialize_spin_lock(&line.acquired);
	initialize_list_head(&line.list);
	ke_initialize_event(&line.ended, NOTIFICATION_EVENT, false);
	ke_initialize_dpc(&line.gone, after_service, &line, 0);
	irql = ke_acquire_spin_lock(also_acquired ? &line.used_by_service : &line.acquired);
	ke_release_spin_lock(also_acquired ? &line.used_by_service : &line.acquired, irql);
	ke_connect_interrupt(&line.interrupt, serve, &line, 0);
	ke_request_interrupt(&line.interrupt);
	while (ex_interlocked_remove_head_list(&line.list, &line.used_by_service) == NULL)
		ke_delay_execution_thread(1000);
	ke_disconnect_interrupt(&line.interrupt, &line.gone);
	ke_wait_for_single_object(&line.ended, KE_WAIT_FOREVER);
	ke_flush_queued_dpcs();
}

static void shared_with_interrupt(void *context)
{
	(void)context;
	use_lock_in_service(true);
}

static void apart_from_interrupt(void *context)
{
	(void)context;
	use_lock_in_service(false);
}

static void test_locks(void)
{
	static const struct fixture fixtures[] = {
		{"LOCK-ORDER", "  before: a lock was wanted at ", both_ways, one_way},
		{"LOCK-ORDER", "over other locks", round_three, one_way},
		{"LOCK-ORDER", "verifier_lock_test.c", both_ways_by_class, one_way},
		{"LOCK-ORDER", "its like", twins_both_ways, twins_one_way},
		{"LOCK-IRQ-UNSAFE", "  before: it was acquired below at ", shared_with_interrupt,
		 apart_from_interrupt},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- Routines that return ------------------------------------------------------------------ */

static struct kspin_lock kept_lock;

static void lock_and_return(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
	ke_acquire_spin_lock(&kept_lock);
}

static void lock_and_release(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
	ke_release_spin_lock(&kept_lock, ke_acquire_spin_lock(&kept_lock));
}

static void run_dpc(ke_deferred_routine *routine)
{
	struct kdpc dpc;

	ke_initialize_spin_lock(&kept_lock);
	ke_initialize_dpc(&dpc, routine, NULL, 0);
	ke_insert_queue_dpc(&dpc);
	ke_flush_queued_dpcs();
}

static void dpc_keeps_lock(void *context)
{
	(void)context;
	run_dpc(lock_and_return);
}

static void dpc_returns_lock(void *context)
{
	(void)context;
	run_dpc(lock_and_release);
}

static void stay_raised(void *context)
{
	(void)context;
	ke_raise_irql(DISPATCH_LEVEL);
}

static void come_down(void *context)
{
	(void)context;
	ke_lower_irql(ke_raise_irql(DISPATCH_LEVEL));
}

static void lowers_with_lock(void *context)
{
	kirql irql;

	(void)context;
	ke_initialize_spin_lock(&kept_lock);
	irql = ke_acquire_spin_lock(&kept_lock);
	ke_lower_irql(irql);
}

static void run_thread(ke_thread_routine *routine)
{
	struct kthread thread;

	ps_create_system_thread(&thread, routine, NULL);
	ke_wait_for_thread(&thread);
}

static void thread_stays_raised(void *context)
{
	(void)context;
	run_thread(stay_raised);
}

static void thread_comes_down(void *context)
{
	(void)context;
	run_thread(come_down);
}

static void locks_too_high(void *context)
{
	(void)context;
	ke_initialize_spin_lock(&kept_lock);
	ke_raise_irql(DEVICE_LEVEL);
	ke_acquire_spin_lock(&kept_lock);
}

static void test_levels(void)
{
	static const struct fixture fixtures[] = {
		{"LOCK-MISUSE", "clause", dpc_keeps_lock, dpc_returns_lock},
		{"IRQL-CHANGED", "began at IRQL 0 returned at 2", thread_stays_raised,
		 thread_comes_down},
		{"IRQL-CHANGED", "lower", lowers_with_lock, thread_comes_down},
		{"IRQL-TOO-HIGH", "IRQL 5", locks_too_high, dpc_returns_lock},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- References and memory ----------------------------------------------------------------- */

static void drops_too_often(void *context)
{
	struct ob_reference reference;

	(void)context;
	ob_initialize_reference(&reference, 1);
	ob_dereference(&reference);
	ob_dereference(&reference);
}

static void revives(void *context)
{
	struct ob_reference reference;

	(void)context;
	ob_initialize_reference(&reference, 1);
	ob_dereference(&reference);
	ob_reference(&reference);
}

static void drops_each_once(void *context)
{
	struct ob_reference reference;

	(void)context;
	for (int i = 0; i < 3; i++) {
		ob_initialize_reference(&reference, 1);
		ob_reference(&reference);
		CU_ASSERT_FALSE(ob_dereference(&reference));
		CU_ASSERT_TRUE(ob_dereference(&reference));
	}
}

static void test_references(void)
{
	static const struct fixture fixtures[] = {
		{"REF-UNDERFLOW", "  before: its last reference was dropped at ", drops_too_often,
		 drops_each_once},
		{"REF-UNDERFLOW", "  before: its last reference was dropped at ", revives,
		 drops_each_once},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- The executive's other objects --------------------------------------------------------- */

static void after_line(struct kdpc *dpc, void *context)
{
	(void)dpc;
	ke_set_event(context);
}

static bool not_mine(struct kinterrupt *interrupt, void *context)
{
	(void)interrupt;
	(void)context;
	return false;
}

/* The simulator: twice. The host: by a DPC of another processor than the interrupt's. */
static void disconnect(unsigned processor, int times)
{
	struct kinterrupt interrupt;
	struct kevent ended;
	struct kdpc dpc;

	ke_initialize_event(&ended, NOTIFICATION_EVENT, false);
	ke_initialize_dpc(&dpc, after_line, &ended, processor);
	ke_connect_interrupt(&interrupt, not_mine, NULL, 0);
	for (int i = 0; i < times; i++)
		ke_disconnect_interrupt(&interrupt, &dpc);
	ke_wait_for_single_object(&ended, KE_WAIT_FOREVER);
	ke_flush_queued_dpcs();
}

static void disconnects_wrongly(void *context)
{
	(void)context;
	disconnect(EXECUTIVE_HOST ? 1 : 0, 2);
}

static void disconnects(void *context)
{
	(void)context;
	disconnect(0, 1);
}

static const struct fixture object_fixtures[] = {
	{"INTERRUPT-MISUSE", "clause", disconnects_wrongly, disconnects},
	{NULL, NULL, NULL, NULL},
};

#if EXECUTIVE_HOST
static void runs_within_run(void *context)
{
	struct ke_options options = {.processors = 1};

	(void)context;
	ke_run(&options, come_down, NULL);
}

static const struct fixture executive_fixtures[] = {
	{"RUN-TWICE", "clause", runs_within_run, come_down},
	{NULL, NULL, NULL, NULL},
};
#else
static void waits_twice(void *context)
{
	struct kthread thread;

	(void)context;
	ps_create_system_thread(&thread, come_down, NULL);
	ke_wait_for_thread(&thread);
	ke_wait_for_thread(&thread);
}

static void queues_to_nowhere(void *context)
{
	struct kdpc dpc;

	(void)context;
	ke_initialize_dpc(&dpc, lock_and_release, NULL, 7);
	ke_insert_queue_dpc(&dpc);
}

static void chooses_from_nothing(void *context)
{
	(void)context;
	ke_choose(0, "nothing");
}

static void frees_other_memory(void *context)
{
	static long long memory[32];

	(void)context;
	ex_free_pool(&memory[16]);
}

static const struct fixture executive_fixtures[] = {
	{"THREAD-WAITED-TWICE", "clause", waits_twice, thread_comes_down},
	{"NO-SUCH-PROCESSOR", "processor 7 of 2", queues_to_nowhere, dpc_returns_lock},
	{"NO-ALTERNATIVE", "clause", chooses_from_nothing, NULL},
	{"POOL-BAD-FREE", "not allocated from the pool", frees_other_memory, NULL},
	{NULL, NULL, NULL, NULL},
};
#endif

static void test_objects(void)
{
	run_fixtures(object_fixtures);
	run_fixtures(executive_fixtures);
}

#if !EXECUTIVE_HOST && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* The compiler sees that the memory was freed, unless it is told nothing of the address. */
static void write_late(char *block, unsigned at)
{
	__asm__ volatile("" : "+r"(block));
	((volatile char *)block)[at] = 7;
}

static void writes_late(void *context)
{
	char *block = ex_allocate_pool(100);

	(void)context;
	ex_free_pool(block);
	write_late(block, 40);
}

/* Found as soon as the block is to be used again, long before the end. */
static void writes_late_and_goes_on(void *context)
{
	writes_late(context);
	for (int i = 0; i < 100; i++)
		ex_free_pool(ex_allocate_pool(100));
	for (;;)
		ke_delay_execution_thread(1000000000);
}

static void writes_in_time(void *context)
{
	char *block = ex_allocate_pool(100);

	(void)context;
	write_late(block, 40);
	ex_free_pool(block);
}

static void test_late_writes(void)
{
	static const struct fixture fixtures[] = {
		{"POOL-WRITE-AFTER-FREE", "  before: it was freed at ", writes_late,
		 writes_in_time},
		{"POOL-WRITE-AFTER-FREE", "  before: it was freed at ", writes_late_and_goes_on,
		 writes_in_time},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}
#endif

void register_verifier_lock_suite(void)
{
	static const struct test_case cases[] = {
		{"locks have an order, and interrupts do not wait for their own processor",
		 test_locks},
		{"a routine returns at its level and without locks", test_levels},
		{"a reference is dropped once", test_references},
		{"the executive's objects are used as they may be", test_objects},
#if !EXECUTIVE_HOST && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		{"a write to freed memory is found", test_late_writes},
#endif
		{NULL, NULL},
	};

	add_suite("verifier/locks", cases);
}
