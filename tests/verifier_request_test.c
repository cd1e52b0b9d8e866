/* The verifier's rules for requests: for each a driver that breaks it, and one that does not. */
#include "fixtures.h"
#include "io/io.h"
#include "suites.h"

/* ---- Two drivers that do what the case says ------------------------------------------------ */

struct bench {
	struct device_object upper, lower;
	driver_dispatch *upper_does, *lower_does;
	io_completion_routine *upper_done;
	struct irp *irp;
	struct irp *kept; /* by the lower driver */
	struct kspin_lock lock;
	struct kevent below; /* the lower driver has completed */
};

static ntstatus upper_read(struct device_object *device, struct irp *irp)
{
	return ((struct bench *)device->device_extension)->upper_does(device, irp);
}

static ntstatus lower_read(struct device_object *device, struct irp *irp)
{
	struct bench *bench = device->device_extension;

	bench->kept = irp;
	return bench->lower_does(device, irp);
}

static const struct driver_object upper_driver = {.driver_name = "upper",
						  .major_function = {[IRP_MJ_READ] = upper_read}};
static const struct driver_object lower_driver = {.driver_name = "lower",
						  .major_function = {[IRP_MJ_READ] = lower_read}};

static ntstatus take_back(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static ntstatus free_and_take(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)context;
	io_free_irp(irp);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Forwards, with the case's completion routine. */
static ntstatus forward(struct device_object *device, struct irp *irp)
{
	struct bench *bench = device->device_extension;

	io_copy_current_irp_stack_location_to_next(irp);
	if (bench->upper_done != NULL)
		io_set_completion_routine(irp, bench->upper_done, bench, true, true, true);
	return io_call_driver(device->lower_device, irp);
}

static ntstatus skip(struct device_object *device, struct irp *irp)
{
	io_skip_current_irp_stack_location(irp);
	return io_call_driver(device->lower_device, irp);
}

static struct irp *new_request(const struct bench *bench, io_completion_routine *routine,
			       void *context)
{
	struct irp *irp = io_allocate_irp(bench->upper.stack_size);

	io_get_next_irp_stack_location(irp)->major_function = IRP_MJ_READ;
	io_set_completion_routine(irp, routine, context, true, true, true);
	return irp;
}

static void set_up(struct bench *bench, driver_dispatch *upper_does, driver_dispatch *lower_does)
{
	*bench = (struct bench){.upper_does = upper_does, .lower_does = lower_does};
	io_initialize_device(&bench->lower, &lower_driver, NULL, bench);
	io_initialize_device(&bench->upper, &upper_driver, &bench->lower, bench);
	ke_initialize_spin_lock(&bench->lock);
	ke_initialize_event(&bench->below, NOTIFICATION_EVENT, false);
	bench->irp = new_request(bench, take_back, NULL);
}

/* Sends one request to the lower driver alone, and completes it if that is left to do. */
static void send_to_lower(driver_dispatch *lower_does)
{
	struct bench bench;

	set_up(&bench, forward, lower_does);
	if (io_call_driver(&bench.lower, bench.irp) == STATUS_PENDING &&
	    bench.irp->stack_index < bench.irp->stack_count)
		io_finish_request(bench.kept, STATUS_SUCCESS, 0);
	io_free_irp(bench.irp);
}

/* The same through the upper driver. */
static void send_to_upper(driver_dispatch *upper_does, io_completion_routine *upper_done,
			  driver_dispatch *lower_does)
{
	struct bench bench;

	set_up(&bench, upper_does, lower_does);
	bench.upper_done = upper_done;
	if (io_call_driver(&bench.upper, bench.irp) == STATUS_PENDING &&
	    bench.irp->stack_index < bench.irp->stack_count)
		io_finish_request(bench.kept, STATUS_SUCCESS, 0);
	io_free_irp(bench.irp);
}

/* A driver, and a case that sends it a request. */
#define DEED(name, body)                                                                           \
	static ntstatus does_##name(struct device_object *device, struct irp *irp)                 \
	{                                                                                          \
		struct bench *bench = device->device_extension;                                    \
		(void)bench, (void)irp;                                                            \
		body                                                                               \
	}
#define TO_LOWER(name, body)                                                                       \
	DEED(name, body)                                                                           \
	static void name(void *context)                                                            \
	{                                                                                          \
		(void)context;                                                                     \
		send_to_lower(does_##name);                                                        \
	}

static void cancel_nothing(struct device_object *device, struct irp *irp)
{
	(void)device;
	(void)irp;
}

/* ---- Pending ------------------------------------------------------------------------------- */

TO_LOWER(pends, {
	io_mark_irp_pending(irp);
	return STATUS_PENDING;
})
TO_LOWER(pends_unmarked, { return STATUS_PENDING; })
TO_LOWER(completes, { return io_finish_request(irp, STATUS_SUCCESS, 0); })
TO_LOWER(completes_and_pends, {
	io_finish_request(irp, STATUS_SUCCESS, 0);
	return STATUS_PENDING;
})
TO_LOWER(marks_completes_and_pends, {
	io_mark_irp_pending(irp);
	io_finish_request(irp, STATUS_SUCCESS, 0);
	return STATUS_PENDING;
})
TO_LOWER(marks_and_succeeds, {
	io_mark_irp_pending(irp);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
})
TO_LOWER(loses, { return STATUS_SUCCESS; })
TO_LOWER(lies, {
	io_finish_request(irp, STATUS_CONNECTION_RESET, 0);
	return STATUS_SUCCESS;
})
TO_LOWER(queues_unmarked, {
	io_set_cancel_routine(irp, cancel_nothing);
	io_mark_irp_pending(irp);
	return STATUS_PENDING;
})
TO_LOWER(completes_cancellable, {
	io_mark_irp_pending(irp);
	io_set_cancel_routine(irp, cancel_nothing);
	io_finish_request(irp, STATUS_SUCCESS, 0);
	return STATUS_PENDING;
})
TO_LOWER(takes_routine_and_completes, {
	io_mark_irp_pending(irp);
	io_set_cancel_routine(irp, cancel_nothing);
	io_set_cancel_routine(irp, NULL);
	io_finish_request(irp, STATUS_SUCCESS, 0);
	return STATUS_PENDING;
})

static void marks_as_creator(void *context)
{
	(void)context;
	io_mark_irp_pending(io_allocate_irp(1));
}

static void marks_after_completion(void *context)
{
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_completes);
	io_call_driver(&bench.lower, bench.irp);
	io_mark_irp_pending(bench.irp);
}

static ntstatus keeps_mark(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	return STATUS_SUCCESS;
}

static ntstatus propagates(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)context;
	if (irp->pending_returned)
		io_mark_irp_pending(irp);
	return STATUS_SUCCESS;
}

