/* The executive's contract, the same cases on both executives. */
#include "executive.h"
#include "suites.h"

/* ---- IRQL and locks ------------------------------------------------------------------------ */

static void irql(void *context)
{
	struct kspin_lock lock;
	kirql old;

	(void)context;
	CU_ASSERT_EQUAL(ke_get_current_irql(), PASSIVE_LEVEL);
	old = ke_raise_irql(DISPATCH_LEVEL);
	CU_ASSERT_EQUAL(old, PASSIVE_LEVEL);
	CU_ASSERT_EQUAL(ke_get_current_irql(), DISPATCH_LEVEL);
	ke_lower_irql(old);
	ke_initialize_spin_lock(&lock);
	old = ke_acquire_spin_lock(&lock);
	CU_ASSERT_EQUAL(ke_get_current_irql(), DISPATCH_LEVEL);
	ke_release_spin_lock(&lock, old);
	CU_ASSERT_EQUAL(ke_get_current_irql(), PASSIVE_LEVEL);
}

static void test_irql(void)
{
	in_executive(irql, NULL);
}

enum { BUMPS = EXECUTIVE_HOST ? 20000 : 20 };

struct shared {
	struct kspin_lock lock;
	int32_t guarded;
	int32_t atomic;
	struct ob_reference references;
	int32_t lasts;
};

static void bump(void *context)
{
	struct shared *shared = context;

	for (int i = 0; i < BUMPS; i++) {
		kirql old = ke_acquire_spin_lock(&shared->lock);

		shared->guarded++;
		ke_release_spin_lock(&shared->lock, old);
		interlocked_increment(&shared->atomic);
	}
	if (ob_dereference(&shared->references)) {
		CU_ASSERT_EQUAL(shared->guarded, 3 * BUMPS);
		interlocked_increment(&shared->lasts);
	}
}

static void exclusion(void *context)
{
	struct shared shared = {.guarded = 0};
	struct kthread threads[2];

	(void)context;
	ke_initialize_spin_lock(&shared.lock);
	ob_initialize_reference(&shared.references, 3);
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(ps_create_system_thread(&threads[i], bump, &shared),
				STATUS_SUCCESS);
	bump(&shared);
	for (int i = 0; i < 2; i++)
		ke_wait_for_thread(&threads[i]);
	CU_ASSERT_EQUAL(shared.guarded, 3 * BUMPS);
	CU_ASSERT_EQUAL(shared.atomic, 3 * BUMPS);
	CU_ASSERT_EQUAL(shared.lasts, 1);
}

static void test_exclusion(void)
{
	in_executive(exclusion, NULL);
}

static void interlocked(void *context)
{
	int32_t value = 5;
	void *pointer = &value;

	(void)context;
	CU_ASSERT_EQUAL(interlocked_increment(&value), 6);
	CU_ASSERT_EQUAL(interlocked_decrement(&value), 5);
	CU_ASSERT_EQUAL(interlocked_exchange(&value, 7), 5);
	CU_ASSERT_EQUAL(interlocked_compare_exchange(&value, 9, 8), 7);
	CU_ASSERT_EQUAL(interlocked_read(&value), 7);
	CU_ASSERT_EQUAL(interlocked_compare_exchange(&value, 9, 7), 7);
	CU_ASSERT_EQUAL(value, 9);
	CU_ASSERT_PTR_EQUAL(interlocked_exchange_pointer(&pointer, NULL), &value);
	CU_ASSERT_PTR_NULL(pointer);
}

static void test_interlocked(void)
{
	in_executive(interlocked, NULL);
}

/* ---- Events -------------------------------------------------------------------------------- */

struct gate {
	struct kevent event;
	int32_t through;
};

static void pass_gate(void *context)
{
	struct gate *gate = context;

	if (ke_wait_for_single_object(&gate->event, SOON) == STATUS_SUCCESS)
		interlocked_increment(&gate->through);
}

static void notification(void *context)
{
	struct gate gate = {.through = 0};
	struct kthread threads[3];

	(void)context;
	ke_initialize_event(&gate.event, NOTIFICATION_EVENT, false);
	for (int i = 0; i < 3; i++)
		ps_create_system_thread(&threads[i], pass_gate, &gate);
	ke_set_event(&gate.event);
	for (int i = 0; i < 3; i++)
		ke_wait_for_thread(&threads[i]);
	CU_ASSERT_EQUAL(gate.through, 3);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&gate.event, 0), STATUS_SUCCESS);
	ke_clear_event(&gate.event);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&gate.event, 0), STATUS_TIMEOUT);
}

