/* Stage 01: the life of a request, its completion walk, and the race with cancellation. */
#include <string.h>

#include "executive.h"
#include "io/io.h"
#include "suites.h"

/* What the drivers and routines of a case did, in order, as a string of letters. */
struct trace {
	char text[32];
	unsigned length;
};

static void note(struct trace *trace, char letter)
{
	if (trace->length + 1 < sizeof(trace->text))
		trace->text[trace->length++] = letter;
}

/* ---- Two devices: upper forwards, lower completes ------------------------------------------ */

struct stack {
	struct device_object upper, lower;
	struct trace trace;
	struct irp *kept; /* by the lower driver, when it pends */
	ntstatus outcome;
	bool pend;
	bool upper_keeps;  /* its routine takes the request back once */
	bool pending_seen; /* what the creator's routine found */
};

static ntstatus lower_read(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	note(&stack->trace, 'l');
	if (stack->pend) {
		io_mark_irp_pending(irp);
		stack->kept = irp;
		return STATUS_PENDING;
	}
	return io_finish_request(irp, stack->outcome, 42);
}

static ntstatus upper_done(struct device_object *device, struct irp *irp, void *context)
{
	struct stack *stack = context;

	note(&stack->trace, 'U');
	CU_ASSERT_PTR_EQUAL(device, &stack->upper);
	if (stack->upper_keeps) {
		stack->upper_keeps = false;
		return STATUS_MORE_PROCESSING_REQUIRED;
	}
	if (irp->pending_returned)
		io_mark_irp_pending(irp);
	return STATUS_SUCCESS;
}

static ntstatus upper_read(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	note(&stack->trace, 'u');
	io_copy_current_irp_stack_location_to_next(irp);
	io_set_completion_routine(irp, upper_done, stack, true, true, true);
	if (stack->upper_keeps) {
		io_mark_irp_pending(irp); /* its routine will take the request back */
		io_call_driver(device->lower_device, irp);
		return STATUS_PENDING;
	}
	return io_call_driver(device->lower_device, irp);
}

static ntstatus upper_write(struct device_object *device, struct irp *irp)
{
	io_skip_current_irp_stack_location(irp);
	return io_call_driver(device->lower_device, irp);
}

/* Passes the request on without a location for the lower driver. */
static ntstatus upper_control(struct device_object *device, struct irp *irp)
{
	return io_call_driver(device->lower_device, irp);
}

static const struct driver_object upper_driver = {
	.driver_name = "upper",
	.major_function = {[IRP_MJ_READ] = upper_read,
			   [IRP_MJ_WRITE] = upper_write,
			   [IRP_MJ_DEVICE_CONTROL] = upper_control}};
static const struct driver_object lower_driver = {
	.driver_name = "lower",
	.major_function = {[IRP_MJ_READ] = lower_read, [IRP_MJ_WRITE] = lower_read}};

static ntstatus creator_done(struct device_object *device, struct irp *irp, void *context)
{
	struct stack *stack = context;

	CU_ASSERT_PTR_NULL(device);
	note(&stack->trace, 'C');
	stack->pending_seen = irp->pending_returned;
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void build_stack(struct stack *stack)
{
	*stack = (struct stack){.outcome = STATUS_SUCCESS};
	io_initialize_device(&stack->lower, &lower_driver, NULL, stack);
	io_initialize_device(&stack->upper, &upper_driver, &stack->lower, stack);
}

static struct irp *build_request(struct stack *stack, enum irp_major_function major)
{
	struct irp *irp = io_allocate_irp(stack->upper.stack_size);

	io_get_next_irp_stack_location(irp)->major_function = (uint8_t)major;
	io_set_completion_routine(irp, creator_done, stack, true, true, true);
	return irp;
}

static void walk(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	CU_ASSERT_EQUAL(stack.upper.stack_size, 2);
	irp = build_request(&stack, IRP_MJ_READ);
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_SUCCESS);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulUC");
	CU_ASSERT_EQUAL(irp->io_status.information, 42);
	CU_ASSERT_FALSE(stack.pending_seen);

	io_reuse_irp(irp, STATUS_SUCCESS); /* the same request again, this time failing */
	stack.outcome = STATUS_CONNECTION_RESET;
	io_get_next_irp_stack_location(irp)->major_function = IRP_MJ_READ;
	io_set_completion_routine(irp, creator_done, &stack, true, true, true);
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_CONNECTION_RESET);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulUCulUC");
	io_free_irp(irp);
}

static void test_walk(void)
{
	in_executive(walk, NULL);
}