static void not_propagated(void *context)
{
	(void)context;
	send_to_upper(forward, keeps_mark, does_pends);
}

static void not_propagated_at_once(void *context)
{
	(void)context;
	send_to_upper(forward, keeps_mark, does_marks_completes_and_pends);
}

static void propagated(void *context)
{
	(void)context;
	send_to_upper(forward, propagates, does_pends);
	send_to_upper(forward, propagates, does_marks_completes_and_pends);
	send_to_upper(forward, propagates, does_completes);
	send_to_upper(forward, keeps_mark, does_completes);
	send_to_upper(forward, NULL, does_pends);
	send_to_upper(skip, NULL, does_pends);
	send_to_upper(skip, NULL, does_completes);
}

DEED(succeeds_early, {
	forward(device, irp);
	return STATUS_SUCCESS;
})

static void succeeds_early(void *context)
{
	(void)context;
	send_to_upper(does_succeeds_early, propagates, does_pends);
}

DEED(skips_and_succeeds, {
	skip(device, irp);
	return STATUS_SUCCESS;
})

static void skips_and_succeeds(void *context)
{
	(void)context;
	send_to_upper(does_skips_and_succeeds, NULL, does_pends);
}

/* ---- A driver that waits for the one below, and answers with a final status ----------------- */

static ntstatus below_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	ke_set_event(&((struct bench *)context)->below);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

DEED(waits, {
	if (forward(device, irp) == STATUS_PENDING)
		ke_wait_for_single_object(&bench->below, KE_WAIT_FOREVER);
	return io_finish_request(irp, STATUS_SUCCESS, 1);
})

DEED(waits_and_loses, {
	if (forward(device, irp) == STATUS_PENDING)
		ke_wait_for_single_object(&bench->below, KE_WAIT_FOREVER);
	return STATUS_SUCCESS;
})

static void finish_kept(void *context)
{
	io_finish_request(((struct bench *)context)->kept, STATUS_CONNECTION_RESET, 0);
}

static struct kthread finisher;

DEED(pends_to_thread, {
	io_mark_irp_pending(irp);
	ps_create_system_thread(&finisher, finish_kept, bench);
	return STATUS_PENDING;
})

static void wait_in(driver_dispatch *upper_does)
{
	struct bench bench;

	set_up(&bench, upper_does, does_pends_to_thread);
	bench.upper_done = below_done;
	CU_ASSERT_EQUAL(io_call_driver(&bench.upper, bench.irp), STATUS_SUCCESS);
	ke_wait_for_thread(&finisher);
	io_free_irp(bench.irp);
}