static void test_notification(void)
{
	in_executive(notification, NULL);
}

static void synchronization(void *context)
{
	struct gate gate = {.through = 0};
	struct kthread threads[3];

	(void)context;
	ke_initialize_event(&gate.event, SYNCHRONIZATION_EVENT, false);
	for (int i = 0; i < 3; i++)
		ps_create_system_thread(&threads[i], pass_gate, &gate);
	for (int i = 0; i < 3; i++) {
		ke_set_event(&gate.event);
		while (read_count(&gate.through) < i + 1)
			ke_delay_execution_thread(1000);
		CU_ASSERT_EQUAL(ke_wait_for_single_object(&gate.event, 0), STATUS_TIMEOUT);
	}
	for (int i = 0; i < 3; i++)
		ke_wait_for_thread(&threads[i]);
}

static void test_synchronization(void)
{
	in_executive(synchronization, NULL);
}

static void set_later(void *context)
{
	ke_set_event(context);
}

/* The event's memory is the waiter's stack and is used again at once: set must not touch it late.
 */
static void short_lived_events(void *context)
{
	(void)context;
	for (int i = 0; i < (EXECUTIVE_HOST ? 2000 : 5); i++) {
		struct kevent event;
		struct kthread thread;

		ke_initialize_event(&event, NOTIFICATION_EVENT, false);
		ps_create_system_thread(&thread, set_later, &event);
		CU_ASSERT_EQUAL(ke_wait_for_single_object(&event, SOON), STATUS_SUCCESS);
		event = (struct kevent){0};
		ke_wait_for_thread(&thread);
	}
}

static void test_short_lived_events(void)
{
	in_executive(short_lived_events, NULL);
}

static void timeouts(void *context)
{
	struct kevent event;
	uint64_t before = ke_query_interrupt_time();

	(void)context;
	ke_initialize_event(&event, SYNCHRONIZATION_EVENT, false);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&event, MILLISECONDS(3)), STATUS_TIMEOUT);
	CU_ASSERT(ke_query_interrupt_time() - before >= (uint64_t)MILLISECONDS(3));
	ke_set_event(&event);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&event, MILLISECONDS(3)), STATUS_SUCCESS);
}

static void test_timeouts(void)
{
	in_executive(timeouts, NULL);
}

/* ---- DPCs, timers, work items -------------------------------------------------------------- */

struct deferred {
	struct kdpc dpc;
	struct kevent ran;
	int32_t runs;
	kirql irql;
	uint64_t at_ns;
};

static void deferred_routine(struct kdpc *dpc, void *context)
{
	struct deferred *deferred = context;

	CU_ASSERT_PTR_EQUAL(dpc, &deferred->dpc);
	deferred->irql = ke_get_current_irql();
	deferred->at_ns = ke_query_interrupt_time();
	interlocked_increment(&deferred->runs);
	ke_set_event(&deferred->ran);
}

static void initialize_deferred(struct deferred *deferred)
{
	*deferred = (struct deferred){.runs = 0};
	ke_initialize_event(&deferred->ran, SYNCHRONIZATION_EVENT, false);
	ke_initialize_dpc(&deferred->dpc, deferred_routine, deferred, 1);
}

static void dpcs(void *context)
{
	struct deferred deferred;
	int32_t queued = 0;

	(void)context;
	initialize_deferred(&deferred);
	for (int i = 0; i < 10; i++)
		queued += ke_insert_queue_dpc(&deferred.dpc);
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(deferred.runs, queued);
	CU_ASSERT(queued >= 1);
	CU_ASSERT_EQUAL(deferred.irql, DISPATCH_LEVEL);
	ke_insert_queue_dpc(&deferred.dpc);
	if (ke_remove_queue_dpc(&deferred.dpc))
		queued--;
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(deferred.runs, queued + 1);
}

static void test_dpcs(void)
{
	in_executive(dpcs, NULL);
}

static void timers(void *context)
{
	struct deferred early, late, never;
	struct ktimer early_timer, late_timer, never_timer;
	uint64_t start = ke_query_interrupt_time();

	(void)context;
	initialize_deferred(&early);
	initialize_deferred(&late);
	initialize_deferred(&never);
	ke_initialize_timer(&early_timer);
	ke_initialize_timer(&late_timer);
	ke_initialize_timer(&never_timer);
	CU_ASSERT_FALSE(ke_set_timer(&late_timer, MILLISECONDS(6), &late.dpc));
	CU_ASSERT_FALSE(ke_set_timer(&early_timer, MILLISECONDS(50), &early.dpc));
	CU_ASSERT_FALSE(ke_set_timer(&never_timer, MILLISECONDS(1), &never.dpc));
	CU_ASSERT_TRUE(ke_set_timer(&early_timer, MILLISECONDS(2), &early.dpc));
	if (ke_cancel_timer(&never_timer))
		CU_ASSERT_FALSE(ke_cancel_timer(&never_timer));
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&early.ran, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&late.ran, SOON), STATUS_SUCCESS);
	CU_ASSERT(early.at_ns - start >= (uint64_t)MILLISECONDS(2));
	CU_ASSERT(late.at_ns - start >= (uint64_t)MILLISECONDS(6));
	CU_ASSERT(early.at_ns <= late.at_ns);
	ke_flush_queued_dpcs();
	CU_ASSERT(never.runs <= 1);
}