static void pending(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	stack.pend = true;
	irp = build_request(&stack, IRP_MJ_READ);
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_PENDING);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ul");
	io_finish_request(stack.kept, STATUS_SUCCESS, 7);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulUC");
	CU_ASSERT_TRUE(stack.pending_seen);
	io_free_irp(irp);

	irp = build_request(&stack, IRP_MJ_WRITE); /* the upper driver lends its location */
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_PENDING);
	io_finish_request(stack.kept, STATUS_SUCCESS, 7);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulUClC");
	CU_ASSERT_TRUE(stack.pending_seen);
	io_free_irp(irp);
}

static void test_pending(void)
{
	in_executive(pending, NULL);
}

static void take_back(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	stack.upper_keeps = true;
	irp = build_request(&stack, IRP_MJ_READ);
	io_call_driver(&stack.upper, irp);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulU");
	io_complete_request(irp);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "ulUC");
	io_free_irp(irp);
}

static void test_take_back(void)
{
	in_executive(take_back, NULL);
}

static void unknown_function(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	irp = build_request(&stack, IRP_MJ_CREATE);
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_STRING_EQUAL(stack.trace.text, "C");
	io_free_irp(irp);
}

static void test_unknown_function(void)
{
	in_executive(unknown_function, NULL);
}

static ntstatus note_routine(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	note(&((struct stack *)context)->trace, 'U');
	return STATUS_SUCCESS;
}

static void invoke_flags(void *context)
{
	static const struct {
		bool on_success, on_error, on_cancel, cancelled;
		ntstatus outcome;
		bool runs;
	} rows[] = {
		{true, false, false, false, STATUS_SUCCESS, true},
		{false, true, false, false, STATUS_SUCCESS, false},
		{false, true, false, false, STATUS_CONNECTION_RESET, true},
		{true, false, false, false, STATUS_CONNECTION_RESET, false},
		{false, false, true, true, STATUS_CANCELLED, true},
		{false, false, true, false, STATUS_CONNECTION_RESET, false},
	};

	(void)context;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct io_status_block iosb;
		struct kevent event;
		struct stack stack;
		struct irp *irp;

		build_stack(&stack);
		stack.outcome = rows[i].outcome;
		ke_initialize_event(&event, NOTIFICATION_EVENT, false);
		irp = io_build_device_io_control_request(IRP_MJ_WRITE, &stack.upper, &event, &iosb);
		io_set_completion_routine(irp, note_routine, &stack, rows[i].on_success,
					  rows[i].on_error, rows[i].on_cancel);
		irp->cancel = rows[i].cancelled;
		io_call_driver(&stack.upper, irp);
		CU_ASSERT_EQUAL(strchr(stack.trace.text, 'U') != NULL, rows[i].runs);
		CU_ASSERT_EQUAL(iosb.status, rows[i].outcome);
	}
}

static void test_invoke_flags(void)
{
	in_executive(invoke_flags, NULL);
}

/* ---- Synchronous requests ------------------------------------------------------------------ */

static void complete_later(void *context)
{
	io_finish_request(context, STATUS_SUCCESS, 11);
}