static void waits(void *context)
{
	(void)context;
	wait_in(does_waits);
}

static void waits_and_loses(void *context)
{
	(void)context;
	wait_in(does_waits_and_loses);
}

static void test_pending(void)
{
	static const struct fixture fixtures[] = {
		{"REQ-PENDING-NOT-MARKED", "  before: it was sent to that driver at ",
		 pends_unmarked, pends},
		{"REQ-COMPLETED-RETURNS-PENDING", "  before: it was completed at ",
		 completes_and_pends, marks_completes_and_pends},
		{"REQ-MARKED-NOT-PENDING", "  before: it was marked pending at ",
		 marks_and_succeeds, completes},
		{"REQ-MARKED-NOT-PENDING", "owns no stack location", marks_as_creator, NULL},
		{"REQ-MARKED-NOT-PENDING", "  before: it was completed at ", marks_after_completion,
		 NULL},
		{"REQ-MARKED-NOT-PENDING", "driver 'upper'", skips_and_succeeds, NULL},
		{"REQ-PENDING-NOT-PROPAGATED", "  before: the request was marked pending below at ",
		 not_propagated, propagated},
		{"REQ-PENDING-NOT-PROPAGATED", "driver 'upper'", not_propagated_at_once, NULL},
		{"REQ-LOST", "driver 'lower' returned STATUS_SUCCESS", loses, completes},
		{"REQ-LOST", "driver 'upper' returned STATUS_SUCCESS", waits_and_loses, waits},
		{"REQ-STATUS-MISMATCH", "completed with STATUS_CONNECTION_RESET", lies, completes},
		{"REQ-STATUS-MISMATCH", "passed on", succeeds_early, NULL},
		{"REQ-QUEUED-NOT-MARKED", "driver 'lower'", queues_unmarked,
		 takes_routine_and_completes},
		{"REQ-CANCEL-SET-ON-COMPLETE", "  before: its cancel routine was set at ",
		 completes_cancellable, takes_routine_and_completes},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- Completion ---------------------------------------------------------------------------- */

TO_LOWER(completes_twice, {
	io_finish_request(irp, STATUS_SUCCESS, 0);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
})
TO_LOWER(completes_with_pending, { return io_finish_request(irp, STATUS_PENDING, 0); })
TO_LOWER(completes_with_lock, {
	kirql irql = ke_acquire_spin_lock(&bench->lock);
	io_finish_request(irp, STATUS_SUCCESS, 0);
	ke_release_spin_lock(&bench->lock, irql);
	return STATUS_SUCCESS;
})
TO_LOWER(completes_after_lock, {
	kirql irql = ke_acquire_spin_lock(&bench->lock);
	ke_release_spin_lock(&bench->lock, irql);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
})
TO_LOWER(returns_raised, {
	ke_raise_irql(DISPATCH_LEVEL);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
})
TO_LOWER(raises_and_lowers, {
	kirql irql = ke_raise_irql(DISPATCH_LEVEL);
	io_finish_request(irp, STATUS_SUCCESS, 0);
	ke_lower_irql(irql);
	return STATUS_SUCCESS;
})

static void send_with(io_completion_routine *routine, driver_dispatch *lower_does)
{
	struct bench bench;

	set_up(&bench, forward, lower_does);
	io_free_irp(bench.irp);
	io_call_driver(&bench.lower, new_request(&bench, routine, NULL));
}

static void completes_freed(void *context)
{
	(void)context;
	send_with(free_and_take, does_completes_twice);
}

static void frees_in_routine(void *context)
{
	(void)context;
	send_with(free_and_take, does_completes);
	send_with(free_and_take, does_marks_completes_and_pends);
}

static ntstatus free_and_go_on(struct device_object *device, struct irp *irp, void *context)
{
	free_and_take(device, irp, context);
	return STATUS_SUCCESS;
}

static void frees_and_goes_on(void *context)
{
	(void)context;
	send_with(free_and_go_on, does_completes);
}

static void goes_on(void *context)
{
	(void)context;
	send_with(keeps_mark, does_completes);
}

static ntstatus raise_and_take(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	ke_raise_irql(DISPATCH_LEVEL);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void routine_returns_raised(void *context)
{
	(void)context;
	send_with(raise_and_take, does_completes);
}

DEED(calls_as_it_is, { return io_call_driver(device->lower_device, irp); })

static void send_short(driver_dispatch *upper_does)
{
	struct bench bench;
	struct irp *irp = io_allocate_irp(1);

	set_up(&bench, upper_does, does_completes);
	io_get_next_irp_stack_location(irp)->major_function = IRP_MJ_READ;
	io_call_driver(&bench.upper, irp);
}

static void copies_one_too_many(void *context)
{
	(void)context;
	send_short(forward);
}

static void calls_one_too_many(void *context)
{
	(void)context;
	send_short(does_calls_as_it_is);
}

static void two_locations(void *context)
{
	(void)context;
	send_to_upper(forward, NULL, does_completes);
}

static void reuses_in_flight(void *context)
{
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_pends);
	io_call_driver(&bench.lower, bench.irp);
	io_reuse_irp(bench.irp, STATUS_SUCCESS);
}

static void reuses(void *context)
{
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_completes);
	for (int i = 0; i < 3; i++) {
		io_call_driver(&bench.lower, bench.irp);
		io_reuse_irp(bench.irp, STATUS_SUCCESS);
		io_get_next_irp_stack_location(bench.irp)->major_function = IRP_MJ_READ;
		io_set_completion_routine(bench.irp, take_back, NULL, true, true, true);
	}
	io_free_irp(bench.irp);
}

static void leaves_request(void *context)
{
	static struct bench bench;

	(void)context;
	set_up(&bench, forward, does_pends);
	io_call_driver(&bench.lower, bench.irp);
}

static void test_completion(void)
{
	static const struct fixture fixtures[] = {
		{"REQ-DOUBLE-COMPLETE", "  before: it was completed at ", completes_twice,
		 completes},
		{"REQ-DOUBLE-COMPLETE", "that was freed at ", completes_freed, frees_in_routine},
		{"REQ-COMPLETE-PENDING", "driver 'lower'", completes_with_pending, completes},
		{"REQ-COMPLETE-WITH-LOCK", "  before: a lock was acquired at ", completes_with_lock,
		 completes_after_lock},
		{"REQ-LOST", "  before: it was freed at ", frees_and_goes_on, frees_in_routine},
		{"REQ-LOST", "no routine took it back", goes_on, NULL},
		{"IRQL-CHANGED", "driver 'lower' was called at IRQL 0 and returned at 2",
		 returns_raised, raises_and_lowers},
		{"IRQL-CHANGED", "a completion routine", routine_returns_raised, NULL},
		{"REQ-STACK-EXHAUSTED", "one driver too many", calls_one_too_many, two_locations},
		{"REQ-STACK-EXHAUSTED", "no next stack location", copies_one_too_many, NULL},
		{"REQ-REUSE-IN-FLIGHT", "  before: it was sent to that driver at ",
		 reuses_in_flight, reuses},
		{"LEAK-AT-UNLOAD", "driver 'lower' still holds a request", leaves_request, pends},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- What a request needs ------------------------------------------------------------------ */

static void frees_in_flight(void *context)
{
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_pends);
	io_call_driver(&bench.lower, bench.irp);
	io_free_irp(bench.irp);
}

static void frees_in_flight_as_memory(void *context)
{
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_pends);
	io_call_driver(&bench.lower, bench.irp);
	ex_free_pool(bench.irp);
}

static void frees_twice(void *context)
{
	struct irp *irp = io_allocate_irp(1);

	(void)context;
	io_free_irp(irp);
	io_free_irp(irp);
}

/* A request that reads a block of pool memory is with the lower driver when `meanwhile` runs. */
static void lend(void (*meanwhile)(struct bench *bench, char *block))
{
	struct bench bench;
	char *block = ex_allocate_pool(100);

	set_up(&bench, forward, does_pends);
	io_lock_buffer(bench.irp, block + 10, 50, IO_READ_ACCESS);
	io_call_driver(&bench.lower, bench.irp);
	if (meanwhile != NULL)
		meanwhile(&bench, block);
	io_finish_request(bench.kept, STATUS_SUCCESS, 0);
	io_unlock_buffer(bench.irp);
	io_free_irp(bench.irp);
	ex_free_pool(block);
}

static void free_block(struct bench *bench, char *block)
{
	(void)bench;
	ex_free_pool(block);
}

static void unlock_block(struct bench *bench, char *block)
{
	(void)block;
	io_unlock_buffer(bench->irp);
}

static void frees_lent_block(void *context)
{
	(void)context;
	lend(free_block);
}

static void unlocks_lent_block(void *context)
{
	(void)context;
	lend(unlock_block);
}

static void lends(void *context)
{
	(void)context;
	lend(NULL);
}

static void unlocks_twice(void *context)
{
	char memory[16];
	struct mdl *mdl = io_allocate_mdl(memory, sizeof(memory), NULL);

	(void)context;
	mm_build_mdl_for_non_paged_pool(mdl);
	mm_unlock_pages(mdl);
	mm_unlock_pages(mdl);
}

static void unlocks_once(void *context)
{
	char memory[16];
	struct mdl *mdl = io_allocate_mdl(memory, sizeof(memory), NULL);

	(void)context;
	mm_build_mdl_for_non_paged_pool(mdl);
	mm_unlock_pages(mdl);
	io_free_mdl(mdl);
}

static ntstatus free_context(struct device_object *device, struct irp *irp, void *context)
{
	ex_free_pool(context);
	return free_and_take(device, irp, NULL);
}

static void send_with_context(bool too_early)
{
	struct bench bench;
	void *block = ex_allocate_pool(40);

	set_up(&bench, forward, does_pends);
	io_free_irp(bench.irp);
	io_call_driver(&bench.lower, new_request(&bench, free_context, block));
	if (too_early)
		ex_free_pool(block);
	io_finish_request(bench.kept, STATUS_SUCCESS, 0);
}

static void frees_context(void *context)
{
	(void)context;
	send_with_context(true);
}

static void keeps_context(void *context)
{
	(void)context;
	send_with_context(false);
}

static struct {
	struct bench bench;
	struct kevent event;
	struct io_status_block iosb;
	bool wait;
} threaded;

static void send_threaded(void *context)
{
	struct irp *irp = io_build_device_io_control_request(IRP_MJ_READ, &threaded.bench.lower,
							     &threaded.event, &threaded.iosb);

	(void)context;
	io_call_driver(&threaded.bench.lower, irp);
	if (threaded.wait)
		ke_wait_for_single_object(&threaded.event, KE_WAIT_FOREVER);
}

static void run_threaded(bool wait)
{
	struct kthread thread;

	set_up(&threaded.bench, forward, does_pends_to_thread);
	io_free_irp(threaded.bench.irp);
	if (!wait)
		threaded.bench.lower_does = does_pends;
	threaded.wait = wait;
	ke_initialize_event(&threaded.event, NOTIFICATION_EVENT, false);
	ps_create_system_thread(&thread, send_threaded, NULL);
	ke_wait_for_thread(&thread);
	ke_wait_for_thread(&finisher);
}

static void thread_leaves(void *context)
{
	(void)context;
	run_threaded(false);
}

static void thread_waits(void *context)
{
	(void)context;
	run_threaded(true);
}

static void test_memory(void)
{
	static const struct fixture fixtures[] = {
		{"REQ-FREE-IN-USE", "while driver 'lower' holds it", frees_in_flight, completes},
		{"REQ-FREE-IN-USE", "  before: the request was sent at ", frees_in_flight_as_memory,
		 NULL},
		{"REQ-FREE-IN-USE", "  before: it was freed at ", frees_twice, completes},
		{"REQ-FREE-IN-USE", "  before: the request was sent at ", frees_lent_block, lends},
		{"REQ-FREE-IN-USE", "freed or unlocked", unlocks_lent_block, lends},
		{"MDL-MISUSE", "not locked", unlocks_twice, unlocks_once},
		{"REQ-STALE-COMPLETION-CTX", "  before: the request was sent at ", frees_context,
		 keeps_context},
		{"REQ-STACK-IOSB", "status block", thread_leaves, thread_waits},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

/* ---- More than there is room for ----------------------------------------------------------- */

/* What does not fit is not checked, and nobody is accused. */
static void many_requests(void *context)
{
	enum { MANY = 5000 };
	static struct irp *irps[MANY];
	struct bench bench;

	(void)context;
	set_up(&bench, forward, does_pends);
	io_free_irp(bench.irp);
	for (int i = 0; i < MANY; i++) {
		irps[i] = new_request(&bench, take_back, &irps[i]);
		io_call_driver(&bench.lower, irps[i]);
	}
	for (int i = 0; i < MANY; i++) {
		io_finish_request(irps[i], STATUS_SUCCESS, 0);
		io_free_irp(irps[i]);
	}
}

static void test_bounds(void)
{
	struct ke_options options = {.processors = 2, .seed = 1};

	CU_ASSERT_EQUAL(ke_run(&options, many_requests, NULL), STATUS_SUCCESS);
}

void register_verifier_request_suite(void)
{
	static const struct test_case cases[] = {
		{"what is returned goes with what became of the request", test_pending},
		{"a request is completed once, rightly, and comes back", test_completion},
		{"what a request needs lives until it is back", test_memory},
		{"more requests than can be checked are no violation", test_bounds},
		{NULL, NULL},
	};

	add_suite("verifier/requests", cases);
}