static void test_timers(void)
{
	in_executive(timers, NULL);
}

/* One timer that several contexts set, for DPCs of different processors, and cancel. */
struct contested {
	struct ktimer timer;
	struct kdpc dpcs[2];
	int32_t armed; /* by a set that found it not armed, less those that cancelled it */
};

static void never_due(struct kdpc *dpc, void *context)
{
	(void)dpc;
	(void)context;
	CU_FAIL("a timer is early");
}

static void contest_timer(void *context)
{
	struct contested *contested = context;

	for (int i = 0; i < BUMPS; i++) {
		if (!ke_set_timer(&contested->timer, 2 * SOON, &contested->dpcs[i / 2 % 2]))
			interlocked_increment(&contested->armed);
		if (i % 3 == 0 && ke_cancel_timer(&contested->timer))
			interlocked_decrement(&contested->armed);
	}
}

static void contested_timer(void *context)
{
	struct contested contested = {.armed = 0};
	struct kthread threads[2];

	(void)context;
	ke_initialize_timer(&contested.timer);
	for (unsigned i = 0; i < 2; i++)
		ke_initialize_dpc(&contested.dpcs[i], never_due, NULL, i);
	for (int i = 0; i < 2; i++)
		ps_create_system_thread(&threads[i], contest_timer, &contested);
	contest_timer(&contested);
	for (int i = 0; i < 2; i++)
		ke_wait_for_thread(&threads[i]);
	if (ke_cancel_timer(&contested.timer))
		contested.armed--;
	CU_ASSERT_EQUAL(contested.armed, 0);
}

static void test_contested_timer(void)
{
	in_executive(contested_timer, NULL);
}

struct work {
	struct ex_work_item item;
	struct kevent done;
	int32_t left;
	kirql irql;
};

static void work_routine(void *context)
{
	struct work *work = context;

	work->irql = ke_get_current_irql();
	if (--work->left > 0)
		CU_ASSERT_TRUE(ex_queue_work_item(&work->item))
	else
		ke_set_event(&work->done);
}

static void work_items(void *context)
{
	struct work work = {.left = 5, .irql = HIGH_LEVEL};

	(void)context;
	ke_initialize_event(&work.done, NOTIFICATION_EVENT, false);
	ex_initialize_work_item(&work.item, work_routine, &work, 1);
	CU_ASSERT_TRUE(ex_queue_work_item(&work.item));
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&work.done, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(work.left, 0);
	CU_ASSERT_EQUAL(work.irql, PASSIVE_LEVEL);
}

static void test_work_items(void)
{
	in_executive(work_items, NULL);
}

/* ---- Interrupts ---------------------------------------------------------------------------- */

struct line {
	struct kinterrupt interrupt;
	struct deferred deferred;
	struct deferred gone;
	int32_t served;
	kirql irql;
};

static bool serve_line(struct kinterrupt *interrupt, void *context)
{
	struct line *line = context;

	(void)interrupt;
	line->served++;
	line->irql = ke_get_current_irql();
	ke_insert_queue_dpc(&line->deferred.dpc);
	return true;
}

static bool read_served(void *context)
{
	struct line *line = context;

	return line->served > 0;
}

static void interrupts(void *context)
{
	struct line line = {.served = 0};

	(void)context;
	initialize_deferred(&line.deferred);
	initialize_deferred(&line.gone);
	ke_connect_interrupt(&line.interrupt, serve_line, &line, line.gone.dpc.processor);
	ke_request_interrupt(&line.interrupt);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&line.deferred.ran, SOON), STATUS_SUCCESS);
	CU_ASSERT_TRUE(ke_synchronize_execution(&line.interrupt, read_served, &line));
	CU_ASSERT_EQUAL(line.irql, DEVICE_LEVEL);
	ke_request_interrupt(&line.interrupt);
	ke_disconnect_interrupt(&line.interrupt, &line.gone.dpc);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&line.gone.ran, SOON), STATUS_SUCCESS);
	CU_ASSERT(line.served == 1 || line.served == 2);
	ke_flush_queued_dpcs();
}