static void synchronous(void *context)
{
	static char buffer[100];
	struct io_status_block iosb = {STATUS_PENDING, 0};
	struct kthread thread;
	struct kevent event;
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	stack.pend = true;
	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	irp = io_build_device_io_control_request(IRP_MJ_READ, &stack.upper, &event, &iosb);
	CU_ASSERT_EQUAL(io_lock_buffer(irp, buffer, sizeof(buffer), IO_WRITE_ACCESS),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(io_call_driver(&stack.upper, irp), STATUS_PENDING);
	ps_create_system_thread(&thread, complete_later, stack.kept);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&event, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(iosb.status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(iosb.information, 11);
	ke_wait_for_thread(&thread); /* the leak check at the end sees to the IRP and its MDL */
}

static void test_synchronous(void)
{
	in_executive(synchronous, NULL);
}

static void buffers(void *context)
{
	struct irp *irp = io_allocate_irp(1);
	char memory[16];
	struct mdl *first, *second;

	(void)context;
	CU_ASSERT_EQUAL(io_lock_buffer(irp, NULL, 10, IO_READ_ACCESS), STATUS_INVALID_USER_BUFFER);
	CU_ASSERT_PTR_NULL(irp->mdl_address);
	CU_ASSERT_EQUAL(io_lock_buffer(irp, NULL, 0, IO_READ_ACCESS), STATUS_SUCCESS);
	CU_ASSERT_PTR_NULL(irp->mdl_address);
	first = io_allocate_mdl(memory, 6, irp);
	second = io_allocate_mdl(memory + 6, 10, irp);
	CU_ASSERT_PTR_EQUAL(irp->mdl_address, first);
	CU_ASSERT_PTR_EQUAL(first->next, second);
	CU_ASSERT_EQUAL(mm_probe_and_lock_pages(first, IO_READ_ACCESS), STATUS_SUCCESS);
	mm_build_mdl_for_non_paged_pool(second);
	io_unlock_buffer(irp);
	CU_ASSERT_PTR_NULL(irp->mdl_address);
	io_free_irp(irp);
	CU_ASSERT_PTR_NULL(io_allocate_irp(0));
	CU_ASSERT_PTR_NULL(io_allocate_irp(17));
}

static void test_buffers(void)
{
	in_executive(buffers, NULL);
}

/* ---- Cancellation -------------------------------------------------------------------------- */

enum { QUEUED = 4 };

struct queue {
	struct device_object device;
	struct kspin_lock lock;
	struct io_csq csq;
	struct irp *irps[QUEUED];
	int32_t completed[QUEUED];
	int32_t cancelled;
	int32_t succeeded;
	struct kevent all;
};

struct routine_context {
	struct queue *queue;
	int index;
};

static ntstatus queue_read(struct device_object *device, struct irp *irp)
{
	struct queue *queue = device->device_extension;
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool kept = io_csq_insert_irp(&queue->csq, irp);

	ke_release_spin_lock(&queue->lock, irql);
	if (!kept)
		io_finish_request(irp, STATUS_CANCELLED, 0);
	return STATUS_PENDING;
}

static const struct driver_object queue_driver = {.driver_name = "queue",
						  .major_function = {[IRP_MJ_READ] = queue_read}};

static ntstatus queued_done(struct device_object *device, struct irp *irp, void *context)
{
	struct routine_context *routine = context;
	struct queue *queue = routine->queue;
	int32_t *outcome =
		irp->io_status.status == STATUS_CANCELLED ? &queue->cancelled : &queue->succeeded;

	(void)device;
	interlocked_increment(&queue->completed[routine->index]);
	interlocked_increment(outcome);
	if (read_count(&queue->cancelled) + read_count(&queue->succeeded) == QUEUED)
		ke_set_event(&queue->all);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void fill_queue(struct queue *queue, struct routine_context *routines)
{
	*queue = (struct queue){.cancelled = 0};
	io_initialize_device(&queue->device, &queue_driver, NULL, queue);
	ke_initialize_spin_lock(&queue->lock);
	ke_initialize_event(&queue->all, NOTIFICATION_EVENT, false);
	io_csq_initialize(&queue->csq, &queue->lock, NULL, NULL, NULL);
	for (int i = 0; i < QUEUED; i++) {
		routines[i] = (struct routine_context){queue, i};
		queue->irps[i] = io_allocate_irp(1);
		io_get_next_irp_stack_location(queue->irps[i])->major_function = IRP_MJ_READ;
		io_set_completion_routine(queue->irps[i], queued_done, &routines[i], true, true,
					  true);
	}
}

static struct irp *remove_next(struct queue *queue)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	struct irp *irp = io_csq_remove_next_irp(&queue->csq);

	ke_release_spin_lock(&queue->lock, irql);
	return irp;
}

static void csq(void *context)
{
	struct routine_context routines[QUEUED];
	struct queue queue;

	(void)context;
	fill_queue(&queue, routines);
	CU_ASSERT_FALSE(io_cancel_irp(queue.irps[3])); /* before it is sent anywhere */
	for (int i = 0; i < QUEUED; i++)
		CU_ASSERT_EQUAL(io_call_driver(&queue.device, queue.irps[i]), STATUS_PENDING);
	CU_ASSERT_EQUAL(queue.completed[3], 1);
	CU_ASSERT_TRUE(io_cancel_irp(queue.irps[1]));
	CU_ASSERT_EQUAL(queue.completed[1], 1);
	CU_ASSERT_EQUAL(queue.cancelled, 2);
	CU_ASSERT_PTR_EQUAL(remove_next(&queue), queue.irps[0]);
	CU_ASSERT_FALSE(io_cancel_irp(queue.irps[0]));
	CU_ASSERT_EQUAL(queue.completed[0], 0);
	CU_ASSERT_PTR_EQUAL(remove_next(&queue), queue.irps[2]);
	CU_ASSERT_PTR_NULL(remove_next(&queue));
	io_finish_request(queue.irps[0], STATUS_SUCCESS, 0);
	io_finish_request(queue.irps[2], STATUS_SUCCESS, 0);
	for (int i = 0; i < QUEUED; i++)
		io_free_irp(queue.irps[i]);
}

static void test_csq(void)
{
	in_executive(csq, NULL);
}

static void cancel_all(void *context)
{
	struct queue *queue = context;

	for (int i = 0; i < QUEUED; i++)
		io_cancel_irp(queue->irps[i]);
}

static void serve_all(void *context)
{
	struct queue *queue = context;
	struct irp *irp;

	for (int i = 0; i < QUEUED; i++)
		if ((irp = remove_next(queue)) != NULL)
			io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* Insert, remove and cancel of the same requests on three threads: each completes exactly once. */
static void cancel_race(void *context)
{
	struct routine_context routines[QUEUED];
	struct kthread canceller, server;
	struct queue queue;

	(void)context;
	fill_queue(&queue, routines);
	ps_create_system_thread(&canceller, cancel_all, &queue);
	ps_create_system_thread(&server, serve_all, &queue);
	for (int i = 0; i < QUEUED; i++)
		io_call_driver(&queue.device, queue.irps[i]);
	ke_wait_for_thread(&canceller);
	ke_wait_for_thread(&server);
	/* All were asked to end, before, while or after they were queued: none may still wait. */
	CU_ASSERT_TRUE(is_list_empty(&queue.csq.irps));
	serve_all(&queue);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&queue.all, SOON), STATUS_SUCCESS);
	for (int i = 0; i < QUEUED; i++) {
		CU_ASSERT_EQUAL(queue.completed[i], 1);
		io_free_irp(queue.irps[i]);
	}
}

static void cancel_races(void *context)
{
	for (int i = 0; i < (EXECUTIVE_HOST ? 300 : 4); i++)
		cancel_race(context);
}

static void test_cancel_race(void)
{
	in_executive(cancel_races, NULL);
}

/* ---- What must stop the run ---------------------------------------------------------------- */

static void complete_twice(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	irp = build_request(&stack, IRP_MJ_READ);
	io_call_driver(&stack.upper, irp);
	io_complete_request(irp);
}

static void free_in_use(void *context)
{
	struct stack stack;

	(void)context;
	build_stack(&stack);
	stack.pend = true;
	io_call_driver(&stack.upper, build_request(&stack, IRP_MJ_READ));
	io_free_irp(stack.kept);
}

static void one_location_short(void *context)
{
	struct stack stack;
	struct irp *irp = io_allocate_irp(1); /* for two drivers */

	(void)context;
	build_stack(&stack);
	io_get_next_irp_stack_location(irp)->major_function = IRP_MJ_DEVICE_CONTROL;
	io_call_driver(&stack.upper, irp);
}

static ntstatus lose(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	return STATUS_SUCCESS;
}

static void lost_by_creator(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack);
	irp = build_request(&stack, IRP_MJ_READ);
	io_set_completion_routine(irp, lose, NULL, true, true, true);
	io_call_driver(&stack.upper, irp);
}