static void test_interrupts(void)
{
	in_executive(interrupts, NULL);
}

/* ---- Memory -------------------------------------------------------------------------------- */

static void pool(void *context)
{
	static const size_t sizes[] = {0, 1, 16, 64, 65, 4096, 8192, 8193, 1000000};
	void *blocks[sizeof(sizes) / sizeof(sizes[0])];
	char byte;

	(void)context;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		blocks[i] = ex_allocate_pool(sizes[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
		CU_ASSERT_EQUAL((uintptr_t)blocks[i] % 16, 0);
		for (size_t j = 0; j < sizes[i]; j++)
			((volatile char *)blocks[i])[j] = (char)i;
	}
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ex_free_pool(blocks[i]);
	ex_free_pool(NULL);
	CU_ASSERT_EQUAL(ke_probe_pages(&byte, 1, true), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_probe_pages(NULL, 1, false), STATUS_INVALID_USER_BUFFER);
	CU_ASSERT_EQUAL(ke_probe_pages((void *)64, 4096, true), STATUS_INVALID_USER_BUFFER);
	CU_ASSERT_EQUAL(ke_probe_pages(NULL, 0, false), STATUS_SUCCESS);
}

static void test_pool(void)
{
	in_executive(pool, NULL);
}

/* ---- What must stop the run ---------------------------------------------------------------- */

static void wait_at_dispatch(void *context)
{
	struct kevent event;

	(void)context;
	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	ke_raise_irql(DISPATCH_LEVEL);
	ke_wait_for_single_object(&event, MILLISECONDS(1));
}

static void lock_twice(void *context)
{
	struct kspin_lock lock;

	(void)context;
	ke_initialize_spin_lock(&lock);
	ke_acquire_spin_lock(&lock);
	ke_acquire_spin_lock(&lock);
}

static void release_unheld(void *context)
{
	struct kspin_lock lock;

	(void)context;
	ke_initialize_spin_lock(&lock);
	ke_release_spin_lock(&lock, PASSIVE_LEVEL);
}

static void drop_too_often(void *context)
{
	struct ob_reference reference;

	(void)context;
	ob_initialize_reference(&reference, 1);
	ob_dereference(&reference);
	ob_dereference(&reference);
}

static void leak(void *context)
{
	(void)context;
	((volatile char *)ex_allocate_pool(100))[0] = 1;
}

static bool serve_nothing(struct kinterrupt *interrupt, void *context)
{
	(void)interrupt;
	(void)context;
	return true;
}

static void leave_connected(void *context)
{
	static struct kinterrupt interrupt; /* must outlive main's stack */

	(void)context;
	ke_connect_interrupt(&interrupt, serve_nothing, NULL, 0);
}

static void test_bug_checks(void)
{
	expect_bug_check("IRQL-TOO-HIGH", wait_at_dispatch, NULL);
	expect_bug_check("LOCK-MISUSE", lock_twice, NULL);
	expect_bug_check("LOCK-MISUSE", release_unheld, NULL);
	expect_bug_check("REF-UNDERFLOW", drop_too_often, NULL);
	expect_bug_check("LEAK-AT-UNLOAD", leak, NULL);
	expect_bug_check("LEAK-AT-UNLOAD", leave_connected, NULL);
}

void register_ke_suite(void)
{
	static const struct test_case cases[] = {
		{"locks raise to DISPATCH_LEVEL and give the old level back", test_irql},
		{"a spin lock excludes; the last reference sees all the work", test_exclusion},
		{"interlocked operations return what they should", test_interlocked},
		{"a notification event releases all and stays set", test_notification},
		{"a synchronization event releases one at a time", test_synchronization},
		{"an event may go out of scope as soon as its wait returns",
		 test_short_lived_events},
		{"a wait ends after its timeout and not before", test_timeouts},
		{"a DPC runs once each time it was queued, at DISPATCH_LEVEL", test_dpcs},
		{"timers fire in order, not early, and can be moved and cancelled", test_timers},
		{"several contexts may set and cancel one timer", test_contested_timer},
		{"a work item runs at PASSIVE_LEVEL and may queue itself", test_work_items},
		{"an interrupt's service routine runs, and not after it is gone", test_interrupts},
		{"pool memory of any size is usable and aligned; bad pages are refused", test_pool},
		{"misuse stops the run and names the rule", test_bug_checks},
		{NULL, NULL},
	};

	add_suite("ke", cases);
}