static void creator_marks(void *context)
{
	(void)context;
	io_mark_irp_pending(io_allocate_irp(1));
}

static void test_bug_checks(void)
{
	expect_bug_check("REQ-DOUBLE-COMPLETE", complete_twice, NULL);
	expect_bug_check("REQ-FREE-IN-USE", free_in_use, NULL);
	expect_bug_check("REQ-STACK-EXHAUSTED", one_location_short, NULL);
	expect_bug_check("REQ-LOST", lost_by_creator, NULL);
	expect_bug_check("REQ-MARKED-NOT-PENDING", creator_marks, NULL);
}

void register_io_suite(void)
{
	static const struct test_case cases[] = {
		{"completion walks up through both drivers to the creator", test_walk},
		{"pending is told to every driver above, also through a lent location",
		 test_pending},
		{"a routine can take the request back and complete it later", test_take_back},
		{"a function that no driver has completes with the right status",
		 test_unknown_function},
		{"a routine runs in the cases that it was set for, and only then",
		 test_invoke_flags},
		{"a synchronous request hands out its status, then sets the event",
		 test_synchronous},
		{"bad buffers are refused; chains are locked and unlocked whole", test_buffers},
		{"the cancel-safe queue is in order, and cancelled requests leave it", test_csq},
		{"insert, remove and cancel at once complete each request once", test_cancel_race},
		{"misuse of a request stops the run and names the rule", test_bug_checks},
		{NULL, NULL},
	};

	add_suite("01-request", cases);
}
